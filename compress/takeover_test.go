package compress

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/require"
)

// echoServer has connections that Takeover compresses and gorilla does not.
func echoServer(t *testing.T, c *Compressor, o TakeoverOptions, talk func(*websocket.Conn)) *httptest.Server {
	up := websocket.Upgrader{EnableCompression: true}
	h, err := c.Takeover(o, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err == nil {
			talk(conn)
			conn.Close()
		}
	}))
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// keeper is a client that keeps its window, as browsers do.
type keeper struct {
	net.Conn
	r      *bufio.Reader
	window []byte
	wire   int
}

func dialKeeper(t *testing.T, srv *httptest.Server) *keeper {
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
	k := &keeper{Conn: conn, r: bufio.NewReader(conn)}
	resp, err := http.ReadResponse(k.r, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	require.Equal(t, "permessage-deflate; client_no_context_takeover", resp.Header.Get("Sec-Websocket-Extensions"))
	return k
}

func (k *keeper) read(t *testing.T) (opcode byte, message []byte) {
	for {
		var h [2]byte
		_, err := io.ReadFull(k.r, h[:])
		require.NoError(t, err)
		n := int(h[1])
		k.wire += 2
		switch n {
		case 126:
			var b [2]byte
			io.ReadFull(k.r, b[:])
			n = int(binary.BigEndian.Uint16(b[:]))
			k.wire += 2
		case 127:
			var b [8]byte
			io.ReadFull(k.r, b[:])
			n = int(binary.BigEndian.Uint64(b[:]))
			k.wire += 8
		}
		payload := make([]byte, n)
		_, err = io.ReadFull(k.r, payload)
		require.NoError(t, err)
		k.wire += n
		if h[0]&15 != 0 {
			opcode = h[0] & 15
		}
		if h[0]&0x40 != 0 {
			payload = append(payload, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
			payload, err = io.ReadAll(flate.NewReaderDict(bytes.NewReader(payload), k.window))
			require.NoError(t, err)
			k.window = append(k.window, payload...)
			k.window = k.window[max(0, len(k.window)-32<<10):]
		}
		message = append(message, payload...)
		if h[0]&0x80 != 0 {
			return opcode, message
		}
	}
}

// send writes frames that are masked, and compressed on demand.
func (k *keeper) send(message []byte, compressed bool, pieces int) {
	first := byte(1)
	if compressed {
		var b bytes.Buffer
		flate.StatelessDeflate(&b, message, false, nil)
		message = b.Bytes()[:b.Len()-4]
		first |= 0x40
	}
	var out []byte
	for i := range pieces {
		part := message[len(message)*i/pieces : len(message)*(i+1)/pieces]
		if i == pieces-1 {
			first |= 0x80
		}
		out = append(out, first, 0x80|127)
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, 1, 2, 3, 4)
		for j, b := range part {
			out = append(out, b^byte(j&3+1))
		}
		out = append(out, 0x89, 0x82, 0, 0, 0, 0, 'h', 'i') // a ping between
		first = 0
	}
	k.Write(out)
}

func TestTakeover(t *testing.T) {
	a := &testAccount{limit: 1 << 20}
	c := newTest(t, func(o *Options) { o.Account = a })
	srv := echoServer(t, c, TakeoverOptions{MaxMessageBytes: 1 << 20}, func(conn *websocket.Conn) {
		for {
			kind, m, err := conn.ReadMessage()
			if err != nil {
				return
			}
			conn.WriteMessage(kind, m)
		}
	})
	k := dialKeeper(t, srv)
	echo := func(m []byte, compressed bool, pieces int) {
		t.Helper()
		k.send(m, compressed, pieces)
		for {
			opcode, got := k.read(t)
			if opcode == 10 {
				continue
			}
			require.Equal(t, byte(1), opcode)
			require.True(t, bytes.Equal(m, got))
			return
		}
	}
	for _, m := range [][]byte{{}, []byte("hi"), cards(1, 1), cards(20, 2), cards(120, 3), cards(300, 4), noise(300), noise(70000)} {
		for _, pieces := range []int{1, 3} {
			echo(m, false, pieces)
			echo(m, true, pieces)
			echo(m, true, pieces)
		}
	}
	require.Positive(t, a.used.Load())
	k.Close()
	require.Eventually(t, func() bool { return a.used.Load() == c.Stats().EncoderBytes }, 5*time.Second, time.Millisecond)
}

func TestTakeoverSaves(t *testing.T) {
	c := newTest(t)
	const n = 400
	message := func(i int) []byte {
		return fmt.Appendf(nil, `{"type":"presence:update","data":{"userId":"7f3c1a%02x-9b1e-4c55-a0d4-2e6b8f90ab%02x","isOnline":true,"isInQueue":false,"lastActiveAt":"2026-11-23T04:%02d:%02d.%03dZ"}}`, i%50, i%50, i/60, i%60, i*37%1000)
	}
	srv := echoServer(t, c, TakeoverOptions{MaxMessageBytes: 1 << 16}, func(conn *websocket.Conn) {
		for i := range n {
			conn.WriteMessage(websocket.TextMessage, message(i))
		}
	})
	k := dialKeeper(t, srv)
	plain := 0
	for i := range n {
		_, got := k.read(t)
		require.Equal(t, string(message(i)), string(got))
		plain += len(got) + 4
	}
	t.Logf("%d small messages: %d bytes instead of %d, %.1f %% saved", n, k.wire, plain, 100-100*float64(k.wire)/float64(plain))
	require.Less(t, k.wire, plain/4)
	require.Equal(t, uint64(n), c.Stats().Codings["permessage-deflate"].Blocks)
}

// nowhere is a connection to nobody.
type nowhere struct {
	net.Conn
	n int
}

func (c *nowhere) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }
func (c *nowhere) Close() error                { return nil }

// TestTakeoverMemory holds what is reserved for a connection to what it takes.
func TestTakeoverMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector's own memory is not what is measured")
	}
	const n, history = 200, 8 << 10
	c := newTest(t)
	conns := make([]*takeoverConn, n)
	before := liveHeap()
	for i := range conns {
		conns[i] = &takeoverConn{Conn: &nowhere{}, c: c, release: func() {}, opts: TakeoverOptions{MaxMessageBytes: 1 << 16, HistoryBytes: history}, window: takeoverWindow{most: history}}
		for j := range 40 {
			m := cards(1+j%3*10, uint64(j))
			conns[i].Write(append([]byte{0x81, 126, byte(len(m) >> 8), byte(len(m))}, m...))
		}
	}
	got := (liveHeap() - before) / n
	t.Logf("a connection with %d bytes of history: %d bytes live (reserved %d)", history, got, history+windowBytes+takeoverBytes)
	require.LessOrEqual(t, got, int64(history+windowBytes+takeoverBytes))
	runtime.KeepAlive(conns)
}

// TestTakeoverWindow deflates messages of every kind with windows of several
// sizes, some forgotten again, and inflates them as a client would.
func TestTakeoverWindow(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	for _, most := range []int{256, 1000, 8 << 10, 16 << 10} {
		r := rand.New(rand.NewPCG(uint64(most), 1))
		w := takeoverWindow{most: most}
		var client []byte
		text := prose(5000)
		for i := range 3000 {
			var m []byte
			switch r.IntN(5) {
			case 0:
				m = cards(1, r.Uint64N(50))
			case 1:
				m = text[r.IntN(4000):][:r.IntN(900)]
			case 2:
				m = noise(r.IntN(400))
			case 3:
				m = bytes.Repeat([]byte{byte(i)}, r.IntN(500))
			default:
				m = fmt.Appendf(nil, `["p",["D",0,0,[%d,3,[18,"%d.%03d"]]]]`, r.IntN(120), r.IntN(10), r.IntN(1000))
			}
			if kept := len(m) <= most; len(m) > 0 {
				var out []byte
				if kept && len(m) <= takeoverSmall {
					out = w.deflate(nil, m)
				} else {
					out = e.message(nil, &w, m)
				}
				if !kept {
					w.enter(w.append(m))
				}
				if kept && r.IntN(8) == 0 {
					w.forget(len(m))
					continue
				}
				got, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(append(out, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)), client))
				require.NoError(t, err)
				require.Equal(t, string(m), string(got))
			}
			client = append(client, m...)
			client = client[max(0, len(client)-32<<10):]
		}
	}
}

func TestTakeoverBomb(t *testing.T) {
	c := newTest(t)
	failed := make(chan error, 2)
	srv := echoServer(t, c, TakeoverOptions{MaxMessageBytes: 1 << 16}, func(conn *websocket.Conn) {
		_, _, err := conn.ReadMessage()
		failed <- err
	})
	for _, pieces := range []int{1, 4} {
		k := dialKeeper(t, srv)
		k.send(make([]byte, 1<<24), true, pieces)
		opcode, got := k.read(t)
		for opcode == 10 {
			opcode, got = k.read(t)
		}
		require.Equal(t, byte(8), opcode)
		require.Equal(t, []byte{0x03, 0xf1}, got)
		require.Error(t, <-failed)
	}
	require.Eventually(t, func() bool { return c.Stats().BufferedBytes == 0 }, 5*time.Second, time.Millisecond)
}

// TestTakeoverReads has deflated messages of the shapes of RFC 7692, 7.2.3,
// arrive, each in one frame and in three, with another message behind it. What
// is not allowed is told with its close code.
func TestTakeoverReads(t *testing.T) {
	const hello, final, hel, lo = "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00", "\x01\x03\x00\xfc\xffHel", "\x01\x02\x00\xfd\xfflo"
	c := newTest(t)
	srv := echoServer(t, c, TakeoverOptions{MaxMessageBytes: 1 << 16}, func(conn *websocket.Conn) {
		for {
			kind, m, err := conn.ReadMessage()
			if err != nil {
				return
			}
			conn.WriteMessage(kind, m)
		}
	})
	var big bytes.Buffer
	w, _ := flate.NewWriter(&big, 1)
	w.Write(make([]byte, 40000))
	w.Close()
	tests := map[string]struct {
		message string
		code    int // 0: "Hello" arrives
	}{
		"one block":                         {hello, 0},
		"no compression":                    {"\x00\x05\x00\xfa\xffHello\x00", 0},
		"two blocks":                        {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 0},
		"final":                             {final + "\x00", 0},
		"final, no octet after it":          {final, 0},
		"final, then a copy from before it": {"\x01\x0d\x00\xf2\xff(Hello, Hello" + "\xf2\x00\x11\x00\x00", 0}, // of 5 bytes, 5 back
		"two final":                         {hel + lo + "\x00", 0},
		"final, then one block":             {hel + "\xca\xc9\x07\x00", 0},
		"garbage after the final block":     {final + "\xff", 1007},
		"reserved type":                     {"\x06", 1007},
		"half a block":                      {hello[:3], 1007},
		"too large after the final block":   {big.String() + big.String(), 1009},
		"more final blocks than any":        {strings.Repeat("\x03\x00", 30000), 1007},
	}
	frame := func(first byte, m string) (b []byte) {
		b = binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(len(m)))
		return append(append(b, 0, 0, 0, 0), m...)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, fragments := range []bool{false, true} {
				k := dialKeeper(t, srv)
				b, n := frame(0xc1, test.message), len(test.message)
				if fragments {
					b = append(append(frame(0x41, test.message[:n/2]), frame(0, "")...), frame(0x80, test.message[n/2:])...)
				}
				k.Write(append(b, frame(0xc1, hello)...))
				if test.code > 0 {
					opcode, got := k.read(t)
					require.Equal(t, byte(8), opcode)
					require.Equal(t, test.code, int(got[0])<<8|int(got[1]))
					continue
				}
				_, got := k.read(t)
				if strings.HasPrefix(name, "final, then a copy") {
					require.Equal(t, "(Hello, HelloHello", string(got))
				} else {
					require.Equal(t, "Hello", string(got))
				}
				_, got = k.read(t)
				require.Equal(t, "Hello", string(got))
			}
		})
	}
	for name, b := range map[string][]byte{
		"reserved bit in a fragment": append(frame(0x41, hello[:3]), frame(0xc0, hello[3:])...),
		"other reserved bit":         frame(0xe1, hello),
		"message in a message":       append(frame(0x41, hello[:3]), frame(0x81, "plain")...),
		"deflated in a message":      append(frame(0x41, hello[:3]), frame(0xc1, hello)...),
		"deflated in a plain one":    append(frame(0x01, "pl"), frame(0xc1, hello)...),
	} {
		t.Run(name, func(t *testing.T) {
			k := dialKeeper(t, srv)
			k.Write(b)
			opcode, got := k.read(t)
			require.Equal(t, byte(8), opcode)
			require.Equal(t, []byte{0x03, 0xea}, got[:2])
		})
	}
}

func TestTakeoverOthers(t *testing.T) {
	c := newTest(t)
	srv := echoServer(t, c, TakeoverOptions{MaxMessageBytes: 1 << 16}, func(conn *websocket.Conn) {
		for range 3 {
			conn.WriteMessage(websocket.TextMessage, cards(10, 1))
		}
		conn.ReadMessage()
	})
	for _, compressed := range []bool{true, false} { // gorilla's client refuses takeover
		conn, resp, err := (&websocket.Dialer{EnableCompression: compressed}).Dial("ws"+srv.URL[4:], nil)
		require.NoError(t, err)
		require.Equal(t, compressed, strings.Contains(resp.Header.Get("Sec-Websocket-Extensions"), "server_no_context_takeover"))
		for range 3 {
			_, got, err := conn.ReadMessage()
			require.NoError(t, err)
			require.True(t, bytes.Equal(cards(10, 1), got))
		}
		conn.Close()
	}
	require.Eventually(t, func() bool { return c.Stats().BufferedBytes == 0 }, 5*time.Second, time.Millisecond)
	resp, err := http.Get(srv.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 400, resp.StatusCode)
	for offer, want := range map[string]string{
		"permessage-deflate": "permessage-deflate; client_no_context_takeover",
		"x-other, permessage-deflate; server_max_window_bits=10, permessage-deflate;client_max_window_bits=12": "permessage-deflate; client_no_context_takeover",
		"permessage-deflate; what": "", "": "",
	} {
		got, _ := acceptDeflate([]string{offer})
		require.Equal(t, want, got, offer)
	}
}

func BenchmarkTakeover(b *testing.B) {
	conn := &nowhere{}
	t := &takeoverConn{Conn: conn, c: newTest(b), release: func() {}, opts: TakeoverOptions{MaxMessageBytes: 1 << 16, HistoryBytes: 8 << 10}, window: takeoverWindow{most: 8 << 10}}
	var m []byte
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		m = fmt.Appendf(append(m[:0], 0x81, 0), `["p",["D",0,0,[%d,2,%t,%d,3,[18,"%d.%03d"]]]]`, i*7%120, i%3 == 0, i*7%120, i/1000%10, i%1000)
		m[1] = byte(len(m) - 2)
		t.Write(m)
	}
	b.ReportMetric(float64(conn.n)/float64(i), "B/msg")
}
