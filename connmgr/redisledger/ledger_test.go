package redisledger_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/connmgr/connmgrtest"
	"github.com/plimsoll-go/plimsoll/connmgr/redisledger"
	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func TestLedger(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	n := 0
	connmgrtest.TestLedger(t, func(t *testing.T) connmgr.Ledger {
		n++
		return open(t, rdb, fmt.Sprint("test", n))
	})
}

func TestLedgerInCluster(t *testing.T) {
	rdb := redistest.NewCluster(t).Client(t)
	n := 0
	connmgrtest.TestLedger(t, func(t *testing.T) connmgr.Ledger {
		n++
		return open(t, rdb, fmt.Sprint("test", n))
	})
}

func open(t *testing.T, rdb redis.UniversalClient, prefix string) *redisledger.Ledger {
	l, err := redisledger.New(rdb, redisledger.Options{Prefix: prefix})
	require.NoError(t, err)
	return l
}

func TestNew(t *testing.T) {
	_, err := redisledger.New(redis.NewClient(&redis.Options{}), redisledger.Options{Prefix: "{x}"})
	require.ErrorContains(t, err, "ContextTimeoutEnabled")
	require.ErrorContains(t, err, "Prefix")
	_, err = redisledger.New(nil, redisledger.Options{})
	require.Error(t, err)
	_, err = redisledger.New((*redis.Client)(nil), redisledger.Options{})
	require.Error(t, err)
}

func user(limit int) []connmgr.Claim {
	return []connmgr.Claim{{Key: "conns", Max: 10_000}, {Key: "user:ann", Max: limit, Evict: true}}
}

// many acquires n holds with two claims each.
func many(t *testing.T, l *redisledger.Ledger, server string, n int, lease time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < n; i += 50 {
				err := l.Acquire(ctx, connmgr.Hold{Server: server, ID: fmt.Sprint("1k.", int64(1e18)+int64(i))}, lease,
					[]connmgr.Claim{{Key: "conns", Max: 10_000}, {Key: fmt.Sprint("user:", 1_000_000+i), Max: 2, Evict: true}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// When all have left, or their leases are over and somebody came and went,
// nothing of them is in Redis.
func TestNothingIsLeft(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	l := open(t, rdb, "x")
	many(t, l, "dead", 1500, 2*time.Second)
	time.Sleep(2500 * time.Millisecond)
	require.Positive(t, rdb.ZCard(ctx, "{x}h").Val())
	ids := []string{"1", "2"}
	for _, id := range ids { // two, since a thousand go at a time
		require.NoError(t, l.Acquire(ctx, connmgr.Hold{Server: "a", ID: id}, time.Minute, user(2)))
	}
	require.NoError(t, l.Release(ctx, "a", ids))
	require.Zero(t, rdb.DBSize(ctx).Val())
}

// The answer of a call is lost, and it is sent again.
func TestSentAgain(t *testing.T) {
	l := open(t, redistest.New(t).Client(t), "x")
	for range 3 {
		require.NoError(t, l.Acquire(ctx, connmgr.Hold{Server: "a", ID: "1"}, time.Minute, user(2)))
	}
	require.NoError(t, l.Acquire(ctx, connmgr.Hold{Server: "a", ID: "2"}, time.Minute, []connmgr.Claim{{Key: "user:ann", Max: 2}}))
	err := l.Acquire(ctx, connmgr.Hold{Server: "a", ID: "3"}, time.Minute, []connmgr.Claim{{Key: "user:ann", Max: 2}})
	require.Error(t, err)
}

// Redis is stopped, and killed: calls end with their context and work again
// afterwards; evictions made meanwhile or before are told.
func TestFaults(t *testing.T) {
	srv := redistest.New(t, "--appendonly", "yes")
	rdb := srv.Client(t)
	l := open(t, rdb, "x")
	told := make(chan string, 100)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			l.Evictions(ctx, "a", func(id string) { told <- id })
			time.Sleep(20 * time.Millisecond)
		}
	})
	next := 0
	acquire := func(timeout time.Duration) error {
		next++
		call, done := context.WithTimeout(ctx, timeout)
		defer done()
		return l.Acquire(call, connmgr.Hold{Server: "a", ID: fmt.Sprint(next)}, time.Minute, user(1))
	}
	last := ""
	want := func(id string) {
		t.Helper()
		for { // one may be told again, if Redis ends before it is forgotten
			select {
			case got := <-told:
				if got == last {
					continue
				}
				require.Equal(t, id, got)
				last = id
			case <-time.After(20 * time.Second):
				t.Fatalf("the eviction of %s was not told", id)
			}
			return
		}
	}
	require.NoError(t, acquire(time.Second))
	require.NoError(t, acquire(time.Second))
	want("1")

	srv.Pause(t)
	start := time.Now()
	require.Error(t, acquire(300*time.Millisecond)) // 3: runs when Redis does again
	require.Less(t, time.Since(start), 2*time.Second)
	srv.Resume(t)
	want("2")

	srv.Kill(t)
	err := acquire(300 * time.Millisecond)
	require.Error(t, err)
	full, ok := errors.AsType[*connmgr.LedgerError](err)
	require.False(t, ok, full)
	srv.Start(t)
	start = time.Now()
	require.NoError(t, acquire(5*time.Second))
	want("3")
	require.Less(t, time.Since(start), 4*time.Second)

	// The connection that wakes is cut; what is evicted then is told as well.
	require.NoError(t, rdb.ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
	require.NoError(t, acquire(time.Second))
	want("5")
}

// Redis alone keeps time: nothing that is sent or stored holds a server's clock.
// Here a lease is read from Redis, whose clock and the test's agree.
func TestClock(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	l := open(t, rdb, "x")
	require.NoError(t, l.Acquire(ctx, connmgr.Hold{Server: "a", ID: "1"}, time.Minute, user(2)))
	first, err := rdb.ZRangeByLex(ctx, "{x}h", &redis.ZRangeBy{Min: "[x", Max: "+", Count: 1}).Result()
	require.NoError(t, err)
	ends, err := strconv.ParseFloat(first[0][1:17], 64)
	require.NoError(t, err)
	now, err := rdb.Time(ctx).Result()
	require.NoError(t, err)
	require.InDelta(t, now.Add(time.Minute).UnixMilli(), ends, 10_000)
}

// TestMemory prints what a connection with two claims takes in Redis.
func TestMemory(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	l := open(t, rdb, "x")
	const n = 2000
	many(t, l, "server-1", n, time.Minute)
	bytes := rdb.MemoryUsage(ctx, "{x}h", 0).Val() / n
	t.Logf("%d bytes a connection", bytes)
	require.Less(t, bytes, int64(1000))
}

// The ledger's slot moves while places are taken and given back: an error may
// be, and nobody is over the limit or counted for ever.
func TestSlotMoves(t *testing.T) {
	cluster := redistest.NewCluster(t)
	rdb := cluster.Client(t)
	l := open(t, rdb, "x")
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var held, most, granted, failed atomic.Int64
	const limit = 5
	for i := range 10 {
		wg.Go(func() {
			for run.Err() == nil {
				h := connmgr.Hold{Server: "a", ID: fmt.Sprint(i)}
				call, done := context.WithTimeout(ctx, 5*time.Second)
				err := l.Acquire(call, h, time.Minute, []connmgr.Claim{{Key: "k", Max: limit}, {Key: fmt.Sprint("own", i), Max: 1}})
				if _, full := errors.AsType[*connmgr.LedgerError](err); err != nil && !full {
					failed.Add(1)
				}
				if err == nil {
					granted.Add(1)
					if n := held.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(5 * time.Millisecond)
					held.Add(-1)
				}
				if l.Release(call, "a", []string{h.ID}) != nil {
					failed.Add(1)
				}
				done()
			}
		})
	}
	slot := int(rdb.ClusterKeySlot(ctx, "{x}h").Val())
	for i := range 9 {
		time.Sleep(50 * time.Millisecond)
		cluster.Move(t, slot, i%3)
	}
	stop()
	wg.Wait()
	t.Logf("%d granted, %d failed, at most %d of %d at once", granted.Load(), failed.Load(), most.Load(), limit)
	require.LessOrEqual(t, most.Load(), int64(limit))
	for i := range 10 {
		require.NoError(t, l.Release(ctx, "a", []string{fmt.Sprint(i)}))
	}
	for _, s := range cluster.Servers {
		require.Empty(t, s.Client(t).Keys(ctx, "*").Val())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	rdb := redistest.New(b).Client(b)
	l, err := redisledger.New(rdb, redisledger.Options{})
	require.NoError(b, err)
	i := 0
	for b.Loop() {
		i++
		id := fmt.Sprint(i)
		if err := l.Acquire(ctx, connmgr.Hold{Server: "a", ID: id}, time.Minute, user(2)); err != nil {
			b.Fatal(err)
		}
		if err := l.Release(ctx, "a", []string{id}); err != nil {
			b.Fatal(err)
		}
	}
}
