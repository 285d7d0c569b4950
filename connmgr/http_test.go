package connmgr

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lineConn is the simplest connection that one can upgrade to: lines of text.
// Close queues the last one; its goroutine writes it and ends.
type lineConn struct {
	net.Conn
	bye chan string // has room for one
}

func (c *lineConn) Close(code int, reason string) error {
	select {
	case c.bye <- fmt.Sprintf("%d %s", code, reason):
	default:
	}
	return nil
}

func (c *lineConn) CloseNow() error { return c.Conn.Close() }

// lineServer upgrades every request of an admitted user. A connection ends
// when its peer closes, too, unless it ignores that.
func lineServer(t *testing.T, m *Manager, stubborn bool) *httptest.Server {
	handler := func(w http.ResponseWriter, r *http.Request) {
		tk, err := m.Admit(Request{User: r.URL.Query().Get("user"), Addr: m.ClientAddr(r)})
		if err != nil {
			m.Refuse(w, r, err)
			return
		}
		raw, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			tk.Release()
			return
		}
		fmt.Fprint(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
		c := &lineConn{Conn: raw, bye: make(chan string, 1)}
		tk.Attach(c)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			bufio.NewReader(raw).ReadByte() // until the peer or CloseNow ends it
		}()
		go func() {
			defer tk.Release()
			select {
			case last := <-c.bye:
				if stubborn {
					<-gone
				}
				fmt.Fprintln(raw, last)
			case <-gone:
			}
			raw.Close()
			<-gone
		}()
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	s.Listener = m.Listener(s.Listener)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// dialLines connects and returns what comes after the upgrade.
func dialLines(t *testing.T, s *httptest.Server, user string) (net.Conn, *bufio.Reader, *http.Response) {
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	fmt.Fprintf(c, "GET /?user=%s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n", user)
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	return c, r, res
}

// TestSockets evicts and drains real connections that net/http has forgotten.
func TestSockets(t *testing.T) {
	const n = 100
	before := runtime.NumGoroutine()
	m, err := New(Options{MaxConns: n, MaxPerUser: 2, MaxPerAddr: n, PerUser: EvictOldest, DrainOver: 200 * time.Millisecond})
	require.NoError(t, err)
	s := lineServer(t, m, false)

	var readers []*bufio.Reader
	for i := range n {
		_, r, res := dialLines(t, s, fmt.Sprint("u", i/2))
		require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		readers = append(readers, r)
	}
	_, _, res := dialLines(t, s, "late")
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))

	// The third of a user takes the place of the first, which is closed.
	_, third, res := dialLines(t, s, "u0")
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	line, err := readers[0].ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "4001 "), line)
	_, err = readers[0].ReadByte()
	require.Error(t, err, "the socket is closed")
	readers[0] = third
	require.Equal(t, n, m.Stats().Conns)

	// http.Server.Shutdown neither closes nor waits for them: Shutdown of the
	// Manager does.
	require.NoError(t, s.Config.Shutdown(t.Context()))
	require.Equal(t, n, m.Stats().Conns)
	require.NoError(t, m.Shutdown(t.Context()))
	hints := map[string]bool{}
	for _, r := range readers {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(line, "1012 "), line)
		_, ok := ParseHint(strings.TrimSpace(line))
		require.True(t, ok, line)
		hints[line] = true
	}
	require.Greater(t, len(hints), n/2)
	require.Equal(t, 0, m.Stats().Conns+m.Stats().Closing+m.Stats().Open)
	s.Close()
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines: %d, before %d\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// TestStubbornSockets cuts what does not end after it was told to.
func TestStubbornSockets(t *testing.T) {
	m, err := New(Options{MaxConns: 10, MaxPerUser: 1, MaxPerAddr: 10, DrainOver: time.Millisecond})
	require.NoError(t, err)
	s := lineServer(t, m, true)
	var wg sync.WaitGroup
	for i := range 10 {
		_, r, res := dialLines(t, s, fmt.Sprint(i))
		require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
		wg.Go(func() {
			for {
				if _, err := r.ReadByte(); err != nil {
					return // cut
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, m.Shutdown(ctx), context.DeadlineExceeded)
	wg.Wait()
	require.EqualValues(t, 10, m.Stats().Cut)
	require.Equal(t, 0, m.Stats().Conns)
}
