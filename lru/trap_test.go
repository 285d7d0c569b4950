package lru_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// Each test here is a fault that a cache for Go has had.

// golang-lru, theine, otter and ttlcache keep NaN keys for ever.
func TestNaNKey(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[float64, int]{MaxEntries: 10, Policy: p})
		nan := math.NaN()
		for range 1000 {
			require.False(t, c.Set(nan, 1))
		}
		require.Zero(t, c.Len())
		require.False(t, has(c, nan))
		require.False(t, c.Delete(nan))
		v, err := c.GetOrLoad(t.Context(), nan, func(context.Context, float64) (int, error) { return 3, nil })
		require.NoError(t, err)
		require.Equal(t, 3, v)
		_, err = c.GetOrLoadMany(t.Context(), []float64{nan}, func(context.Context, []float64) (map[float64]int, error) { return nil, nil })
		require.Error(t, err)
		_, ok := c.Compute(nan, func(int, bool) (int, lru.Op) { return 1, lru.OpSet })
		require.False(t, ok)
		require.EqualValues(t, 1001, c.Stats().Refused.BadKey)
		c.Set(0, 1)
		require.True(t, has(c, math.Copysign(0, -1)), "−0 equals 0")
		require.NoError(t, c.Check())
	})
}

func TestUnhashableKey(t *testing.T) {
	c := newCache(t, lru.Options[any, int]{MaxEntries: 10})
	require.Panics(t, func() { c.Set([]int{1}, 1) })
	require.Panics(t, func() { c.Get(func() {}) })
	require.True(t, c.Set(1, 1), "no lock is left held")
	require.True(t, c.Set("1", 2))
	require.Equal(t, 2, c.Len())
}

// ttlcache's SuppressedLoader takes keys for the same that print alike.
func TestFlightsAreKeyedByTheKey(t *testing.T) {
	type key struct{ a, b string }
	c := newCache(t, lru.Options[key, string]{MaxEntries: 10})
	k1, k2 := key{"x y", "z"}, key{"x", "y z"}
	require.Equal(t, fmt.Sprint(k1), fmt.Sprint(k2))
	var wg sync.WaitGroup
	started, release := make(chan key, 2), make(chan struct{})
	for _, k := range []key{k1, k2} {
		wg.Go(func() {
			v, err := c.GetOrLoad(t.Context(), k, func(_ context.Context, k key) (string, error) {
				started <- k
				<-release
				return k.a, nil
			})
			require.NoError(t, err)
			require.Equal(t, k.a, v)
		})
	}
	require.NotEqual(t, <-started, <-started)
	close(release)
	wg.Wait()
}

// golang-lru deadlocks when its callback calls it (#230).
func TestReentrantCallback(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		var c *lru.Cache[int, int]
		calls := 0
		c = newCache(t, lru.Options[int, int]{MaxEntries: 10, Policy: p, OnEvict: func(k, v int, why lru.Reason) {
			calls++
			c.Get(k)
			c.Delete(k)
			c.Stats()
			c.Compute(k, func(int, bool) (int, lru.Op) { return 0, lru.OpKeep })
			for range c.All() {
			}
			switch calls {
			case 5:
				c.Trim(0.5)
			case 7:
				require.NoError(t, c.Resize(5, 0))
			case 9:
				c.Purge()
			case 20:
				c.Close()
			}
			if calls < 30 {
				c.Set(-calls, v)
			}
		}})
		for i := range 100 {
			c.Set(i, i)
			c.Set(i, i)
		}
		require.Zero(t, c.Len())
		require.NoError(t, c.Check())
	})
}

func TestPanickingCallback(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		seen := map[int]int{}
		c := newCache(t, lru.Options[int, int]{MaxEntries: 10, Policy: p, OnEvict: func(k, _ int, why lru.Reason) {
			seen[k]++
			if why == lru.Trimmed && k%2 == 0 {
				panic("callback")
			}
		}})
		for i := range 10 {
			c.Set(i, i)
		}
		require.Panics(t, func() { c.Trim(1) })
		require.Zero(t, c.Len())
		require.Len(t, seen, 10, "the panic of one does not silence the others")
		for _, n := range seen {
			require.Equal(t, 1, n)
		}
		require.True(t, c.Set(1, 1), "no lock is left held")
		require.NoError(t, c.Check())
	})
}

func TestCallbackThatExits(t *testing.T) {
	c := newCache(t, lru.Options[int, int]{MaxEntries: 1, OnEvict: func(int, int, lru.Reason) { runtime.Goexit() }})
	var wg sync.WaitGroup
	wg.Go(func() {
		c.Set(1, 1)
		c.Set(2, 2)
		t.Error("it went on")
	})
	wg.Wait()
	require.True(t, has(c, 2))
	require.NoError(t, c.Check())
	wg.Go(func() { c.Purge() })
	wg.Wait()

	// The callback of a load runs on the loader's goroutine.
	c.Set(1, 1)
	got, err := c.GetOrLoadMany(t.Context(), []int{3, 4, 5}, func(_ context.Context, keys []int) (map[int]int, error) {
		return map[int]int{3: 3, 4: 4, 5: 5}, nil
	})
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.NoError(t, c.Check())
	require.Zero(t, c.Stats().Loading)
}

func TestPanickingSize(t *testing.T) {
	c := newCache(t, lru.Options[int, []int]{MaxEntries: 10, MaxBytes: 100, Size: func(_ int, v []int) int64 { return int64(v[0]) }})
	require.Panics(t, func() { c.Set(1, nil) })
	_, err := c.GetOrLoad(t.Context(), 1, func(context.Context, int) ([]int, error) { return nil, nil })
	require.ErrorAs(t, err, new(*lru.PanicError))
	require.True(t, c.Set(1, []int{5}))
	require.NoError(t, c.Check())
}

// golang-lru: Resize(-5) with 10 entries, and each Add evicts itself.
func TestResizeBadly(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[int, int]{MaxEntries: 10, Policy: p})
		for i := range 10 {
			c.Set(i, i)
		}
		for _, n := range []int{-5, 0, math.MinInt} {
			require.Error(t, c.Resize(n, 0))
		}
		require.Error(t, c.Resize(5, 100), "there is no Size")
		require.Equal(t, 10, c.Len())
		require.Equal(t, 10, c.Stats().MaxEntries)
	})
}

// ttlcache evicts all others for an entry that cannot fit, theine takes a
// negative cost, otter truncates one of 1<<32 to nothing.
func TestOversizeAndBadSizes(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[string, int64]{
			MaxEntries: 10, MaxBytes: 10, Policy: p, Size: func(_ string, v int64) int64 { return v },
		})
		for _, k := range []string{"a", "b", "c", "d", "e"} {
			require.True(t, c.Set(k, 2))
		}
		for _, size := range []int64{11, 1 << 32, math.MaxInt64} {
			require.False(t, c.Set("large", size))
		}
		for _, size := range []int64{-1, math.MinInt64} {
			require.False(t, c.Set("bad", size))
		}
		require.Equal(t, 5, c.Len(), "the others stay")
		require.EqualValues(t, 10, c.Bytes())
		require.False(t, c.Set("a", 100))
		require.False(t, has(c, "a"), "nor does the older value stay")
		s := c.Stats()
		require.EqualValues(t, 4, s.Refused.TooLarge)
		require.EqualValues(t, 2, s.Refused.BadSize)
		require.EqualValues(t, 1, s.Evictions.Bytes)
		require.True(t, c.Set("zero", 0))
		require.True(t, c.Set("all", 10), "as large as the cache")
		require.EqualValues(t, 10, c.Bytes())
		require.True(t, c.Set("all", 3))
		require.EqualValues(t, 3, c.Bytes())
		require.NoError(t, c.Check())
	})
}

// An entry larger than a shard's share fits all the same.
func TestLargeEntryInManyShards(t *testing.T) {
	c := newCache(t, lru.Options[int, int64]{
		MaxEntries: 1 << 16, MaxBytes: 1 << 20, Size: func(_ int, v int64) int64 { return v },
	})
	for i := range 1 << 14 {
		c.Set(i, 64)
	}
	for i, size := range []int64{1 << 18, 1 << 19, 1 << 20} {
		require.True(t, c.Set(-i-1, size))
		require.True(t, has(c, -i-1))
		require.LessOrEqual(t, c.Bytes(), int64(1<<20))
	}
	require.Equal(t, 1, c.Len())
	require.NoError(t, c.Check())
}

// One key that comes and goes must not wear out the rings.
func TestDeleteAndAddForEver(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[int, [2]int]{MaxEntries: 100, Policy: p})
		for i := range 50 {
			c.Set(i, [2]int{})
		}
		before := heap()
		for i := range 100_000 {
			c.Set(1000+i%3, [2]int{i})
			c.Delete(1000 + i%3)
		}
		require.Less(t, heap()-before, int64(20_000))
		require.Equal(t, 50, c.Len())
		require.NoError(t, c.Check())
	})
}

// A cache that is full by the hash's luck must still hold MaxEntries.
func TestEveryEntryFits(t *testing.T) {
	for _, n := range []int{1000, 10_000, 100_000} {
		c := newCache(t, lru.Options[int, int]{MaxEntries: n})
		for i := range n {
			c.Set(i, i)
		}
		require.Equal(t, n, c.Len())
		for i := range n {
			if !has(c, i) {
				t.Fatalf("%d of %d is gone", i, n)
			}
		}
	}
}

func TestComputeAgainstWriters(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[int, int]{MaxEntries: 100, Policy: p})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 2000 {
					c.Compute(1, func(old int, _ bool) (int, lru.Op) { return old + 1, lru.OpSet })
				}
			})
		}
		wg.Wait()
		v, _ := c.Get(1)
		require.Equal(t, 8000, v)

		_, ok := c.Compute(1, func(old int, ok bool) (int, lru.Op) {
			if old == 8000 {
				c.Set(1, 5) // as another goroutine would
			}
			return old * 2, lru.OpSet
		})
		require.True(t, ok)
		v, _ = c.Get(1)
		require.Equal(t, 10, v)
		require.Panics(t, func() { c.Compute(1, func(int, bool) (int, lru.Op) { panic(1) }) })
		_, ok = c.Compute(1, func(int, bool) (int, lru.Op) { return 0, lru.OpDelete })
		require.False(t, ok)
		require.NoError(t, c.Check())
	})
}

// A Set that takes no lock is lost neither to a load nor to a Compute.
func TestSetInPlaceIsNotLost(t *testing.T) {
	c := newCache(t, lru.Options[int, *int]{MaxEntries: 100})
	for i := range 3000 {
		zero := 0
		c.Set(1, &zero)
		var wg sync.WaitGroup
		mine := i
		wg.Go(func() { c.Set(1, &mine) })
		// A Compute that sees the old value must not undo the Set.
		wg.Go(func() {
			c.Compute(1, func(old *int, ok bool) (*int, lru.Op) { return old, lru.OpSet })
		})
		wg.Wait()
		v, ok := c.Get(1)
		require.True(t, ok)
		require.Same(t, &mine, v)
	}
	require.NoError(t, c.Check())
}

func TestAllWhileItChanges(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[int, [2]int]{MaxEntries: 1000, Policy: p})
		for i := range 500 {
			c.Set(i, [2]int{i})
		}
		seen := map[int]int{}
		for k := range c.All() {
			seen[k]++
			c.Set(k, [2]int{-k})
			c.Set(500+k%400, [2]int{k})
			if len(seen) == 100 {
				for range c.Keys() {
					break
				}
			}
		}
		for i := range 500 {
			require.Equal(t, 1, seen[i])
		}
	})
}

func TestReasonNames(t *testing.T) {
	require.Equal(t, "capacity", lru.Capacity.String())
	require.Equal(t, "purged", lru.Purged.String())
	require.Equal(t, "Reason(99)", lru.Reason(99).String())
	require.Zero(t, lru.Stats{}.HitRate())
	require.Equal(t, 0.75, lru.Stats{Hits: 3, Misses: 1}.HitRate())
}
