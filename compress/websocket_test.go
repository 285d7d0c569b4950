package compress

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// wsPair is a server's connection and its client's, with compression.
func wsPair(t testing.TB) (server, client *websocket.Conn, onWire *atomic.Int64) {
	up := websocket.Upgrader{EnableCompression: true}
	conns := make(chan *websocket.Conn, 1)
	srv := httptest.NewServer(newTest(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := up.Upgrade(w, r, nil); err == nil {
			conns <- conn
		}
	})))
	t.Cleanup(srv.Close)
	onWire = new(atomic.Int64)
	d := websocket.Dialer{EnableCompression: true, NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		return &countedConn{c, onWire}, err
	}}
	client, _, err := d.Dial("ws"+srv.URL[4:], nil)
	require.NoError(t, err)
	server = <-conns
	t.Cleanup(func() { server.Close(); client.Close() })
	onWire.Store(0)
	return server, client, onWire
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestFrame(t *testing.T) {
	long, short, packed := cards(20, 1), []byte(`{"type":"presence"}`), noise(5000)
	for _, c := range []struct {
		message []byte
		deflate bool
	}{{long, true}, {short, false}, {packed, false}} {
		f, err := NewFrame(websocket.BinaryMessage, c.message)
		require.NoError(t, err)
		require.Equal(t, c.deflate, f.deflate)
		require.Equal(t, len(c.message), f.Len())
		for range 3 {
			server, client, wire := wsPair(t)
			require.NoError(t, f.WriteTo(server))
			_, got, err := client.ReadMessage()
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.message, got))
			if c.deflate {
				require.Less(t, wire.Load(), int64(len(c.message)/3))
			} else {
				require.LessOrEqual(t, wire.Load(), int64(len(c.message)+10))
			}
		}
	}
	_, err := NewFrame(77, nil)
	require.Error(t, err)
}

func TestReadMessageBomb(t *testing.T) {
	server, client, _ := wsPair(t)
	server.SetReadLimit(1 << 16)
	require.NoError(t, client.WriteMessage(websocket.TextMessage, []byte("hello")))
	_, got, err := ReadMessage(server, 1<<16)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.NoError(t, client.WriteMessage(websocket.TextMessage, make([]byte, 1<<22)))
	_, _, err = ReadMessage(server, 1<<16)
	require.ErrorIs(t, err, ErrMessageTooLarge)
	_, _, err = client.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig), "%v", err)
}
