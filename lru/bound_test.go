package lru_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// account counts what is reserved, and refuses above a limit.
type account struct {
	limit, held, most atomic.Int64
}

func (a *account) Reserve(n int64) error {
	held := a.held.Add(n)
	if held > a.limit.Load() {
		a.held.Add(-n)
		return errors.New("no memory")
	}
	for most := a.most.Load(); held > most && !a.most.CompareAndSwap(most, held); most = a.most.Load() {
	}
	return nil
}

func (a *account) Release(n int64) {
	if a.held.Add(-n) < 0 {
		panic("released more than reserved")
	}
}

// TestBoundsAtEveryInstant watches entries, bytes and account from outside
// while everything happens at once.
func TestBoundsAtEveryInstant(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		const maxEntries, maxBytes = 3000, 100_000
		acc := &account{}
		acc.limit.Store(200_000)
		var stored, left atomic.Int64
		c := newCache(t, lru.Options[int, int64]{
			MaxEntries: maxEntries, MaxBytes: maxBytes, Policy: p, Account: acc,
			Size:    func(_ int, v int64) int64 { return v },
			OnEvict: func(int, int64, lru.Reason) { left.Add(1) },
		})
		stop := make(chan struct{})
		var watcher, writers sync.WaitGroup
		watcher.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n, b := c.Len(), c.Bytes(); n > maxEntries || n < 0 || b > maxBytes || b < 0 {
					t.Errorf("%d entries, %d bytes", n, b)
					return
				}
			}
		})
		for g := range 4 {
			writers.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				for i := range 20_000 {
					key := r.IntN(6000)
					size := r.Int64N(60)
					if i%500 == 0 {
						size = r.Int64N(maxBytes)
					}
					switch op := r.IntN(100); {
					case op < 30:
						c.Get(key)
					case op < 80:
						if c.Set(key, size) {
							stored.Add(1)
						}
					case op < 90:
						c.Delete(key)
					case op < 98:
						_, err := c.GetOrLoad(context.Background(), key, func(context.Context, int) (int64, error) { return size, nil })
						if err != nil {
							t.Error(err)
						}
					case op == 98 && i%20 == 0:
						c.Trim(0.3)
					case op == 99 && i%20 == 0:
						if err := c.Resize(maxEntries-r.IntN(1000), maxBytes-r.Int64N(50_000)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		writers.Wait()
		close(stop)
		watcher.Wait()
		require.NoError(t, c.Check())
		require.Equal(t, c.Bytes()+int64(c.Len())*c.Overhead(), acc.held.Load())
		require.LessOrEqual(t, acc.most.Load(), acc.limit.Load())
		c.Purge()
		require.Zero(t, acc.held.Load())
		require.GreaterOrEqual(t, left.Load(), stored.Load())
	})
}

func TestAccountRefuses(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		acc := &account{}
		c := newCache(t, lru.Options[int, int]{MaxEntries: 100, Policy: p, Account: acc})
		require.False(t, c.Set(1, 1))
		require.EqualValues(t, 1, c.Stats().Refused.Account)
		acc.limit.Store(10 * c.Overhead())
		for i := range 20 {
			require.True(t, c.Set(i, i), "it evicts its own")
			require.LessOrEqual(t, c.Len(), 10)
		}
		require.Positive(t, c.Stats().Evictions.Bytes)
		require.True(t, c.SetWithTTL(19, 5, lru.Never))
		_, err := c.GetOrLoad(t.Context(), 50, func(context.Context, int) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.Equal(t, int64(c.Len())*c.Overhead(), acc.held.Load())
		c.Close()
		require.Zero(t, acc.held.Load())
	})
}

// Twice the same flood, evicted, and every value is reported exactly once.
func TestEvictedExactlyOnce(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		var mu sync.Mutex
		left := map[int]int{}
		c := newCache(t, lru.Options[int, int]{MaxEntries: 700, Policy: p, OnEvict: func(_, v int, _ lru.Reason) {
			mu.Lock()
			left[v]++
			mu.Unlock()
		}})
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10_000 {
					v := int(next.Add(1))
					c.Set(v%2000, v)
					c.Get(v % 1500)
				}
			})
		}
		wg.Wait()
		c.Close()
		require.Len(t, left, 40_000)
		for v, n := range left {
			if n != 1 {
				t.Fatalf("value %d left %d times", v, n)
			}
		}
	})
}
