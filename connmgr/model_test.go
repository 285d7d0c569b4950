package connmgr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// testConn remembers how it was closed.
type testConn struct {
	codes  []int
	reason string
	cut    bool
}

func (c *testConn) Close(code int, reason string) error {
	c.codes = append(c.codes, code)
	c.reason = reason
	return nil
}

func (c *testConn) CloseNow() error {
	c.cut = true
	return nil
}

// modelConn is one connection as the naive model sees it.
type modelConn struct {
	ticket   Ticket
	conn     *testConn
	req      Request
	since    time.Time
	evicted  bool
	expired  bool
	released bool
	wantCode int // the code it must have been closed with
}

// model counts by looking at every connection.
type model struct {
	opt      Options
	conns    []*modelConn // admitted and not released, the oldest of each user first
	draining bool
	account  *testAccount
	stats    Stats
}

func (m *model) count(f func(*modelConn) bool) (n int) {
	for _, c := range m.conns {
		if f(c) {
			n++
		}
	}
	return n
}

func (m *model) admit(req Request) (refusal Limit, ok bool, evict *modelConn) {
	if m.account.used.Load()+m.opt.BytesPerConn > m.account.max {
		return LimitMemory, false, nil
	}
	if m.draining {
		return LimitDraining, false, nil
	}
	if req.User == "" {
		if m.count(func(c *modelConn) bool { return !c.evicted && c.req.User == "" }) >= m.opt.MaxUnauthenticated {
			return LimitUnauthenticated, false, nil
		}
	} else if refusal, ok, evict = m.room(req.User); !ok {
		return refusal, false, nil
	}
	live := func(c *modelConn) bool { return !c.evicted && c != evict }
	if req.Key != "" && m.count(func(c *modelConn) bool { return live(c) && c.req.Key == req.Key }) >= m.opt.MaxPerKey {
		return LimitPerKey, false, nil
	}
	if req.Addr.IsValid() && m.count(func(c *modelConn) bool {
		return live(c) && c.req.Addr.IsValid() && addrKey(c.req.Addr, 64) == addrKey(req.Addr, 64)
	}) >= m.opt.MaxPerAddr {
		return LimitPerAddr, false, nil
	}
	if m.count(live) >= m.opt.MaxConns {
		return LimitConns, false, nil
	}
	return 0, true, evict
}

func (m *model) room(user string) (Limit, bool, *modelConn) {
	var oldest *modelConn
	n := 0
	for _, c := range m.conns {
		if !c.evicted && c.req.User == user {
			if n++; oldest == nil {
				oldest = c
			}
		}
	}
	switch {
	case n < m.opt.MaxPerUser:
		return 0, true, nil
	case m.opt.PerUser == Refuse:
		return LimitPerUser, false, nil
	case m.count(func(c *modelConn) bool { return c.evicted }) >= m.opt.MaxClosing:
		return LimitClosing, false, nil
	}
	return 0, true, oldest
}

func (m *model) evict(c *modelConn) {
	if c == nil {
		return
	}
	c.evicted = true
	m.stats.Evicted++
	if c.wantCode == 0 {
		c.wantCode = CloseEvicted
	}
}

func (m *model) release(c *modelConn) {
	if c.released {
		return
	}
	c.released = true
	m.conns = slices.DeleteFunc(m.conns, func(o *modelConn) bool { return o == c })
}

type testAccount struct {
	used atomic.Int64
	max  int64
}

func (a *testAccount) Reserve(n int64) error {
	if a.used.Add(n) > a.max {
		a.used.Add(-n)
		return errors.New("no memory")
	}
	return nil
}

func (a *testAccount) Release(n int64) { a.used.Add(-n) }

// TestModel runs a million random admissions, attachments, authentications,
// closes, evictions, deadlines, drains and shutdowns against a model that
// counts by looking at every connection.
func TestModel(t *testing.T) {
	ops := 1_000_000
	if testing.Short() {
		ops = 100_000
	}
	const perManager = 5_000
	var sum Stats
	for seed := range ops / perManager {
		synctest.Test(t, func(t *testing.T) {
			s := runModel(t, uint64(seed), perManager)
			sum.Admitted += s.Admitted
			sum.Evicted += s.Evicted
			sum.AuthExpired += s.AuthExpired
			sum.Drained += s.Drained
			sum.Cut += s.Cut
			for i, n := range []*uint64{&sum.Refused.Conns, &sum.Refused.PerUser, &sum.Refused.PerAddr, &sum.Refused.PerKey, &sum.Refused.Unauthenticated, &sum.Refused.Closing, &sum.Refused.Memory, &sum.Refused.Draining} {
				*n += []uint64{s.Refused.Conns, s.Refused.PerUser, s.Refused.PerAddr, s.Refused.PerKey, s.Refused.Unauthenticated, s.Refused.Closing, s.Refused.Memory, s.Refused.Draining}[i]
			}
		})
	}
	t.Logf("%d operations: admitted %d, evicted %d, expired %d, drained %d, cut %d, refused %+v",
		ops, sum.Admitted, sum.Evicted, sum.AuthExpired, sum.Drained, sum.Cut, sum.Refused)
	for name, n := range map[string]uint64{
		"evicted": sum.Evicted, "expired": sum.AuthExpired, "drained": sum.Drained, "cut": sum.Cut,
		"conns": sum.Refused.Conns, "per-user": sum.Refused.PerUser, "per-addr": sum.Refused.PerAddr, "per-key": sum.Refused.PerKey,
		"unauthenticated": sum.Refused.Unauthenticated, "closing": sum.Refused.Closing, "memory": sum.Refused.Memory, "draining": sum.Refused.Draining,
	} {
		require.Greater(t, n, uint64(100), "the test must reach %s", name)
	}
}

func runModel(t *testing.T, seed uint64, ops int) Stats {
	rnd := rand.New(rand.NewPCG(seed, 1))
	account := &testAccount{max: 1000 * int64(20+rnd.IntN(40))}
	opt := Options{
		MaxConns:           10 + rnd.IntN(30),
		MaxPerUser:         1 + rnd.IntN(4),
		PerUser:            Policy(rnd.IntN(2)),
		MaxPerAddr:         2 + rnd.IntN(8),
		MaxPerKey:          2 + rnd.IntN(10),
		MaxUnauthenticated: 1 + rnd.IntN(8),
		MaxClosing:         1 + rnd.IntN(10),
		AuthDeadline:       time.Second,
		DrainOver:          time.Second,
		Account:            account,
		BytesPerConn:       1000,
	}
	mgr, err := New(opt)
	require.NoError(t, err)
	m := &model{opt: opt, account: account}
	var all []*modelConn // also those that are released
	var addrs []netip.Addr
	for i := range 12 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}),
			netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", i/3, i)))
	}
	addrs = append(addrs, netip.Addr{}, netip.Addr{})
	request := func() Request {
		var req Request
		if rnd.IntN(5) > 0 {
			req.User = string(rune('a' + rnd.IntN(26)))
		}
		req.Addr = addrs[rnd.IntN(len(addrs))]
		if rnd.IntN(3) == 0 {
			req.Key = string(rune('A' + rnd.IntN(6)))
		}
		return req
	}
	pick := func() *modelConn {
		if len(m.conns) > 0 && rnd.IntN(3) > 0 {
			return m.conns[rnd.IntN(len(m.conns))]
		}
		if len(all) == 0 {
			return nil
		}
		return all[rnd.IntN(len(all))]
	}
	expire := func() {
		for _, c := range m.conns {
			if !c.expired && !c.evicted && c.req.User == "" && time.Since(c.since) >= time.Second+5*time.Microsecond {
				c.expired = true
				m.stats.AuthExpired++
				if c.wantCode == 0 {
					c.wantCode = ClosePolicy
				}
			}
		}
	}
	var drained chan error
	for i := range ops {
		switch op := rnd.IntN(100); {
		case op < 40:
			req := request()
			wantLimit, wantOK, victim := m.admit(req)
			tk, err := mgr.Admit(req)
			if !wantOK {
				e, isLimit := errors.AsType[*LimitError](err)
				require.True(t, isLimit, "want %v, got %v", wantLimit, err)
				require.Equal(t, wantLimit, e.What)
				require.Positive(t, e.RetryAfter)
				require.Equal(t, wantLimit == LimitDraining, errors.Is(err, ErrDraining))
				break
			}
			require.NoError(t, err)
			m.evict(victim)
			c := &modelConn{ticket: tk, req: req, since: time.Now()}
			m.conns = append(m.conns, c)
			if len(all) > 100 {
				// Forget a released one: its ticket must have no power over
				// the slot's next owner until then.
				all = slices.DeleteFunc(all, func(c *modelConn) bool { return c.released && rnd.IntN(2) == 0 })
			}
			all = append(all, c)
		case op < 60:
			if c := pick(); c != nil && c.conn == nil {
				c.conn = &testConn{}
				err := c.ticket.Attach(c.conn)
				switch {
				case c.released:
					require.ErrorIs(t, err, ErrGone)
					c.wantCode = CloseServiceRestart
				case c.evicted || c.expired:
					require.ErrorIs(t, err, ErrGone)
				case m.draining:
					require.ErrorIs(t, err, ErrDraining)
					c.wantCode = CloseServiceRestart
				default:
					require.NoError(t, err)
				}
			}
		case op < 66:
			c := pick()
			if c == nil {
				break
			}
			user := string(rune('a' + rnd.IntN(26)))
			err := c.ticket.Authenticate(user)
			switch {
			case c.released || c.evicted || c.expired:
				require.ErrorIs(t, err, ErrGone)
			case c.req.User == user:
				require.NoError(t, err)
			case c.req.User != "":
				require.ErrorIs(t, err, ErrAuthenticated)
			default:
				limit, ok, victim := m.room(user)
				if !ok {
					e, isLimit := errors.AsType[*LimitError](err)
					require.True(t, isLimit)
					require.Equal(t, limit, e.What)
					break
				}
				require.NoError(t, err)
				m.evict(victim)
				c.req.User = user
				// It is the user's newest now.
				m.conns = slices.DeleteFunc(m.conns, func(o *modelConn) bool { return o == c })
				m.conns = append(m.conns, c)
			}
		case op < 97:
			if c := pick(); c != nil {
				for range 1 + rnd.IntN(2) {
					c.ticket.Release()
				}
				m.release(c)
			}
		case op < 99:
			// The deadline counts from a time that was made unique, some
			// nanoseconds later: keep clear of that.
			time.Sleep(time.Duration(rnd.IntN(300))*time.Millisecond + 20*time.Microsecond)
			synctest.Wait()
			expire()
		default:
			if drained != nil || i < ops*9/10 || rnd.IntN(3) > 0 {
				break
			}
			drained = make(chan error, 1)
			go func() { drained <- mgr.Drain(t.Context(), 0) }()
			synctest.Wait()
			expire()
			m.draining = true
			for _, c := range m.conns {
				if c.conn != nil && c.wantCode == 0 {
					c.wantCode = CloseServiceRestart
				}
			}
		}
		s := mgr.Stats()
		got := [...]int{s.Conns, s.Closing, s.Attached, s.Unauthenticated, int(s.Evicted), int(s.AuthExpired), int(account.used.Load())}
		want := [...]int{
			m.count(func(c *modelConn) bool { return !c.evicted }),
			m.count(func(c *modelConn) bool { return c.evicted }),
			m.count(func(c *modelConn) bool { return c.conn != nil }),
			m.count(func(c *modelConn) bool { return !c.evicted && c.req.User == "" }),
			int(m.stats.Evicted), int(m.stats.AuthExpired), 1000 * len(m.conns),
		}
		if got != want || s.Conns > opt.MaxConns || s.Closing > opt.MaxClosing {
			t.Fatalf("conns, closing, attached, unauthenticated, evicted, expired, memory: %d, want %d", got, want)
		}
	}
	check := func(c *modelConn, cut bool) {
		if c.conn == nil {
			return
		}
		want := []int(nil)
		if c.wantCode != 0 {
			want = []int{c.wantCode}
		}
		require.Equal(t, want, c.conn.codes)
		require.Equal(t, cut, c.conn.cut)
	}
	for _, c := range all {
		check(c, false)
	}

	// The end: half of what is left leaves by itself, Shutdown cuts the rest.
	left := slices.Clone(m.conns)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- mgr.Shutdown(ctx) }()
	cut := left[len(left)/2:]
	for _, c := range left[:len(left)/2] {
		time.Sleep(time.Millisecond)
		c.ticket.Release()
	}
	err = <-done
	if len(cut) == 0 {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	for _, c := range cut {
		c.ticket.Release()
		if c.conn != nil {
			require.Len(t, c.conn.codes, 1, "closed exactly once")
			require.True(t, c.conn.cut)
		}
	}
	if drained != nil {
		require.NoError(t, <-drained)
	}
	s := mgr.Stats()
	require.Zero(t, s.Conns+s.Closing+s.Attached+s.Unauthenticated+s.Users+s.Addrs+s.Keys)
	require.Equal(t, s.Admitted, s.Released)
	require.Equal(t, uint64(len(cut)), s.Cut)
	require.Zero(t, account.used.Load())
	return s
}

// TestRaces lets many goroutines connect, authenticate and leave at once, and
// watches from outside that no limit is ever passed.
func TestRaces(t *testing.T) {
	const (
		workers  = 16
		rounds   = 4_000
		maxConns = 24
		perAddr  = 7
		nusers   = 10
	)
	for _, policy := range []Policy{Refuse, EvictOldest} {
		m, err := New(Options{MaxConns: maxConns, MaxPerUser: 2, MaxPerAddr: perAddr, MaxUnauthenticated: 5,
			PerUser: policy, MaxClosing: workers})
		require.NoError(t, err)
		// From outside an evicted connection is seen longer than it counts,
		// so the limits themselves can be watched with Refuse only.
		var total, sockets atomic.Int64
		var addrs [4]atomic.Int64
		enter := func(n *atomic.Int64, limit int64, what string) {
			if n.Add(1) > limit {
				t.Errorf("above %s", what)
			}
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), 7))
				for range rounds {
					a := rnd.IntN(len(addrs))
					req := Request{Addr: netip.AddrFrom4([4]byte{10, 1, 1, byte(a)})}
					if rnd.IntN(4) > 0 {
						req.User = fmt.Sprint(rnd.IntN(nusers))
					}
					tk, err := m.Admit(req)
					if err != nil {
						continue
					}
					enter(&sockets, maxConns+workers, "MaxConns + MaxClosing")
					if policy == Refuse {
						enter(&total, maxConns, "MaxConns")
						enter(&addrs[a], perAddr, "MaxPerAddr")
					}
					c := &raceConn{}
					if tk.Attach(c) == nil && req.User == "" && rnd.IntN(2) == 0 {
						tk.Authenticate(fmt.Sprint(rnd.IntN(nusers)))
					}
					if c.closed.Load() > 1 {
						t.Error("closed twice")
					}
					if policy == Refuse {
						total.Add(-1)
						addrs[a].Add(-1)
					}
					sockets.Add(-1)
					tk.Release()
					go tk.Release()
				}
			})
		}
		wg.Wait()
		require.NoError(t, m.Shutdown(t.Context()))
		s := m.Stats()
		require.Zero(t, s.Conns+s.Closing+s.Attached)
		require.Equal(t, s.Admitted, s.Released)
	}
}

type raceConn struct{ closed atomic.Int32 }

func (c *raceConn) Close(int, string) error {
	c.closed.Add(1)
	return nil
}

// TestStampede: of many that come at the same instant exactly as many as fit
// are admitted.
func TestStampede(t *testing.T) {
	for range 200 {
		m, err := New(Options{MaxConns: 10, MaxPerUser: 3, MaxPerAddr: 100})
		require.NoError(t, err)
		var admitted [2]atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 64 {
			wg.Go(func() {
				<-start
				user, k := "same", 0
				if i%2 == 0 {
					user, k = fmt.Sprint(i), 1
				}
				if _, err := m.Admit(Request{User: user}); err == nil {
					admitted[k].Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		require.LessOrEqual(t, admitted[0].Load(), int64(3))
		require.Equal(t, int64(10), admitted[0].Load()+admitted[1].Load())
	}
}
