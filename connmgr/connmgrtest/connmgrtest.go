// Package connmgrtest holds the conformance suite for implementations of
// [connmgr.Ledger]. Call [TestLedger] from a test of the implementation. It
// takes a few seconds of real time, because leases end in real time.
package connmgrtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
)

const (
	long  = time.Minute
	short = 500 * time.Millisecond
	// soon is how long a test waits for what must happen.
	soon = 10 * time.Second
)

// TestLedger tests the ledgers that open returns: each call must give an
// empty one, or one whose keys are its own, and may clean up by t.Cleanup. It
// must have room for 10,000 holds.
func TestLedger(t *testing.T, open func(t *testing.T) connmgr.Ledger) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"Limit", testLimit},
		{"AllOrNothing", testAllOrNothing},
		{"ReleaseTwice", testReleaseTwice},
		{"SameHoldAgain", testSameHoldAgain},
		{"EvictOldest", testEvictOldest},
		{"EvictAllOrNothing", testEvictAllOrNothing},
		{"LeaseEnds", testLeaseEnds},
		{"Renew", testRenew},
		{"Servers", testServers},
		{"Race", testRace},
		{"Context", testContext},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, suite{open(t)})
		})
	}
}

type suite struct{ connmgr.Ledger }

func claim(key string, limit int) connmgr.Claim { return connmgr.Claim{Key: key, Max: limit} }

func evict(key string, limit int) connmgr.Claim {
	return connmgr.Claim{Key: key, Max: limit, Evict: true}
}

func hold(server, id string) connmgr.Hold { return connmgr.Hold{Server: server, ID: id} }

// take acquires, and fails the test if that is refused.
func (s suite) take(t *testing.T, h connmgr.Hold, lease time.Duration, claims ...connmgr.Claim) {
	t.Helper()
	if err := s.Acquire(t.Context(), h, lease, claims); err != nil {
		t.Fatalf("Acquire(%v, %v) = %v, want nil", h, claims, err)
	}
}

// full acquires, and fails the test unless key refuses it.
func (s suite) full(t *testing.T, h connmgr.Hold, key string, claims ...connmgr.Claim) {
	t.Helper()
	err := s.Acquire(t.Context(), h, long, claims)
	e, ok := errors.AsType[*connmgr.LedgerError](err)
	if !ok || e.Key != key {
		t.Fatalf("Acquire(%v, %v) = %v, want a LedgerError for %q", h, claims, err, key)
	}
}

func (s suite) free(t *testing.T, server string, ids ...string) {
	t.Helper()
	if err := s.Release(t.Context(), server, ids); err != nil {
		t.Fatalf("Release(%v, %v) = %v, want nil", server, ids, err)
	}
}

func testLimit(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), long, claim("k", 2))
	s.take(t, hold("b", "1"), long, claim("k", 2))
	s.full(t, hold("a", "2"), "k", claim("k", 2))
	s.take(t, hold("a", "2"), long, claim("other", 2))
	s.free(t, "b", "1")
	s.take(t, hold("a", "3"), long, claim("k", 2))
	s.full(t, hold("b", "2"), "k", claim("k", 2))
}

func testAllOrNothing(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), long, claim("k", 1))
	s.full(t, hold("a", "2"), "k", claim("j", 1), claim("k", 1), claim("l", 1))
	s.take(t, hold("a", "3"), long, claim("j", 1), claim("l", 1))
}

func testReleaseTwice(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), long, claim("k", 2))
	s.take(t, hold("a", "2"), long, claim("k", 2))
	s.free(t, "a", "1", "1", "never")
	s.free(t, "a", "1")
	s.take(t, hold("a", "3"), long, claim("k", 2))
	s.full(t, hold("a", "4"), "k", claim("k", 2))
}

func testSameHoldAgain(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), long, claim("k", 2))
	s.take(t, hold("a", "1"), long, claim("k", 2), claim("user", 1))
	s.take(t, hold("a", "2"), long, claim("k", 2))
	s.full(t, hold("a", "2"), "user", claim("user", 1))
	s.free(t, "a", "1")
	s.take(t, hold("a", "3"), long, claim("k", 2), claim("user", 1))
}

// evictions collects what a server is told.
func (s suite) evictions(t *testing.T, server string) <-chan string {
	ids := make(chan string, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			s.Evictions(ctx, server, func(id string) { ids <- id })
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return ids
}

func want(t *testing.T, ids <-chan string, id string) {
	t.Helper()
	select {
	case got := <-ids:
		if got != id {
			t.Fatalf("evicted %q, want %q", got, id)
		}
	case <-time.After(soon):
		t.Fatalf("%q was not told to be evicted", id)
	}
}

func testEvictOldest(t *testing.T, s suite) {
	a, b := s.evictions(t, "a"), s.evictions(t, "b")
	s.take(t, hold("a", "1"), long, claim("addr", 2), evict("u", 2))
	s.take(t, hold("b", "1"), long, claim("addr", 2), evict("u", 2))
	// The evicted one's place under addr is free too, after it is gone.
	s.take(t, hold("b", "2"), long, evict("u", 2))
	want(t, a, "1")
	s.take(t, hold("b", "3"), long, claim("addr", 2), evict("u", 2))
	want(t, b, "1")
	s.free(t, "a", "1") // too late, and no harm
	s.take(t, hold("a", "4"), long, claim("addr", 2))
	s.full(t, hold("a", "5"), "addr", claim("addr", 2))
}

func testEvictAllOrNothing(t *testing.T, s suite) {
	a := s.evictions(t, "a")
	s.take(t, hold("a", "1"), long, evict("u", 1))
	s.take(t, hold("a", "2"), long, claim("k", 1))
	// Refused by k, so that nobody may be evicted for it.
	s.full(t, hold("a", "3"), "k", evict("u", 1), claim("k", 1))
	s.full(t, hold("a", "4"), "u", claim("u", 1))
	s.take(t, hold("a", "5"), long, evict("u", 1))
	want(t, a, "1")
}

func testLeaseEnds(t *testing.T, s suite) {
	s.take(t, hold("dead", "1"), short, claim("k", 1))
	s.full(t, hold("a", "1"), "k", claim("k", 1))
	for end := time.Now().Add(soon); ; time.Sleep(short / 10) {
		err := s.Acquire(t.Context(), hold("a", "1"), long, []connmgr.Claim{claim("k", 1)})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the lease of %v did not end in %v: %v", short, soon, err)
		}
	}
	// The dead server's release comes late and takes nothing from others.
	s.free(t, "dead", "1")
	s.full(t, hold("a", "2"), "k", claim("k", 1))
}

func testRenew(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), short, claim("k", 1))
	if err := s.Renew(t.Context(), "a", long, []string{"1", "never"}); err != nil {
		t.Fatalf("Renew = %v, want nil", err)
	}
	time.Sleep(2 * short)
	s.full(t, hold("a", "2"), "k", claim("k", 1))
	// A renewed lease can be made shorter, too.
	if err := s.Renew(t.Context(), "a", time.Millisecond, []string{"1"}); err != nil {
		t.Fatalf("Renew = %v, want nil", err)
	}
	time.Sleep(short / 5)
	s.take(t, hold("a", "2"), long, claim("k", 1))
}

func testServers(t *testing.T, s suite) {
	s.take(t, hold("a", "1"), long, claim("k", 2))
	s.take(t, hold("b", "1"), long, claim("k", 2))
	s.free(t, "b", "2")
	s.free(t, "c", "1")
	s.full(t, hold("c", "1"), "k", claim("k", 2))
	s.free(t, "b", "1")
	s.take(t, hold("c", "1"), long, claim("k", 2))
}

func testRace(t *testing.T, s suite) {
	const servers, each, limit = 4, 50, 7
	var mu sync.Mutex
	var got []connmgr.Hold
	var wg sync.WaitGroup
	for server := range servers {
		for i := range each {
			wg.Go(func() {
				h := hold(fmt.Sprint(server), fmt.Sprint(i))
				err := s.Acquire(t.Context(), h, long, []connmgr.Claim{claim("k", limit), claim("free", 1000)})
				_, full := errors.AsType[*connmgr.LedgerError](err)
				switch {
				case err == nil:
					mu.Lock()
					got = append(got, h)
					mu.Unlock()
				case !full:
					t.Errorf("Acquire = %v", err)
				}
			})
		}
	}
	wg.Wait()
	if len(got) != limit {
		t.Fatalf("%d of %d got one of %d places", len(got), servers*each, limit)
	}
	for _, h := range got {
		s.free(t, h.Server, h.ID)
	}
	for i := range limit {
		s.take(t, hold("z", fmt.Sprint(i)), long, claim("k", limit))
	}
	s.full(t, hold("z", "more"), "k", claim("k", limit))
}

func testContext(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Acquire(ctx, hold("a", "1"), long, []connmgr.Claim{claim("k", 1)}); err == nil {
		t.Fatal("Acquire with a canceled context = nil, want an error")
	}
	if err := s.Evictions(ctx, "a", func(string) {}); err == nil {
		t.Fatal("Evictions with a canceled context = nil, want an error")
	}
}
