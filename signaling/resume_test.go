package signaling

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// cutter is a TCP proxy that cuts a connection after a number of bytes towards
// the client, once.
type cutter struct {
	l     net.Listener
	after atomic.Int64 // bytes left; 0 never
}

func newCutter(t *testing.T, to string) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	c := &cutter{l: l}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				io.Copy(out, in)
				out.Close()
				in.Close()
			}()
			go func() {
				c.copy(in, out)
				out.Close()
				in.Close()
			}()
		}
	}()
	return c
}

func (c *cutter) copy(to, from net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		left := c.after.Load()
		cut := left > 0 && int64(n) >= left
		if cut {
			n = int(left)
			c.after.Store(0)
		} else if left > 0 {
			c.after.Add(int64(-n))
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil || cut {
			return
		}
	}
}

// TestThousandCuts cuts the connection at random bytes, the handshake and the
// hello included, while numbered messages go in both directions.
func TestThousandCuts(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		cuts, messages := 500, 5000 // in each mode: 1,000 and 10,000 together
		if testing.Short() {
			cuts, messages = 100, 1000
		}
		var up []int
		s := serve(t, func(o *Options) {
			o.Portable = portable
			o.QueueMessages, o.QueueBytes, o.ResumeBytes = 1<<20, 64<<20, 64<<20
			o.TotalQueueBytes, o.ResumeFor = 256<<20, time.Minute
			o.OnMessage = func(_ *Peer, m Message) {
				n, _ := strconv.Atoi(string(m.Data))
				up = append(up, n) // callbacks of a peer are serial
			}
		})
		proxy := newCutter(t, strings.TrimPrefix(s.url, "ws://"))
		var token, session string
		var received, next, handled uint64
		var down []int
		var peer *Peer
		sent := 0
		var waits []time.Duration
		for cut := 0; len(down) < messages || cut < cuts; cut++ {
			proxy.after.Store(int64(1 + rand.IntN(2500)))
			if cut >= cuts {
				proxy.after.Store(0)
			}
			if peer != nil && sent < messages {
				for range min(1+messages/cuts, messages-sent) {
					require.NoError(t, peer.Send(Data, "n", sent))
					sent++
				}
			}
			began := time.Now()
			ws, _, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://%s/?user=ann&resume=%s&received=%d", proxy.l.Addr(), token, received), nil)
			if err != nil {
				continue
			}
			func() {
				defer ws.Close()
				var hello struct {
					Data struct {
						SessionID, ResumeToken string
						Resumed                bool
						Received               uint64
					}
				}
				if ws.ReadJSON(&hello) != nil {
					return
				}
				if session == "" || peer == nil {
					require.False(t, hello.Data.Resumed && session == "")
					session = hello.Data.SessionID
					for _, p := range s.hub.Peers("ann") {
						if p.ID() == session {
							peer = p
						} else {
							p.Close(1000, "")
						}
					}
				}
				require.Equal(t, session, hello.Data.SessionID, "the session must survive")
				waits = append(waits, time.Since(began))
				token = hello.Data.ResumeToken
				handled = hello.Data.Received
				for next = handled; next < handled+5 && int(next) < messages; next++ {
					if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"up","data":%d}`, next)) != nil {
						return
					}
				}
				if sent == 0 {
					require.NoError(t, peer.Send(Data, "n", sent))
					sent++
				}
				for sent < messages || len(down) < messages {
					ws.SetReadDeadline(time.Now().Add(10 * time.Second))
					_, b, err := ws.ReadMessage()
					if err != nil {
						return
					}
					var batch []reply
					if b[0] != '[' {
						b = append(append([]byte{'['}, b...), ']')
					}
					require.NoError(t, json.Unmarshal(b, &batch))
					for _, m := range batch {
						n, _ := strconv.Atoi(string(m.Data))
						down = append(down, n)
						received++
					}
					if sent < messages {
						require.NoError(t, peer.Send(Data, "n", sent))
						sent++
					}
				}
			}()
		}
		require.Len(t, down, messages)
		for i, n := range down {
			require.Equal(t, i, n, "lost, doubled or reordered")
		}
		peer.events.run(func() {
			for i, n := range up {
				require.Equal(t, i, n, "from the client: lost, doubled or reordered")
			}
		})
		slices.Sort(waits)
		t.Logf("%d cuts, %d messages down, %d up; resume p50 %v p99 %v", cuts, len(down), len(up), waits[len(waits)/2], waits[len(waits)*99/100])
	})
}

func TestTakeover(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		a := s.dial("ann", "")
		p := s.peer("ann")
		require.False(t, s.hub.Takeover("bob", a.token()), "another user's token")
		require.False(t, s.hub.Takeover("ann", "nonsense"))
		require.False(t, s.hub.Takeover("ann", ""))
		require.True(t, s.hub.Takeover("ann", a.token()))
		s.mu.Lock()
		require.Equal(t, 1, s.end, "the ghost's socket is released before Takeover returns")
		s.mu.Unlock()
		require.NoError(t, p.Send(Data, "n", 1))
		b := s.dial("ann", "&resume="+a.token()+"&received=0")
		require.Equal(t, true, b.hello["resumed"])
		require.Equal(t, "1", string(b.next().Data))
		require.Equal(t, 1006, a.closed())

		// A second socket with the token takes over without a call of Takeover.
		c := s.dial("ann", "&resume="+b.token()+"&received=1")
		require.Equal(t, true, c.hello["resumed"])
		require.Equal(t, 1006, b.closed())
		require.Eventually(t, func() bool { return len(s.notes()) >= 24 }, 5*time.Second, time.Millisecond, s.notes())
		require.Equal(t, "open away back away back", s.notes())
		require.Len(t, s.hub.Peers("ann"), 1)
	})
}

func TestTokenIsSpent(t *testing.T) {
	s := serve(t, nil)
	a := s.dial("ann", "")
	b := s.dial("ann", "&resume="+a.token()+"&received=0")
	// Until b shows that it has the new token, the old one is good: the hello
	// may have been lost. After that it is spent.
	b.send(`{"type":"ping","id":1,"data":{"received":0}}`)
	require.Equal(t, "ok", b.next().Type)
	c := s.dial("ann", "&resume="+a.token()+"&received=0")
	require.Equal(t, false, c.hello["resumed"])
	require.NotEqual(t, a.hello["sessionId"], c.hello["sessionId"])
	d := s.dial("bob", "&resume="+b.token()+"&received=1")
	require.Equal(t, false, d.hello["resumed"], "another user")
	require.Equal(t, "ann", s.hub.Peers("ann")[0].User())
	e := s.dial("ann", "&resume="+b.token()+"&received=1")
	require.Equal(t, true, e.hello["resumed"])
}

func TestResumeThatIsNotPossible(t *testing.T) {
	s := serve(t, func(o *Options) { o.ResumeBytes, o.QueueBytes = 1000, 1000 })
	a := s.dial("ann", "")
	p := s.peer("ann")
	for range 20 { // more than is kept
		require.NoError(t, p.Send(Data, "n", strings.Repeat("x", 100)))
		a.next()
	}
	b := s.dial("ann", "&resume="+a.token()+"&received=1")
	require.Equal(t, false, b.hello["resumed"])
	require.Eventually(t, func() bool { return strings.Contains(s.notes(), "close1006") }, 10*time.Second, time.Millisecond)
	// A client that claims what was never sent gets a new session as well.
	c := s.dial("ann", "&resume="+b.token()+"&received=5")
	require.Equal(t, false, c.hello["resumed"])
	require.Len(t, s.hub.Peers("ann"), 1)
	require.EqualValues(t, 2, s.hub.Stats().NotResumed)
}

func TestGraceEnds(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.ResumeFor = portable, 60*time.Millisecond })
		a := s.dial("ann", "")
		p := s.peer("ann")
		a.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""))
		require.Equal(t, 1001, a.closed())
		require.Eventually(t, func() bool { return s.notes() == "open away close1006" }, 10*time.Second, time.Millisecond)
		require.ErrorIs(t, p.Send(Data, "x", nil), ErrClosed)
		b := s.dial("ann", "&resume="+a.token()+"&received=0")
		require.Equal(t, false, b.hello["resumed"])
	})
}

// TestAcknowledged shows that a pong frees what was kept for a resume.
func TestAcknowledged(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.PingEvery = portable, 50*time.Millisecond })
		c := s.dial("ann", "")
		require.NoError(t, s.peer("ann").Send(Data, "n", strings.Repeat("x", 5000)))
		c.next()
		go c.read() // answers pings
		require.Eventually(t, func() bool { return s.hub.Stats().QueueBytes == 0 }, 10*time.Second, time.Millisecond)
	})
}

func FuzzResumeToken(f *testing.F) {
	h := &Hub{}
	f.Add("")
	f.Add("AAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add(h.token("AAAAAAAAAAAAAA", 7))
	f.Fuzz(func(t *testing.T, token string) {
		if id, n, ok := h.readToken(token); ok && token != h.token(id, n) {
			t.Fatalf("%q accepted", token)
		}
	})
}

// TestCloseWhileOpening closes the peer in each callback that Accept makes; the
// client gets the close frame each time.
func TestCloseWhileOpening(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		for _, resume := range []bool{false, true} {
			for _, where := range []string{"hello", "panic", "socket", "open"} {
				t.Run(fmt.Sprint(where, " ", resume), func(t *testing.T) {
					armed, ends := atomic.Bool{}, atomic.Int64{}
					leave := func(p *Peer, at string) {
						if armed.Load() && at == where {
							p.Close(4003, "under review")
						}
					}
					s := serve(t, func(o *Options) {
						o.Portable = portable
						o.OnOpen = func(p *Peer) { leave(p, "open") }
						o.OnBack = o.OnOpen
					})
					errs := make(chan error, 2)
					web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, err := s.hub.Accept(w, r, AcceptOptions{User: "ann", Resume: r.FormValue("resume"),
							Hello: func(p *Peer) map[string]any {
								if armed.Load() && where == "panic" {
									panic("boom")
								}
								leave(p, "hello")
								return nil
							},
							OnSocket: func(c Socket) {
								if armed.Load() && where == "socket" {
									c.Close(4003, "under review")
								}
							},
							OnSocketEnd: func() { ends.Add(1) }})
						errs <- err
					}))
					defer web.Close()
					s.url = "ws" + strings.TrimPrefix(web.URL, "http")
					query, dials := "", int64(1)
					if resume {
						c := s.dial("ann", "")
						require.NoError(t, <-errs)
						p := s.peer("ann")
						c.ws.NetConn().Close()
						require.Eventually(t, p.Away, 10*time.Second, time.Millisecond)
						query, dials = "&resume="+c.token(), 2
					}
					armed.Store(true)
					ws, _, err := websocket.DefaultDialer.Dial(s.url+"/?user=ann"+query, nil)
					require.NoError(t, err)
					defer ws.Close()
					c := &client{t: t, ws: ws}
					c.send(`{"type":"echo"}`) // unread when the close comes: must not reset the connection
					want, wantErr := 4003, error(nil)
					switch where {
					case "panic":
						want, wantErr = 1011, ErrClosed
					case "hello":
						wantErr = ErrClosed
					}
					require.Equal(t, want, c.closed())
					require.ErrorIs(t, <-errs, wantErr)
					require.Eventually(t, func() bool { return ends.Load() == dials && s.hub.Stats().Sockets == 0 }, 10*time.Second, time.Millisecond)
					require.EqualValues(t, 1, s.hub.Stats().Closed[want])
					require.Zero(t, s.hub.Stats().Peers)
				})
			}
		}
	})
}
