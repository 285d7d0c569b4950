package lru_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

func newCache[K comparable, V any](t testing.TB, o lru.Options[K, V]) *lru.Cache[K, V] {
	t.Helper()
	c, err := lru.New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// policies runs a test for each of them.
func policies(t *testing.T, test func(t *testing.T, p lru.Policy)) {
	t.Run("adaptive", func(t *testing.T) { test(t, lru.Adaptive) })
	t.Run("strict", func(t *testing.T) { test(t, lru.Strict) })
}

func TestOptionsReportEveryFault(t *testing.T) {
	_, err := lru.New(lru.Options[int, int]{
		MaxBytes: 5, TTL: -1, NegativeTTL: -1, Policy: 9, RefreshAfter: -1, MaxLoads: -1,
	})
	for _, field := range []string{"MaxEntries = 0", "Size", "TTL", "NegativeTTL", "Policy", "RefreshAfter", "MaxLoads"} {
		require.ErrorContains(t, err, "lru: Options."+field)
	}
	_, err = lru.New(lru.Options[int, int]{MaxEntries: 1, Sliding: true})
	require.ErrorContains(t, err, "Sliding")
	_, err = lru.New(lru.Options[int, int]{MaxEntries: 1, Size: func(int, int) int64 { return 1 }})
	require.ErrorContains(t, err, "MaxBytes")
	_, err = lru.New(lru.Options[int, int]{MaxEntries: 1, TTL: time.Second, RefreshAfter: time.Second})
	require.ErrorContains(t, err, "RefreshAfter")
}

func TestSetGetDelete(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[string, string]{MaxEntries: 100, Policy: p})
		_, ok := c.Get("a")
		require.False(t, ok)
		require.True(t, c.Set("a", "1"))
		v, ok := c.Get("a")
		require.True(t, ok)
		require.Equal(t, "1", v)
		require.True(t, c.Set("a", "2"))
		v, _ = c.Get("a")
		require.Equal(t, "2", v)
		require.Equal(t, 1, c.Len())
		require.True(t, c.Delete("a"))
		require.False(t, c.Delete("a"))
		require.Zero(t, c.Len())
		s := c.Stats()
		require.EqualValues(t, 2, s.Hits)
		require.EqualValues(t, 1, s.Misses)
		require.EqualValues(t, 1, s.Evictions.Replaced)
		require.EqualValues(t, 1, s.Evictions.Deleted)
	})
}

func TestBoundHolds(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		for _, n := range []int{1, 2, 7, 100, 5000} {
			c := newCache(t, lru.Options[int, string]{MaxEntries: n, Policy: p})
			for i := range 4 * n {
				require.True(t, c.Set(i, fmt.Sprint(i)))
				require.LessOrEqual(t, c.Len(), n)
			}
			require.Equal(t, n, c.Len())
			found := 0
			for k, v := range c.All() {
				require.Equal(t, fmt.Sprint(k), v)
				found++
			}
			require.Equal(t, n, found)
		}
	})
}
