package signaling

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// rawSend writes one masked frame (with a mask of zeros) made by hand.
func rawSend(t *testing.T, conn net.Conn, first byte, payload []byte) {
	t.Helper()
	b := make([]byte, maxHeader, maxHeader+4+len(payload))
	n := putHeader(b, first, len(payload))
	b = b[maxHeader-n:]
	b[1] |= maskBit
	b = append(append(b, 0, 0, 0, 0), payload...)
	_, err := conn.Write(b)
	require.NoError(t, err)
}

// bomb returns a compressed message that inflates to n MiB. What deflates a MiB
// of the same letter may be repeated as it is.
func bomb(n int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	part := func(p []byte) []byte {
		b.Reset()
		w.Write(p)
		w.Flush()
		return bytes.Clone(b.Bytes())
	}
	out := part([]byte(`{"type":"x","data":"`))
	out = append(out, bytes.Repeat(part(bytes.Repeat([]byte("a"), 1<<20)), n)...)
	out = append(out, part([]byte(`"}`))...)
	return bytes.TrimSuffix(out, []byte{0, 0, 0xff, 0xff})
}

func TestRulesAndTheirCloseCodes(t *testing.T) {
	text := func(s string) func(*client) {
		return func(c *client) { c.ws.WriteMessage(websocket.TextMessage, []byte(s)) }
	}
	raw := func(first byte, payload []byte) func(*client) {
		return func(c *client) { rawSend(c.t, c.ws.NetConn(), first, payload) }
	}
	tests := map[string]struct {
		do   func(*client)
		code int
	}{
		"not JSON":          {text(`hello`), 1007},
		"half JSON":         {text(`{"type":`), 1007},
		"empty":             {text(``), 1007},
		"deep and not JSON": {text(strings.Repeat("[", 1000)), 1007},
		"binary":            {func(c *client) { c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"x"}`)) }, 1007},
		"not UTF-8":         {raw(finBit|opText, []byte("{\"type\":\"\xff\"}")), 1007},
		"too large":         {text(`{"type":"x","data":"` + strings.Repeat("a", 64<<10) + `"}`), 1009},
		"announced too large": {func(c *client) {
			c.ws.NetConn().Write([]byte{finBit | opText, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0})
		}, 1009},
		"deflate bomb":       {raw(finBit|rsv1Bit|opText, bomb(32)), 1009},
		"corrupt deflate":    {raw(finBit|rsv1Bit|opText, []byte{0xff, 0xff, 0xff}), 1007},
		"reserved opcode":    {raw(finBit|3, nil), 1002},
		"reserved bit":       {raw(finBit|1<<5|opText, []byte(`{"type":"x"}`)), 1002},
		"unmasked":           {func(c *client) { c.ws.NetConn().Write([]byte{finBit | opText, 2, '{', '}'}) }, 1002},
		"fragmented ping":    {raw(opPing, nil), 1002},
		"long ping":          {raw(finBit|opPing, make([]byte, 126)), 1002},
		"stray continuation": {raw(finBit, []byte("x")), 1002},
		"bad close code":     {raw(finBit|opClose, []byte{0, 1}), 1002},
		"too many a second": {func(c *client) {
			for range 20 {
				c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"x"}`))
			}
		}, 1008},
		"too many pings": {func(c *client) {
			for range 20 {
				rawSend(c.t, c.ws.NetConn(), finBit|opPing, nil)
			}
		}, 1008},
		"normal": {func(c *client) { c.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")) }, 1000},
	}
	packed := bomb(32)
	require.Less(t, len(packed), 64<<10)
	inflated, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(packed), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	require.NoError(t, err)
	require.Greater(t, len(inflated), 32<<20)
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) {
			o.Portable, o.Compress, o.Rate, o.Burst, o.ResumeFor, o.TotalQueueBytes = portable, true, 1, 10, -1, 1<<20
		})
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				s := &server{t: t, hub: s.hub, url: s.url}
				c := s.dial("ann", "")
				p := s.peer("ann")
				test.do(c)
				require.Equal(t, test.code, c.closed())
				require.Eventually(t, func() bool { return len(s.hub.Peers("ann")) == 0 }, 10*time.Second, time.Millisecond)
				require.ErrorIs(t, p.Send(Data, "x", nil), ErrClosed)
			})
		}
		t.Run("and it goes on", func(t *testing.T) {
			s := &server{t: t, hub: s.hub, url: s.url}
			s.dial("bob", "").send(`{"type":"echo"}`)
		})
	})
}

func TestBadEnvelopeIsAnsweredNotPunished(t *testing.T) {
	s := serve(t, nil)
	c := s.dial("ann", "")
	for _, m := range []string{`[]`, `5`, `"x"`, `null`, `{}`, `{"type":5}`, `{"type":""}`, `{"id":1}`, `{"type":{"a":[]}}`,
		`{"type":"x","data":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"type":"` + strings.Repeat("x", 65) + `"}`, `{"type":"x","id":"` + strings.Repeat("x", 200) + `"}`} {
		c.send(m)
		got := c.next()
		require.Equal(t, "error", got.Type, m)
		require.Contains(t, string(got.Data), `"invalid_message"`, m)
	}
	c.send(`{"type":7,"id":[1]}`)
	require.Equal(t, `[1]`, string(c.next().ID))
	c.send(`{"type":"echo","id":1}`)
	require.Equal(t, "ok", c.next().Type)
}

func TestOrigin(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Origins = []string{"https://good.example", "https://*.wild.example", "http://p.example:81"}
	})
	host := strings.TrimPrefix(s.url, "ws://")
	tests := map[string]bool{
		"http://" + host: true, "https://good.example": true, "HTTPS://GOOD.EXAMPLE": true, "https://a.wild.example": true,
		"https://a.b.wild.example": true, "http://p.example:81": true,
		"http://good.example": false, "https://good.example:444": false, "https://evilgood.example": false,
		"https://wild.example": false, "https://xwild.example": false, "http://a.wild.example": false,
		"null": false, "https://good.example.evil": false, "": true, "https://.wild.example": false,
	}
	for origin, want := range tests {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		ws, resp, err := websocket.DefaultDialer.Dial(s.url+"/?user=ann", h)
		if want {
			require.NoError(t, err, origin)
			ws.Close()
		} else {
			require.Error(t, err, origin)
			require.Equal(t, 403, resp.StatusCode)
		}
	}
	require.EqualValues(t, 9, s.hub.Stats().Refused["origin"])
}

func TestFullAndBadHandshakes(t *testing.T) {
	s := serve(t, func(o *Options) { o.MaxPeers = 2 })
	s.dial("a", "")
	s.dial("b", "")
	_, resp, err := websocket.DefaultDialer.Dial(s.url+"/?user=c", nil)
	require.Error(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.Regexp(t, `^[1-5]$`, resp.Header.Get("Retry-After"))
	s2 := serve(t, nil)
	resp, err = http.Get(strings.Replace(s2.url, "ws", "http", 1))
	require.NoError(t, err)
	require.Equal(t, 400, resp.StatusCode)
	resp.Body.Close()
	require.Zero(t, s2.hub.Stats().Peers)
	require.Empty(t, s2.notes())
	require.Equal(t, 1, s2.end)
}

// TestCheck has Check and Accept judge the same requests.
func TestCheck(t *testing.T) {
	s := serve(t, nil)
	results := make(chan [2]error, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := s.hub.Check(r)
		_, again := s.hub.Accept(w, r, AcceptOptions{User: "ann"})
		results <- [2]error{err, again}
	}))
	defer web.Close()
	host := strings.TrimPrefix(web.URL, "http://")
	const method, key = "GET / HTTP/1.1", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	good := []string{method, "Host: " + host, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", key}
	tests := map[string]struct {
		old, now string
		status   int
		err      error
	}{
		"good":            {"", "", 101, nil},
		"own origin":      {key, key + "\r\nOrigin: http://" + host, 101, nil},
		"origin":          {key, key + "\r\nOrigin: http://evil.example", 403, ErrOrigin},
		"origin first":    {"Upgrade: WebSocket", "Origin: null", 403, ErrOrigin},
		"method":          {method, "POST / HTTP/1.1", 405, ErrHandshake},
		"old HTTP":        {method, "GET / HTTP/1.0", 400, ErrHandshake},
		"no connection":   {"Connection: keep-alive, Upgrade", "Connection: keep-alive", 400, ErrHandshake},
		"no upgrade":      {"Upgrade: WebSocket", "Upgrade: h2c", 400, ErrHandshake},
		"version 8":       {"Version: 13", "Version: 8", 400, ErrHandshake},
		"two versions":    {"Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8", 400, ErrHandshake},
		"no key":          {key, "X: y", 400, ErrHandshake},
		"short key":       {key, "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==", 400, ErrHandshake},
		"long key":        {key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=", 400, ErrHandshake},
		"key not base64":  {key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!!", 400, ErrHandshake},
		"two keys":        {key, key + "\r\n" + key, 400, ErrHandshake},
		"body":            {key, key + "\r\nContent-Length: 1\r\n\r\nx", 400, ErrHandshake},
		"body of unknown": {key, key + "\r\nTransfer-Encoding: chunked\r\n\r\n0", 400, ErrHandshake},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", host)
			require.NoError(t, err)
			defer conn.Close()
			fmt.Fprintf(conn, "%s\r\n\r\n", strings.Replace(strings.Join(good, "\r\n"), test.old, test.now, 1))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.Equal(t, test.status, resp.StatusCode)
			checked := <-results
			require.Equal(t, checked[0], checked[1])
			require.ErrorIs(t, checked[0], test.err)
			if test.status == 400 {
				require.Equal(t, "13", resp.Header.Get("Sec-Websocket-Version"))
			}
		})
	}
	require.EqualValues(t, 2, s.hub.Stats().Refused["origin"])
	require.EqualValues(t, len(tests)-4, s.hub.Stats().Refused["handshake"])
	require.EqualValues(t, 2, s.hub.Stats().Opened)
}

func TestOptionsNamesEveryFault(t *testing.T) {
	_, err := New(Options{MaxMessageBytes: -1, PingEvery: -1, Origins: []string{"good.example", "https://*"}})
	for _, f := range []string{"MaxPeers = 0", "TotalQueueBytes = 0", "OnMessage = nil", "MaxMessageBytes = -1", "PingEvery = -1ns",
		"Origins = good.example", "Origins = https://*"} {
		require.ErrorContains(t, err, "Options."+f)
	}
	_, err = New(Options{MaxPeers: 1, TotalQueueBytes: 191 << 10, OnMessage: func(*Peer, Message) {}})
	require.ErrorContains(t, err, "Options.TotalQueueBytes = 195584, want >= 196608")
}

func TestControlFramesBetweenFragments(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		pongs := make(chan string, 10)
		c.ws.SetPongHandler(func(m string) error { pongs <- m; return nil })
		conn := c.ws.NetConn()
		rawSend(t, conn, opText, []byte(`{"type":"ec`))
		rawSend(t, conn, finBit|opPing, []byte("one"))
		rawSend(t, conn, 0, []byte(`ho","id"`))
		time.Sleep(20 * time.Millisecond)
		rawSend(t, conn, finBit, []byte(`:1}`))
		require.Equal(t, "1", string(c.next().ID))
		require.Equal(t, "one", <-pongs)
	})
}

// TestBytewise sends everything one byte at a time: no frame may be lost
// between waiting and reading, and a lone ping must not hold a reader.
func TestBytewise(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		conn := c.ws.NetConn()
		conn.(*net.TCPConn).SetNoDelay(true)
		var all []byte
		for i := range 3 {
			all = append(all, finBit|opPing, maskBit|2, 0, 0, 0, 0, 'h', byte('0'+i))
			m := fmt.Sprintf(`{"type":"echo","id":%d}`, i)
			all = append(all, finBit|opText, maskBit|byte(len(m)), 0, 0, 0, 0)
			all = append(all, m...)
		}
		for i := range all {
			conn.Write(all[i : i+1])
			time.Sleep(time.Millisecond)
		}
		for i := range 3 {
			require.Equal(t, fmt.Sprint(i), string(c.next().ID))
		}
	})
}

// TestHalfAControlFrame shows what waits with the beginning of a ping: a few
// bytes on the budget, no read buffer.
func TestHalfAControlFrame(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		pongs := make(chan string, 10)
		c.ws.SetPongHandler(func(m string) error { pongs <- m; return nil })
		part := func() (n int) {
			p := s.peer("ann")
			p.mu.Lock()
			defer p.mu.Unlock()
			return int(p.sock.part)
		}
		ping := append([]byte{finBit | opPing, maskBit | 5, 0, 0, 0, 0}, "hello"...)
		for cut := 1; cut < len(ping); cut++ {
			c.ws.NetConn().Write(ping[:cut])
			require.Eventually(t, func() bool { return part() == cut }, 10*time.Second, time.Millisecond)
			require.GreaterOrEqual(t, s.hub.Stats().QueueBytes, int64(cut))
			c.ws.NetConn().Write(ping[cut:])
			c.send(`{"type":"echo","id":1}`)
			require.Equal(t, "ok", c.next().Type)
			require.Equal(t, "hello", <-pongs)
			require.Zero(t, part())
		}
		c.ws.NetConn().Write(ping[:3])
		require.Eventually(t, func() bool { return part() == 3 }, 10*time.Second, time.Millisecond)
		c.ws.NetConn().Close() // half a frame is no reason to wait
		require.Eventually(t, s.peer("ann").Away, 10*time.Second, time.Millisecond)
	})
}

// TestParkedPong is the trap that a reader which hands control frames to
// NextReader falls into: after a pong it waits for a data frame, and its
// deadline kills a healthy socket.
func TestParkedPong(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) {
			o.Portable, o.PingEvery, o.PongTimeout, o.ReadTimeout = portable, 20*time.Millisecond, 5*time.Second, 50*time.Millisecond
		})
		c := s.dial("ann", "")
		pings := 0
		c.ws.SetPingHandler(func(m string) error {
			if pings++; pings == 10 {
				c.send(`{"type":"echo","id":1}`)
			}
			return c.ws.WriteControl(websocket.PongMessage, []byte(m), time.Now().Add(time.Second))
		})
		require.Equal(t, "ok", c.next().Type)
		require.Equal(t, "open", s.notes())
	})
}

func TestSilentClientGoesAway(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) {
			o.Portable, o.PingEvery, o.PongTimeout, o.ResumeFor = portable, 20*time.Millisecond, 40*time.Millisecond, 50*time.Millisecond
		})
		conn := s.rawClient("ann")
		defer conn.Close()
		require.Eventually(t, func() bool { return s.notes() == "open away close1006" }, 10*time.Second, time.Millisecond)
	})
}

func TestHalfAMessageHoldsNothingForLong(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.ReadTimeout, o.ResumeFor = portable, 50*time.Millisecond, -1 })
		conn := s.rawClient("ann")
		defer conn.Close()
		conn.Write([]byte{finBit | opText, maskBit | 100, 0, 0, 0, 0, '{'})
		require.Eventually(t, func() bool { return s.notes() == "open close1006" }, 10*time.Second, time.Millisecond)
	})
}

func TestPanicCostsOnePeer(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.OnMessage = func(p *Peer, m Message) {
			if m.Type == "boom" {
				panic("boom")
			}
			p.Reply(m.ID, nil)
		}
	})
	a, b := s.dial("a", ""), s.dial("b", "")
	a.send(`{"type":"boom"}`)
	require.Equal(t, 1011, a.closed())
	b.send(`{"type":"x","id":1}`)
	require.Equal(t, "ok", b.next().Type)
	require.EqualValues(t, 1, s.hub.Stats().Panics)
}

// TestTLS shows that sockets without a descriptor of their own use the portable
// mode by themselves.
func TestTLS(t *testing.T) {
	s := serve(t, nil)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hub.Accept(w, r, AcceptOptions{User: "ann"})
	}))
	web.StartTLS()
	defer web.Close()
	s.url = "wss" + strings.TrimPrefix(web.URL, "https")
	d := websocket.Dialer{TLSClientConfig: web.Client().Transport.(*http.Transport).TLSClientConfig}
	ws, _, err := d.Dial(s.url, nil)
	require.NoError(t, err)
	defer ws.Close()
	c := &client{t: t, ws: ws}
	require.Equal(t, "hello", c.next().Type)
	for range 10 {
		c.send(`{"type":"echo","id":1}`)
		require.Equal(t, "ok", c.next().Type)
	}
	require.Equal(t, 1, s.hub.Stats().Sockets)
	require.Zero(t, s.hub.Stats().Parked)
	s.peer("ann").Close(4002, "bye")
	require.Equal(t, 4002, c.closed())
}

// TestWrappedConnections shows that a listener's wrapper around plain TCP is
// parked if it offers the descriptor, and closed through the wrapper.
func TestWrappedConnections(t *testing.T) {
	s := serve(t, nil)
	var closed atomic.Int64
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hub.Accept(w, r, AcceptOptions{User: "ann"})
	}))
	web.Listener = wrapping{web.Listener, &closed}
	web.Start()
	defer web.Close()
	s.url = "ws" + strings.TrimPrefix(web.URL, "http")
	c := s.dial("ann", "")
	c.send(`{"type":"echo","id":1}`)
	require.Equal(t, "ok", c.next().Type)
	if runtime.GOOS == "linux" {
		require.Equal(t, 1, s.hub.Stats().Parked)
	}
	c.ws.Close()
	require.Eventually(t, func() bool { return closed.Load() == 1 }, 10*time.Second, time.Millisecond)
}

type wrapping struct {
	net.Listener
	closed *atomic.Int64
}

type wrapped struct {
	*net.TCPConn
	closed *atomic.Int64
}

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrapped{c.(*net.TCPConn), l.closed}, nil
}

func (c wrapped) NetConn() net.Conn { return c.TCPConn }

func (c wrapped) Close() error {
	c.closed.Add(1)
	return c.TCPConn.Close()
}

// TestMessagesAtWorkAreCounted has more large messages come at once than there
// is room for, to an application that does not get on with them.
func TestMessagesAtWorkAreCounted(t *testing.T) {
	const size, budget, users = 48 << 10, 2 << 20, 40
	both(t, func(t *testing.T, portable bool) {
		var atWork atomic.Int64
		goOn := make(chan struct{})
		s := serve(t, func(o *Options) {
			o.Portable, o.TotalQueueBytes, o.QueueBytes = portable, budget, 128<<10
			o.OnMessage = func(*Peer, Message) {
				atWork.Add(1)
				<-goOn
			}
		})
		large := []byte(`{"type":"x","data":"` + strings.Repeat("x", size) + `"}`)
		for i := range users {
			s.dial(fmt.Sprint("u", i), "").ws.WriteMessage(websocket.TextMessage, large)
		}
		require.Eventually(t, func() bool { return int(atWork.Load()) == len(s.hub.all()) }, 10*time.Second, time.Millisecond)
		require.LessOrEqual(t, 3*size*atWork.Load(), int64(budget))
		require.Greater(t, 3*size*(atWork.Load()+2), int64(budget), "what fits is let in")
		close(goOn)
		s.dial("ann", "").send(`{"type":"y"}`)
		require.Eventually(t, func() bool { return int(atWork.Load()) > users/4 }, 10*time.Second, time.Millisecond)
	})
}
