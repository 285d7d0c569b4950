package connmgr

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// servers returns two Managers with one ledger.
func servers(t *testing.T, ledger Ledger, change func(*Options)) (a, b *Manager) {
	start := func(name string) *Manager {
		opt := Options{MaxConns: 100, MaxPerUser: 2, MaxPerAddr: 10, MaxPerKey: 10, PerUser: EvictOldest,
			Shared: &SharedOptions{Ledger: ledger, Server: name, MaxConns: 5, MaxPerUser: 2, MaxPerAddr: 3, MaxPerKey: 2}}
		if change != nil {
			change(&opt)
		}
		m, err := New(opt)
		require.NoError(t, err)
		return m
	}
	return start("a"), start("b")
}

func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, err := NewMemoryLedger(1000)
		require.NoError(t, err)
		a, b := servers(t, ledger, nil)
		admit := func(m *Manager, req Request) (Ticket, *testConn) {
			tk, err := m.Admit(req)
			require.NoError(t, err)
			c := &testConn{}
			require.NoError(t, tk.Attach(c))
			return tk, c
		}
		t1, c1 := admit(a, Request{User: "u"})
		t2, c2 := admit(b, Request{User: "u"})
		t3, c3 := admit(b, Request{User: "u"})
		synctest.Wait()
		require.Equal(t, []int{CloseEvicted}, c1.codes, "closed on the other server")
		require.Empty(t, c2.codes)
		require.Empty(t, c3.codes)
		require.EqualValues(t, 1, a.Stats().Shared.Evicted)
		require.EqualValues(t, 1, a.Stats().Evicted)
		require.True(t, t1.Gone())
		t1.Release()

		// Evicted here, it leaves the ledger at once.
		t4, _ := admit(b, Request{User: "u"})
		require.Equal(t, []int{CloseEvicted}, c2.codes)

		// Unauthenticated first.
		t5, c5 := admit(a, Request{})
		require.NoError(t, t5.Authenticate("u"))
		synctest.Wait()
		require.Equal(t, []int{CloseEvicted}, c3.codes)
		require.Empty(t, c5.codes)

		// Limits without eviction.
		addr := netip.MustParseAddr("192.0.2.1")
		t6, _ := admit(a, Request{User: "v", Addr: addr, Key: "k"})
		t7, _ := admit(b, Request{User: "w", Addr: addr, Key: "k"})
		_, err = a.Admit(Request{User: "x", Key: "k"})
		e, ok := errors.AsType[*LedgerError](err)
		require.True(t, ok)
		require.Equal(t, &LedgerError{Key: "key:k", Max: 2}, e)
		t8, _ := admit(a, Request{User: "x", Addr: addr})
		_, err = b.Admit(Request{User: "y", Addr: addr})
		require.ErrorContains(t, err, "conns")
		for _, tk := range []Ticket{t2, t3, t4, t5} {
			tk.Release()
		}
		synctest.Wait()
		_, err = b.Admit(Request{User: "y", Addr: addr})
		require.ErrorContains(t, err, "addr:ffffc0000201")
		require.EqualValues(t, 2, b.Stats().Refused.Shared)

		// The leases are renewed for as long as the servers live.
		time.Sleep(time.Hour)
		_, err = b.Admit(Request{User: "y", Addr: addr})
		require.Error(t, err)
		for _, tk := range []Ticket{t6, t7, t8} {
			tk.Release()
		}
		require.NoError(t, a.Shutdown(t.Context()))
		require.NoError(t, b.Shutdown(t.Context()))
		require.Zero(t, ledger.Len())
		require.Empty(t, ledger.claims)
	})
}

// TestSharedServerDies: the holds of a server that renews no more end.
func TestSharedServerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger, err := NewMemoryLedger(10)
		require.NoError(t, err)
		a, b := servers(t, ledger, nil)
		for range 5 {
			_, err := a.Admit(Request{})
			require.NoError(t, err)
		}
		_, err = b.Admit(Request{User: "u"})
		require.Error(t, err)
		a.shared.stop() // dead
		time.Sleep(16 * time.Second)
		tk, err := b.Admit(Request{User: "u"})
		require.NoError(t, err)
		tk.Release()
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, a.Shutdown(canceled))
		require.NoError(t, b.Shutdown(t.Context()))
	})
}

// brokenLedger fails while down is set.
type brokenLedger struct {
	*MemoryLedger
	down atomic.Bool
}

func (l *brokenLedger) Acquire(ctx context.Context, h Hold, lease time.Duration, claims []Claim) error {
	if l.down.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.MemoryLedger.Acquire(ctx, h, lease, claims)
}

func (l *brokenLedger) Release(ctx context.Context, server string, ids []string) error {
	if l.down.Load() {
		return errors.New("down")
	}
	return l.MemoryLedger.Release(ctx, server, ids)
}

func (l *brokenLedger) Evictions(ctx context.Context, server string, f func(string)) error {
	if l.down.Load() {
		return errors.New("down")
	}
	return l.MemoryLedger.Evictions(ctx, server, f)
}

func TestSharedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, err := NewMemoryLedger(10)
		require.NoError(t, err)
		ledger := &brokenLedger{MemoryLedger: memory}
		a, b := servers(t, ledger, func(o *Options) { o.Shared.Required = o.Shared.Server == "b" })
		before, err := a.Admit(Request{User: "before"})
		require.NoError(t, err)
		ledger.down.Store(true)
		start := time.Now()
		tk, err := a.Admit(Request{User: "u"})
		require.NoError(t, err, "its own limits go on")
		require.Equal(t, time.Second, time.Since(start), "Timeout")
		_, err = b.Admit(Request{User: "u"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 0, b.Stats().Conns)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err = b.AdmitContext(ctx, Request{User: "u"})
		require.Error(t, err)
		cancel()
		require.Positive(t, a.Stats().Shared.Errors)

		// A release that fails is sent again.
		before.Release()
		tk.Release()
		time.Sleep(time.Second)
		require.Equal(t, 1, memory.Len())
		ledger.down.Store(false)
		time.Sleep(6 * time.Second)
		require.Zero(t, memory.Len())
		require.NoError(t, a.Shutdown(t.Context()))
		require.NoError(t, b.Shutdown(t.Context()))
	})
}
