package connmgr

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listen(t testing.TB, opt Options) (*Manager, net.Listener) {
	m, err := New(opt)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l = m.Listener(l)
	t.Cleanup(func() { l.Close() })
	return m, l
}

// dial connects from a loopback address and reports whether it was let in:
// the server writes a byte.
func dial(t testing.TB, l net.Listener, from string) (net.Conn, bool) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", l.Addr().String())
	if errors.Is(err, syscall.ECONNRESET) {
		return nil, false // reset before Dial looked
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), err)
		return c, false
	}
	return c, true
}

func serve(t testing.TB, l net.Listener) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.Write([]byte("!"))
				io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close() })
}

func TestListener(t *testing.T) {
	m, l := listen(t, Options{
		MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10,
		Accept:         AcceptOptions{MaxConns: 5, MaxPerAddr: 2},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")},
	})
	serve(t, l)
	first, ok := dial(t, l, "127.0.0.1")
	require.True(t, ok)
	_, ok = dial(t, l, "127.0.0.1")
	require.True(t, ok)
	_, ok = dial(t, l, "127.0.0.1")
	require.False(t, ok)
	for range 3 {
		_, ok = dial(t, l, "127.0.0.9")
		require.True(t, ok, "a trusted proxy has no limit of its own")
	}
	_, ok = dial(t, l, "127.0.0.9")
	require.False(t, ok)
	s := m.Stats()
	require.Equal(t, 5, s.Open)
	require.EqualValues(t, 5, s.Accepted)
	require.EqualValues(t, 1, s.AcceptRefused.PerAddr)
	require.EqualValues(t, 1, s.AcceptRefused.Conns)

	first.Close()
	require.Eventually(t, func() bool { return m.Stats().Open == 4 }, 30*time.Second, time.Millisecond)
	_, ok = dial(t, l, "127.0.0.1")
	require.True(t, ok)
}

func TestListenerRate(t *testing.T) {
	m, l := listen(t, Options{
		MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10,
		Accept: AcceptOptions{RatePerAddr: 0.001, BurstPerAddr: 2, Rate: 0.001, Burst: 3},
	})
	serve(t, l)
	for i, want := range []bool{true, true, false} {
		_, ok := dial(t, l, "127.0.0.1")
		require.Equal(t, want, ok, i)
	}
	_, ok := dial(t, l, "127.0.0.2")
	require.True(t, ok)
	_, ok = dial(t, l, "127.0.0.3")
	require.False(t, ok)
	require.EqualValues(t, 1, m.Stats().AcceptRefused.RatePerAddr)
	require.EqualValues(t, 1, m.Stats().AcceptRefused.Rate)
}

// TestListenerHTTP: what net/http and WebSocket libraries look for in a
// connection is still there, and closing counts once.
func TestListenerHTTP(t *testing.T) {
	m, l := listen(t, Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10})
	got := make(chan net.Conn, 1)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			c, _, err := w.(http.Hijacker).Hijack()
			require.NoError(t, err)
			got <- c
		}
	})}}
	s.Start()
	resp, err := s.Client().Get(s.URL)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 1, m.Stats().Open)
	go s.Client().Post(s.URL+"/hijack", "", nil) // a GET that was cut off would come again
	c := <-got
	_, ok := c.(syscall.Conn)
	require.True(t, ok, "SyscallConn")
	_, ok = c.(io.ReaderFrom)
	require.True(t, ok, "ReadFrom")
	_, ok = c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
	require.True(t, ok, "NetConn")
	c.Close()
	c.Close()
	s.Close()
	require.Equal(t, 0, m.Stats().Open)
}

// TestListenerMemory: a connection that says nothing and one that is idle have
// reserved what they cost. One that was hijacked has given it back.
func TestListenerMemory(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"plain": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			account := &testAccount{max: 2000}
			m, l := listen(t, Options{
				MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10,
				Accept: AcceptOptions{Account: account, BytesPerConn: 1000},
			})
			got := make(chan net.Conn, 1)
			s := &httptest.Server{Listener: l, Config: &http.Server{ConnState: m.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hijack" {
					c, _, err := w.(http.Hijacker).Hijack()
					require.NoError(t, err)
					got <- c
				}
			})}}
			start(s)
			defer s.Close()
			reserved := func(n int64) {
				t.Helper()
				require.Eventually(t, func() bool { return account.used.Load() == n }, 30*time.Second, time.Millisecond)
			}
			silent, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			reserved(1000)
			resp, err := s.Client().Get(s.URL)
			require.NoError(t, err)
			resp.Body.Close()
			reserved(2000)

			third, err := net.Dial("tcp", l.Addr().String())
			if err == nil { // the reset may come later
				_, err = third.Read(make([]byte, 1))
				third.Close()
			}
			require.Error(t, err)
			require.EqualValues(t, 1, m.Stats().AcceptRefused.Memory)

			go s.Client().Post(s.URL+"/hijack", "", nil) // a GET that was cut off would come again
			c := <-got
			reserved(1000)
			require.Equal(t, 2, m.Stats().Open)
			c.Close()
			silent.Close()
			reserved(0)
			require.Equal(t, 0, m.Stats().Open)
		})
	}
	_, err := New(Options{MaxConns: 1, MaxPerUser: 1, MaxPerAddr: 1, Accept: AcceptOptions{Account: &testAccount{}}})
	require.ErrorContains(t, err, "Options.Accept.BytesPerConn = 0, want > 0")
}

// pipeListener accepts connections that are no TCP.
type pipeListener struct {
	net.Listener
	conns chan net.Conn
}

func (l *pipeListener) Accept() (net.Conn, error) { return <-l.conns, nil }

func TestListenerOther(t *testing.T) {
	m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 10, Accept: AcceptOptions{MaxConns: 1}})
	require.NoError(t, err)
	inner := &pipeListener{conns: make(chan net.Conn, 2)}
	l := m.Listener(inner)
	a, b := net.Pipe()
	defer b.Close()
	inner.conns <- a
	c, err := l.Accept()
	require.NoError(t, err)
	require.Equal(t, 1, m.Stats().Open)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.Equal(t, 0, m.Stats().Open)
}
