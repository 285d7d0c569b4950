package signaling

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// server is a hub behind a real HTTP server.
type server struct {
	t   *testing.T
	hub *Hub
	url string
	mu  sync.Mutex
	log []string // callbacks, as "open ID", …
	end int      // calls of OnSocketEnd
	got chan Message
}

func (s *server) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, what)
}

func (s *server) notes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, " ")
}

// serve starts a hub; change adjusts its options. Every test runs in both modes
// where there are two.
func serve(t *testing.T, change func(*Options)) *server {
	t.Helper()
	s := &server{t: t, got: make(chan Message, 1000)}
	o := Options{
		MaxPeers: 1000, MaxRooms: 100, TotalQueueBytes: 16 << 20, Rate: 100000, Burst: 100000,
		OnMessage: func(p *Peer, m Message) {
			if m.Type == "echo" {
				p.Reply(m.ID, m.Data)
			}
			s.got <- m
		},
		OnOpen:  func(*Peer) { s.note("open") },
		OnAway:  func(*Peer) { s.note("away") },
		OnBack:  func(*Peer) { s.note("back") },
		OnClose: func(_ *Peer, c CloseInfo) { s.note("close" + strconv.Itoa(c.Code)) },
	}
	if change != nil {
		change(&o)
	}
	hub, err := New(o)
	require.NoError(t, err)
	s.hub = hub
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		n, _ := strconv.ParseUint(q.Get("received"), 10, 64)
		hub.Accept(w, r, AcceptOptions{User: q.Get("user"), Resume: q.Get("resume"), Received: n,
			OnSocketEnd: func() { s.mu.Lock(); s.end++; s.mu.Unlock() }})
	}))
	s.url = "ws" + strings.TrimPrefix(web.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, hub.Shutdown(ctx))
		web.Close()
		require.Zero(t, hub.Stats().QueueBytes)
		require.Zero(t, hub.Stats().Sockets)
	})
	return s
}

// both runs a test in the parked and in the portable mode.
func both(t *testing.T, test func(t *testing.T, portable bool)) {
	t.Run("parked", func(t *testing.T) { test(t, false) })
	t.Run("portable", func(t *testing.T) { test(t, true) })
}

// client is a plain WebSocket client.
type client struct {
	t     *testing.T
	ws    *websocket.Conn
	hello map[string]any
	count uint64
	queue []reply
}

type reply struct {
	Type string          `json:"type"`
	ID   json.RawMessage `json:"id"`
	Data json.RawMessage `json:"data"`
}

func (s *server) dial(user, query string) *client {
	s.t.Helper()
	d := websocket.Dialer{EnableCompression: true}
	ws, _, err := d.Dial(s.url+"/?user="+user+query, nil)
	require.NoError(s.t, err)
	c := &client{t: s.t, ws: ws}
	s.t.Cleanup(func() { ws.Close() })
	m := c.next()
	require.Equal(s.t, "hello", m.Type)
	c.count = 0
	require.NoError(s.t, json.Unmarshal(m.Data, &c.hello))
	return c
}

func (c *client) token() string { return c.hello["resumeToken"].(string) }

func (c *client) next() reply {
	c.t.Helper()
	m, err := c.read()
	require.NoError(c.t, err)
	return m
}

func (c *client) read() (reply, error) {
	for len(c.queue) == 0 {
		c.ws.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			return reply{}, err
		}
		if b[0] == '[' {
			require.NoError(c.t, json.Unmarshal(b, &c.queue))
		} else {
			c.queue = make([]reply, 1)
			require.NoError(c.t, json.Unmarshal(b, &c.queue[0]))
		}
	}
	m := c.queue[0]
	c.queue = c.queue[1:]
	c.count++
	return m, nil
}

// closed reads until the close frame and returns its code.
func (c *client) closed() int {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if ce, ok := err.(*websocket.CloseError); ok {
				return ce.Code
			}
			return 1006
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	require.NoError(c.t, c.ws.WriteMessage(websocket.TextMessage, []byte(s)))
}

func (s *server) peer(user string) *Peer {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return len(s.hub.Peers(user)) == 1 }, 10*time.Second, time.Millisecond)
	return s.hub.Peers(user)[0]
}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		require.Equal(t, "ann", c.hello["userId"])
		require.Equal(t, false, c.hello["resumed"])
		for i := range 100 {
			c.send(`{"type":"echo","id":` + strconv.Itoa(i) + `,"data":{"n":` + strconv.Itoa(i) + `}}`)
			m := c.next()
			require.Equal(t, "ok", m.Type)
			require.Equal(t, strconv.Itoa(i), string(m.ID))
		}
		c.send(`{"type":"ping","id":"x"}`)
		require.Equal(t, `"x"`, string(c.next().ID))
		p := s.peer("ann")
		p.Close(4001, "bye")
		require.Equal(t, 4001, c.closed())
		require.Eventually(t, func() bool { return s.notes() == "open close4001" }, 10*time.Second, time.Millisecond)
	})
}

func TestResume(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		p := s.peer("ann")
		for i := range 10 {
			require.NoError(t, p.Send(Data, "n", i))
		}
		for range 4 {
			c.next()
		}
		c.ws.NetConn().Close()
		require.Eventually(t, p.Away, 10*time.Second, time.Millisecond)
		require.NoError(t, p.Send(Data, "n", 10))
		d := s.dial("ann", "&resume="+c.token()+"&received=4")
		require.Equal(t, true, d.hello["resumed"])
		require.Equal(t, c.hello["sessionId"], d.hello["sessionId"])
		for i := 4; i <= 10; i++ {
			require.Equal(t, strconv.Itoa(i), string(d.next().Data))
		}
		require.Eventually(t, func() bool { return s.notes() == "open away back" }, 10*time.Second, time.Millisecond)
		d.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		require.Eventually(t, func() bool { return s.notes() == "open away back close1000" }, 10*time.Second, time.Millisecond)
		s.mu.Lock()
		require.Equal(t, 2, s.end)
		s.mu.Unlock()
	})
}
