package signaling

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pipeWriter lets a request be upgraded on one end of a net.Pipe.
type pipeWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// pipe opens a session over a net.Pipe and returns the client's end, behind
// the handshake.
func pipe(h *Hub, user string) (net.Conn, *bufio.Reader, error) {
	server, client := net.Pipe()
	r := httptest.NewRequest("GET", "/", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions": "permessage-deflate"} {
		r.Header.Set(k, v)
	}
	failed := make(chan error, 1)
	go func() {
		if _, err := h.Accept(pipeWriter{httptest.NewRecorder(), server}, r, AcceptOptions{User: user}); err != nil {
			failed <- err
			client.Close()
		}
	}()
	br := bufio.NewReader(client)
	resp, err := http.ReadResponse(br, r)
	if err != nil {
		return nil, nil, <-failed
	}
	resp.Body.Close()
	return client, br, nil
}

// FuzzFrames writes anything to a socket: whatever it is, the hub goes on, and
// the session is over within its timeouts.
func FuzzFrames(f *testing.F) {
	text := `{"type":"x","id":1}`
	f.Add(append([]byte{finBit | opText, maskBit | byte(len(text)), 0, 0, 0, 0}, text...))
	f.Add([]byte{finBit | opPing, maskBit, 0, 0, 0, 0, opText, maskBit | 1, 0, 0, 0, 0, '{', finBit, maskBit | 1, 0, 0, 0, 0, '}'})
	f.Add([]byte{finBit | opClose, maskBit | 2, 0, 0, 0, 0, 3, 232})
	f.Add([]byte{finBit | rsv1Bit | opText, maskBit | 3, 0, 0, 0, 0, 0x4b, 0x04, 0x00})
	f.Add([]byte{finBit | opText, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4})
	f.Add(join(framed(join(fixed([]byte(text), true), []byte{0x89, 0x80, 1, 2, 3, 4}), 9), masked(finBit|opPing, "x")))
	var panics int64
	h, err := New(Options{MaxPeers: 10, TotalQueueBytes: 1 << 20, Compress: true, ResumeFor: -1, CloseTimeout: 10 * time.Millisecond,
		OnMessage: func(p *Peer, m Message) { p.Reply(m.ID, m.Data) }})
	require.NoError(f, err)
	f.Cleanup(func() {
		require.NoError(f, h.Shutdown(context.Background()))
		require.Zero(f, h.budget.used.Load())
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		conn, r, err := pipe(h, "ann")
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, r)
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		conn.Write(b)
		conn.Close()
		for end := time.Now().Add(10 * time.Second); h.stats.sockets.Load() > 0; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatalf("%q leaves a socket", b)
			}
		}
		if n := h.stats.panics.Load(); n != panics {
			t.Fatalf("%q makes a panic", b)
		}
	})
}

// FuzzSmall: what is taken for a small message is one, and masked again it is
// what came.
func FuzzSmall(f *testing.F) {
	text := `{"type":"x","id":1}`
	f.Add(append([]byte{finBit | opText, maskBit | byte(len(text)), 1, 2, 3, 4}, text...))
	f.Add(append([]byte{finBit | opText, maskBit | 126, 0, byte(len(text)), 1, 2, 3, 4}, text...))
	f.Add(append([]byte{finBit | opText, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, byte(len(text)), 1, 2, 3, 4}, text...))
	f.Add([]byte{finBit | rsv1Bit | opText, maskBit | 2, 0, 0, 0, 0, 1, 2})
	s := &socket{peer: &Peer{hub: &Hub{opt: Options{MaxMessageBytes: 1000}}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		text, size := s.small(bytes.Clone(b))
		if size == 0 {
			return
		}
		require.LessOrEqual(t, size, len(b), "%x", b)
		require.LessOrEqual(t, len(text), 1000, "%x", b)
		head := 2
		if b[1] == maskBit|126 {
			head = 4
			require.Equal(t, len(text), int(b[2])<<8|int(b[3]), "%x", b)
		} else {
			require.Equal(t, maskBit|byte(len(text)), b[1], "%x", b)
		}
		require.Equal(t, byte(finBit|opText), b[0], "%x", b)
		require.Equal(t, head+4+len(text), size, "%x", b)
		for i, c := range text {
			require.Equal(t, b[head+4+i], c^b[head+i%4], "%x", b)
		}
	})
}

// FuzzInflate: whatever a message is, it inflates to what flate makes of the
// blocks up to the first final one, and goes on from there, or not at all.
func FuzzInflate(f *testing.F) {
	for _, m := range deflatedMessages() {
		f.Add(m)
	}
	h := &Hub{opt: Options{MaxMessageBytes: 10000}}
	h.budget.max = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		c := contents.Get().(*content)
		err := c.inflate(h, b)
		want, wrong := io.ReadAll(io.LimitReader(flate.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader(tail))), 10001))
		switch {
		case len(want) > 10000:
			require.Equal(t, errLarge, err)
		case wrong != nil:
			require.Equal(t, errDeflate, err)
		case err == nil:
			require.LessOrEqual(t, len(c.b), 10000)
			require.True(t, bytes.HasPrefix(c.b, want), "%x", b)
		}
		c.free(h)
		require.Zero(t, h.budget.used.Load())
	})
}
