package signaling

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// Check reports what Accept would refuse about the request itself: ErrOrigin,
// or ErrHandshake with the fault. It changes, counts and writes nothing. A
// server that makes room for a connection, perhaps at the cost of another,
// calls it before; when it fails, Accept will write the answer.
func (h *Hub) Check(r *http.Request) error {
	if !h.allowed(r) {
		return ErrOrigin
	}
	fault := ""
	key, _ := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	switch {
	case r.Method != http.MethodGet:
		fault = "method is not GET"
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		fault = "not HTTP/1.1"
	case !websocket.IsWebSocketUpgrade(r):
		fault = "no upgrade to websocket"
	case !slices.Equal(r.Header["Sec-Websocket-Version"], []string{"13"}):
		fault = "version is not 13"
	case len(key) != 16 || len(r.Header["Sec-Websocket-Key"]) != 1:
		fault = "key is not 16 bytes in base64"
	case r.ContentLength != 0:
		fault = "it has a body"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrHandshake, fault)
}

// allowed reports whether the request comes from an allowed origin, or not
// from a browser's page at all.
func (h *Hub) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return len(r.Header.Values("Origin")) == 0
	}
	if slices.Contains(h.opt.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, want := range h.opt.Origins {
		if want == "*" || strings.EqualFold(origin, want) {
			return true
		}
		scheme, suffix, wild := strings.Cut(want, "//*")
		if wild && strings.EqualFold(u.Scheme+":", scheme) && len(u.Host) > len(suffix) &&
			strings.EqualFold(u.Host[len(u.Host)-len(suffix):], suffix) {
			return true
		}
	}
	return false
}

// turnDown answers a request that Check has refused.
func (h *Hub) turnDown(w http.ResponseWriter, r *http.Request, err error) {
	if err == ErrOrigin {
		h.stats.refusedOrigin.Add(1)
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	h.stats.refusedBad.Add(1)
	status := http.StatusBadRequest
	if r.Method != http.MethodGet {
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", http.MethodGet)
	}
	w.Header().Set("Sec-Websocket-Version", "13") // RFC 6455, 4.4
	http.Error(w, "not a WebSocket handshake", status)
}

// The upgraders answer handshakes. What a handshake asks for, Check and
// offersDeflate have judged before.
var (
	upgrader          = newUpgrader(false)
	deflatingUpgrader = newUpgrader(true)
)

func newUpgrader(deflate bool) *websocket.Upgrader {
	return &websocket.Upgrader{
		EnableCompression: deflate,
		WriteBufferPool:   new(sync.Pool), // of none: gorilla writes nothing but the answer
		CheckOrigin:       func(*http.Request) bool { return true },
	}
}

// upgrade makes a socket of the request, which Check has let pass. It takes the
// connection over before gorilla asks for it, and is called from few frames:
// otherwise the 4 KiB of stack that net/http's goroutine has by then would just
// not suffice, and growing it takes a tenth of a handshake.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request) (*socket, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "cannot upgrade", http.StatusInternalServerError)
		return nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		conn.Close()
		return nil, fmt.Errorf("client sent %d bytes before the handshake was complete", n)
	}
	s := &socket{peer: h.nobody, conn: conn}
	u := upgrader
	if h.opt.Compress && offersDeflate(r.Header["Sec-Websocket-Extensions"]) {
		u = deflatingUpgrader
	}
	j := handshakes.Get().(*handshake)
	j.ResponseWriter, j.conn.Conn = w, conn
	_, err = u.Upgrade(j, r, nil)
	s.first = j.conn.answer // it goes out with the hello
	j.ResponseWriter, j.conn = nil, answerConn{}
	handshakes.Put(j)
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.deflate = bytes.Contains(s.first, []byte("permessage-deflate"))
	s.setBuffers()
	s.parked = h.parker != nil && s.canPark(s.conn)
	return s, nil
}

// A handshake lends gorilla buffers that the next one uses again. They are of
// the size from which on it makes none of its own. Of the connection that gorilla
// makes nothing is kept: it takes 0.7 KiB while it idles.
type handshake struct {
	http.ResponseWriter
	conn answerConn
	rw   *bufio.ReadWriter
}

var handshakes = sync.Pool{New: func() any {
	return &handshake{rw: bufio.NewReadWriter(bufio.NewReaderSize(nil, 257), bufio.NewWriterSize(nil, 512))}
}}

// Hijack implements http.Hijacker.
func (j *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) { return &j.conn, j.rw, nil }

// answerConn keeps what is written.
type answerConn struct {
	net.Conn
	answer []byte
}

// Write implements net.Conn.
func (c *answerConn) Write(b []byte) (int, error) {
	c.answer = append(make([]byte, 0, 512), b...) // with room for the hello
	return len(b), nil
}

// offersDeflate reports whether the client offers permessage-deflate so that the
// hub may accept it: the windows are of the usual size and without takeover. An
// offer that asks for a smaller window, or what nobody knows, must be declined
// (RFC 7692, 5.1 and 7.1).
func offersDeflate(lines []string) bool {
	for _, line := range lines {
		for offer := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) == "permessage-deflate" && (strings.TrimSpace(params) == "" || known(params)) {
				return true
			}
		}
	}
	return false
}

// known reports whether the hub may accept an offer with these parameters.
func known(params string) bool {
	seen := ""
	for param := range strings.SplitSeq(params, ";") {
		name, value, has := strings.Cut(strings.TrimSpace(param), "=")
		if strings.Contains(seen, name) {
			return false
		}
		seen += name + ";"
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if has {
				return false
			}
		case "client_max_window_bits":
			if bits, err := strconv.Atoi(strings.Trim(value, `"`)); has && (err != nil || bits < 8 || bits > 15) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// setBuffers bounds what the kernel buffers.
func (s *socket) setBuffers() {
	conn := s.conn
	for {
		if t, ok := conn.(interface {
			SetReadBuffer(int) error
			SetWriteBuffer(int) error
		}); ok {
			if n := s.peer.hub.opt.ReceiveBuffer; n > 0 {
				t.SetReadBuffer(n)
			}
			if n := s.peer.hub.opt.SendBuffer; n > 0 {
				t.SetWriteBuffer(n)
			}
			return
		}
		under, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		conn = under.NetConn()
	}
}
