package connmgr

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	_, err := New(Options{})
	require.EqualError(t, err, strings.Join([]string{
		"connmgr: Options.MaxConns = 0, want 1 to 2147483647",
		"connmgr: Options.MaxPerUser = 0, want 1 to 65535",
		"connmgr: Options.MaxPerAddr = 0, want 1 to 2147483647",
		"connmgr: Options.Accept.MaxConns = 0, want 1 to 2147483647",
	}, "\n"))

	good := func() Options { return Options{MaxConns: 10, MaxPerUser: 2, MaxPerAddr: 5} }
	for want, change := range map[string]func(*Options){
		"MaxPerUser = 65536":               func(o *Options) { o.MaxPerUser = 1 << 16 },
		"PerUser = 2":                      func(o *Options) { o.PerUser = 2 },
		"DrainCode = 1000":                 func(o *Options) { o.DrainCode = 1000 },
		"BytesPerConn = 0":                 func(o *Options) { o.Account = &testAccount{} },
		"IPv6Prefix = 65":                  func(o *Options) { o.IPv6Prefix = 65 },
		"AuthDeadline = -1s":               func(o *Options) { o.AuthDeadline = -time.Second },
		"RatePerAddr = -1":                 func(o *Options) { o.RatePerAddr = -1 },
		"Rate = 1e-09":                     func(o *Options) { o.Rate = 1e-9; o.Burst = 100 },
		"with a burst of -1":               func(o *Options) { o.Burst = -1 },
		"TrustedProxies has invalid":       func(o *Options) { o.TrustedProxies = []netip.Prefix{{}} },
		"MaxConns + MaxClosing":            func(o *Options) { o.MaxConns = 1<<31 - 1 },
		"Shared.Ledger = nil":              func(o *Options) { o.Shared = &SharedOptions{} },
		`Shared.Server = ""`:               func(o *Options) { o.Shared = &SharedOptions{} },
		"Shared has no limit":              func(o *Options) { o.Shared = &SharedOptions{} },
		"MaxUnauthenticated = -1, want 1 ": func(o *Options) { o.MaxUnauthenticated = -1 },
	} {
		o := good()
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
	m, err := New(good())
	require.NoError(t, err)
	_, err = m.Admit(Request{Key: "k"})
	require.ErrorContains(t, err, "MaxPerKey is 0")
}

func TestIPv6Network(t *testing.T) {
	m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 2})
	require.NoError(t, err)
	admit := func(a string) error {
		_, err := m.Admit(Request{User: "u", Addr: netip.MustParseAddr(a)})
		return err
	}
	require.NoError(t, admit("2001:db8::1"))
	require.NoError(t, admit("2001:db8::2"))
	require.Error(t, admit("2001:db8::3"))
	require.NoError(t, admit("2001:db8:0:1::1"))
	require.Equal(t, 2, m.Stats().Addrs)
	require.EqualValues(t, 1, m.Stats().Refused.PerAddr)
}

// TestEvictFreesItsAddress: a user at the limit of the server, the address
// and the key still can replace an own connection.
func TestEvictFreesItsAddress(t *testing.T) {
	m, err := New(Options{MaxConns: 2, MaxPerUser: 2, MaxPerAddr: 2, MaxPerKey: 2, PerUser: EvictOldest, MaxClosing: 1})
	require.NoError(t, err)
	req := Request{User: "u", Key: "k", Addr: netip.MustParseAddr("192.0.2.1")}
	var conns [4]testConn
	var tickets [4]Ticket
	for i := range 3 {
		tickets[i], err = m.Admit(req)
		require.NoError(t, err)
		require.NoError(t, tickets[i].Attach(&conns[i]))
	}
	require.Equal(t, []int{CloseEvicted}, conns[0].codes)
	require.True(t, tickets[0].Gone())
	require.False(t, tickets[1].Gone())

	// The first is not gone yet, and only one may be closing.
	_, err = m.Admit(req)
	require.EqualError(t, err, "connmgr: refused: closing limit of 1")
	tickets[0].Release()
	tickets[0].Release()
	tickets[3], err = m.Admit(req)
	require.NoError(t, err)
	require.Equal(t, []int{CloseEvicted}, conns[1].codes)
	require.Equal(t, 2, m.Stats().Conns)

	other := req
	other.User = "v"
	_, err = m.Admit(other)
	require.Error(t, err)
}

func TestEvictBeforeAttach(t *testing.T) {
	m, err := New(Options{MaxConns: 5, MaxPerUser: 1, MaxPerAddr: 2, PerUser: EvictOldest})
	require.NoError(t, err)
	first, err := m.Admit(Request{User: "u"})
	require.NoError(t, err)
	_, err = m.Admit(Request{User: "u"})
	require.NoError(t, err)
	conn := &testConn{}
	require.ErrorIs(t, first.Attach(conn), ErrGone)
	require.Equal(t, []int{CloseEvicted}, conn.codes)
	require.Equal(t, 1, m.Stats().Closing)
	first.Release()
	require.Equal(t, 0, m.Stats().Closing)
	require.ErrorIs(t, first.Attach(&testConn{}), ErrGone)
	require.ErrorIs(t, first.Authenticate("u"), ErrGone)

	var zero Ticket
	zero.Release()
	require.True(t, zero.Gone())
	require.ErrorIs(t, zero.Authenticate("u"), ErrGone)
	require.ErrorIs(t, zero.Attach(conn), ErrGone)
}

func TestAuthDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{MaxConns: 50, MaxPerUser: 1, MaxPerAddr: 1, AuthDeadline: 3 * time.Second, MaxUnauthenticated: 2})
		require.NoError(t, err)
		var conns [3]testConn
		slow, err := m.Admit(Request{})
		require.NoError(t, err)
		require.NoError(t, slow.Attach(&conns[0]))
		time.Sleep(time.Second)
		quick, err := m.Admit(Request{})
		require.NoError(t, err)
		require.NoError(t, quick.Attach(&conns[1]))
		_, err = m.Admit(Request{})
		require.EqualError(t, err, "connmgr: refused: unauthenticated limit of 2")
		require.NoError(t, quick.Authenticate("q"))
		require.NoError(t, quick.Authenticate("q"))
		require.ErrorIs(t, quick.Authenticate("r"), ErrAuthenticated)
		pending, err := m.Admit(Request{})
		require.NoError(t, err)

		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, []int{ClosePolicy}, conns[0].codes)
		require.ErrorIs(t, slow.Authenticate("s"), ErrGone)
		require.Empty(t, conns[1].codes)
		require.ErrorIs(t, pending.Attach(&conns[2]), ErrGone)
		require.Equal(t, []int{ClosePolicy}, conns[2].codes)
		require.Equal(t, 2, m.Stats().Unauthenticated, "they are counted until they are gone")
		slow.Release()
		pending.Release()
		require.Equal(t, 0, m.Stats().Unauthenticated)
		require.EqualValues(t, 2, m.Stats().AuthExpired)
		quick.Release()
		require.NoError(t, m.Shutdown(t.Context()))
	})
}

func TestMemory(t *testing.T) {
	account := &testAccount{max: 2500}
	m, err := New(Options{MaxConns: 50, MaxPerUser: 1, MaxPerAddr: 1, Account: account, BytesPerConn: 1000})
	require.NoError(t, err)
	a, err := m.Admit(Request{User: "a"})
	require.NoError(t, err)
	_, err = m.Admit(Request{User: "a"})
	require.Error(t, err)
	_, err = m.Admit(Request{User: "b"})
	require.NoError(t, err)
	_, err = m.Admit(Request{User: "c"})
	require.EqualError(t, err, "connmgr: refused: memory: no memory")
	a.Release()
	a.Release()
	require.EqualValues(t, 1000, account.used.Load())
}

func TestRefuse(t *testing.T) {
	m, err := New(Options{MaxConns: 1, MaxPerUser: 1, MaxPerAddr: 1, MaxRefusing: 1, RetryAfter: 10 * time.Second})
	require.NoError(t, err)
	_, err = m.Admit(Request{User: "u"})
	require.NoError(t, err)
	hints := map[string]bool{}
	for range 200 {
		_, err = m.Admit(Request{User: "v"})
		w := httptest.NewRecorder()
		m.Refuse(w, httptest.NewRequest("GET", "/", nil), err)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "close", w.Header().Get("Connection"))
		require.Equal(t, "try again later: conns\n", w.Body.String())
		s, err := strconv.Atoi(w.Header().Get("Retry-After"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, s, 5)
		require.LessOrEqual(t, s, 15)
		hints[w.Header().Get("Retry-After")] = true
	}
	require.Greater(t, len(hints), 5, "hints are spread")

	w := httptest.NewRecorder()
	m.Refuse(w, nil, errors.New("secret"))
	require.Equal(t, "try again later: overload\n", w.Body.String())

	done, ok := m.BeginRefuse()
	require.True(t, ok)
	_, ok = m.BeginRefuse()
	require.False(t, ok)
	conn := &testConn{}
	require.NoError(t, m.RefuseConn(conn, err))
	require.Equal(t, []int{CloseTryAgainLater}, conn.codes)
	require.LessOrEqual(t, len(conn.reason), 123)
	hint, ok := ParseHint(conn.reason)
	require.True(t, ok)
	require.InDelta(t, 10, hint.Seconds(), 5)
	done()
	done()
	require.Equal(t, 0, m.Stats().Refusing)

	for _, reason := range []string{"", "retry-after=", "retry-after=-1", "retry-after=1s", "retry-after=99999999999", "retry-after=NaN", "retry-after=Inf"} {
		_, ok := ParseHint(reason)
		require.False(t, ok, reason)
	}
}

// drainConn leaves some time after it was told.
type drainConn struct {
	ticket Ticket
	after  time.Duration
	told   time.Time
	reason string
}

func (c *drainConn) Close(_ int, reason string) error {
	c.told, c.reason = time.Now(), reason
	if c.after >= 0 {
		time.AfterFunc(c.after, c.ticket.Release)
	}
	return nil
}

func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{MaxConns: 3000, MaxPerUser: 3000, MaxPerAddr: 1})
		require.NoError(t, err)
		conns := make([]*drainConn, 3000)
		for i := range conns {
			tk, err := m.Admit(Request{User: "u"})
			require.NoError(t, err)
			conns[i] = &drainConn{ticket: tk, after: time.Second}
			require.NoError(t, tk.Attach(conns[i]))
		}
		start := time.Now()
		require.NoError(t, m.Drain(t.Context(), 10*time.Second))
		require.InDelta(t, 11, time.Since(start).Seconds(), 0.1)
		perSecond := map[int]int{}
		hints := map[time.Duration]bool{}
		for _, c := range conns {
			perSecond[int(c.told.Sub(start).Seconds())]++
			d, ok := ParseHint(c.reason)
			require.True(t, ok)
			hints[d] = true
		}
		for s := range 10 {
			require.InDelta(t, 300, perSecond[s], 5, "second %d", s)
		}
		require.Greater(t, len(hints), 300)
		_, err = m.Admit(Request{User: "u"})
		require.ErrorIs(t, err, ErrDraining)
		require.True(t, m.Draining())
		require.NoError(t, m.Shutdown(t.Context()))
	})
}

func TestDrainOfNobodyAndOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range 2 {
			m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 1})
			require.NoError(t, err)
			for range n {
				tk, err := m.Admit(Request{User: "u"})
				require.NoError(t, err)
				require.NoError(t, tk.Attach(&drainConn{ticket: tk}))
			}
			start := time.Now()
			require.NoError(t, m.Drain(t.Context(), time.Hour))
			require.Zero(t, time.Since(start))
			require.NoError(t, m.Drain(t.Context(), time.Hour))
		}
	})
}

func TestDrainMeetsNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 1})
		require.NoError(t, err)
		old, err := m.Admit(Request{User: "u"})
		require.NoError(t, err)
		require.NoError(t, old.Attach(&drainConn{ticket: old, after: 2 * time.Second}))
		pending, err := m.Admit(Request{User: "u"})
		require.NoError(t, err)
		go func() {
			time.Sleep(time.Second)
			conn := &testConn{}
			err := pending.Attach(conn)
			if !errors.Is(err, ErrDraining) || len(conn.codes) != 1 || conn.codes[0] != CloseServiceRestart {
				t.Errorf("Attach = %v, codes %v", err, conn.codes)
			}
			time.Sleep(4 * time.Second)
			pending.Release()
		}()
		start := time.Now()
		require.NoError(t, m.Drain(t.Context(), time.Second))
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestShutdownCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		account := &testAccount{max: 1 << 20}
		m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 1, DrainCode: CloseGoingAway,
			Account: account, BytesPerConn: 1000})
		require.NoError(t, err)
		_, err = m.Admit(Request{}) // arms the timer
		require.NoError(t, err)
		tk, err := m.Admit(Request{User: "u"})
		require.NoError(t, err)
		stuck := &testConn{}
		require.NoError(t, tk.Attach(stuck))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		start := time.Now()
		err = m.Shutdown(ctx)
		require.EqualError(t, err, "connmgr: drain: 2 connections left: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 4*time.Second, time.Since(start))
		require.Equal(t, []int{CloseGoingAway}, stuck.codes)
		require.True(t, stuck.cut)
		require.Zero(t, account.used.Load())
		require.EqualValues(t, 2, m.Stats().Cut)
		tk.Release()
		require.Zero(t, account.used.Load())
		require.NoError(t, m.Shutdown(t.Context()))
	})
}

func TestShutdownCanceled(t *testing.T) {
	m, err := New(Options{MaxConns: 10, MaxPerUser: 10, MaxPerAddr: 1})
	require.NoError(t, err)
	tk, err := m.Admit(Request{User: "u"})
	require.NoError(t, err)
	conn := &testConn{}
	require.NoError(t, tk.Attach(conn))
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("hurry")
	cancel(reason)
	require.ErrorIs(t, m.Shutdown(ctx), reason)
	require.Equal(t, []int{CloseServiceRestart}, conn.codes)
	require.True(t, conn.cut)
}
