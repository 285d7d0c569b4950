package compress

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// TakeoverOptions configures Takeover.
type TakeoverOptions struct {
	// MaxMessageBytes bounds a message from the client, as it is after
	// inflating. A longer one closes the connection with 1009. Required, > 0.
	MaxMessageBytes int
	// HistoryBytes is how much of what was sent each connection remembers, so
	// that later messages need not repeat it. Default 8 KiB, at most 16 KiB.
	HistoryBytes int
}

// Takeover returns a handler under which every WebSocket connection that next
// accepts is compressed with permessage-deflate (RFC 7692) and context
// takeover, whatever library next uses: it sees a connection without
// compression. Small messages, which shrink little alone, shrink to an eighth
// of JSON with names. It must be outside of everything that wraps ResponseWriters.
//
// A connection takes its history and 15 KiB besides from
// Options.MaxBufferedBytes and the Account; one for which there is no room
// is left as it is, and next may negotiate for itself.
// Messages over 64 KiB and fragmented ones go out uncompressed, and so do those
// over 512 bytes for which no encoder of Options.MaxEncoders is free.
func (c *Compressor) Takeover(o TakeoverOptions, next http.Handler) (http.Handler, error) {
	if o.HistoryBytes == 0 {
		o.HistoryBytes = 8 << 10
	}
	if o.MaxMessageBytes <= 0 {
		return nil, fmt.Errorf("compress: TakeoverOptions.MaxMessageBytes = %d, want > 0", o.MaxMessageBytes)
	}
	if o.HistoryBytes < 256 || o.HistoryBytes > 16<<10 {
		return nil, fmt.Errorf("compress: TakeoverOptions.HistoryBytes = %d, want 256 to 16384", o.HistoryBytes)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, keeps := acceptDeflate(r.Header["Sec-Websocket-Extensions"])
		if answer == "" || !anyListed(r.Header["Upgrade"], "websocket") {
			next.ServeHTTP(w, r)
			return
		}
		o := o
		if !keeps {
			o.HistoryBytes = 0
		}
		need := int64(o.HistoryBytes + windowBytes + takeoverBytes)
		if !c.budget.reserve(need) {
			c.count.refusedMemory.Add(1)
			next.ServeHTTP(w, r)
			return
		}
		bare := *r
		bare.Header = r.Header.Clone()
		bare.Header.Del("Sec-Websocket-Extensions")
		tw := &takeoverWriter{ResponseWriter: w, conn: &takeoverConn{c: c, opts: o, answer: answer, window: takeoverWindow{most: o.HistoryBytes}}}
		tw.conn.release = sync.OnceFunc(func() { c.budget.release(need) })
		defer func() {
			if tw.conn.Conn == nil { // not accepted
				tw.conn.release()
			}
		}()
		next.ServeHTTP(tw, &bare)
	}), nil
}

// takeoverBytes is what a connection takes besides its window.
const takeoverBytes = 4 << 10

// acceptDeflate looks for an offer of permessage-deflate that can be met, and
// returns the answer to it and whether the history may be kept.
func acceptDeflate(lines []string) (answer string, keeps bool) {
	for _, line := range lines {
		for offer := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) != "permessage-deflate" {
				continue
			}
			answer, keeps = "permessage-deflate; client_no_context_takeover", true
			for p := range strings.SplitSeq(params, ";") {
				switch p, _, _ := strings.Cut(strings.TrimSpace(p), "="); p {
				case "server_no_context_takeover":
					answer, keeps = answer+"; server_no_context_takeover", false
				case "", "client_no_context_takeover", "client_max_window_bits":
				default: // a smaller window of ours is not offered
					answer = ""
				}
				if answer == "" {
					break
				}
			}
			if answer != "" {
				return answer, keeps
			}
		}
	}
	return "", false
}

// takeoverWriter gives out the connection that compresses.
type takeoverWriter struct {
	http.ResponseWriter
	conn *takeoverConn
}

// Unwrap lets http.ResponseController reach the server's writer.
func (w *takeoverWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *takeoverWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t := w.conn
	t.Conn = conn
	if n := brw.Reader.Buffered(); n > 0 {
		ahead, _ := brw.Peek(n)
		t.raw = bytes.Clone(ahead)
	}
	return t, bufio.NewReadWriter(bufio.NewReaderSize(t, 1024), bufio.NewWriterSize(t, 1024)), nil
}

// takeoverConn translates between the plain frames of a WebSocket library
// and compressed ones on the wire. As in net.Conn, one goroutine may write
// while another one reads.
type takeoverConn struct {
	net.Conn
	c       *Compressor
	opts    TakeoverOptions
	answer  string // to put into the handshake; then empty
	release func()

	// Outgoing; see takeoverwrite.go.
	wmu     sync.Mutex
	pending []byte // of a frame that is not complete
	passing uint64 // bytes of a frame that goes through as it is
	window  takeoverWindow

	// Incoming; see takeoverread.go.
	raw     []byte // read and not looked at
	ready   []byte // for the library
	through uint64 // bytes of a frame that comes through as it is
	message []byte // compressed, so far
	opcode  byte   // of message
	inside  bool   // a compressed message is coming in
}

// Close closes the connection and gives its memory back.
func (t *takeoverConn) Close() error {
	t.release()
	return t.Conn.Close()
}

// close tells the client why the connection ends.
func (t *takeoverConn) close(code uint16) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if t.passing == 0 {
		t.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		t.Conn.Write([]byte{0x88, 2, byte(code >> 8), byte(code)})
	}
}
