package lru_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// timed runs a test on a false clock, with a cache per policy.
func timed(t *testing.T, o lru.Options[string, int], test func(t *testing.T, c *lru.Cache[string, int])) {
	policies(t, func(t *testing.T, p lru.Policy) {
		synctest.Test(t, func(t *testing.T) {
			o := o
			o.Policy = p
			if o.MaxEntries == 0 {
				o.MaxEntries = 100
			}
			test(t, newCache(t, o))
		})
	})
}

func has[K comparable, V any](c *lru.Cache[K, V], key K) bool {
	_, ok := c.Get(key)
	return ok
}

func TestTTLIsExact(t *testing.T) {
	for _, ttl := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 16 * time.Millisecond,
		33 * time.Millisecond, time.Second, time.Hour} {
		timed(t, lru.Options[string, int]{TTL: ttl}, func(t *testing.T, c *lru.Cache[string, int]) {
			c.Set("a", 1)
			time.Sleep(ttl - time.Nanosecond)
			require.True(t, has(c, "a"))
			require.Equal(t, 1, c.Len())
			time.Sleep(time.Nanosecond)
			require.False(t, has(c, "a"), "the deadline itself is over")
			require.Zero(t, c.Len())
			require.EqualValues(t, 1, c.Stats().Evictions.Expired)
		})
	}
}

// A coarse clock is in use when entries are read all the time.
func TestTTLIsExactUnderLoad(t *testing.T) {
	timed(t, lru.Options[string, int]{TTL: time.Second}, func(t *testing.T, c *lru.Cache[string, int]) {
		c.Set("a", 1)
		for range 999 {
			time.Sleep(time.Millisecond)
			require.True(t, has(c, "a"))
		}
		time.Sleep(time.Millisecond)
		require.False(t, has(c, "a"))
	})
}

func TestTTLOfAnEntry(t *testing.T) {
	timed(t, lru.Options[string, int]{TTL: time.Minute}, func(t *testing.T, c *lru.Cache[string, int]) {
		require.True(t, c.SetWithTTL("default", 1, 0))
		require.True(t, c.SetWithTTL("never", 1, lru.Never))
		require.True(t, c.SetWithTTL("huge", 1, math.MaxInt64-1))
		require.True(t, c.SetWithTTL("tiny", 1, 1))
		c.Set("negative", 1)
		require.False(t, c.SetWithTTL("negative", 2, -1))
		require.False(t, has(c, "negative"))
		time.Sleep(time.Millisecond)
		require.False(t, has(c, "tiny"))
		time.Sleep(time.Minute - time.Millisecond)
		require.False(t, has(c, "default"))
		require.True(t, has(c, "never"))
		require.True(t, has(c, "huge"))
		time.Sleep(30 * 365 * 24 * time.Hour)
		require.True(t, has(c, "never"))
		require.True(t, has(c, "huge"))
		c.SetWithTTL("never", 2, time.Second)
		c.Set("huge", 2) // the default again
		time.Sleep(time.Minute)
		require.False(t, has(c, "never"))
		require.False(t, has(c, "huge"))
	})
}

func TestNoTTLByDefault(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		c.Set("a", 1)
		c.SetWithTTL("b", 1, time.Second)
		time.Sleep(time.Second)
		require.True(t, has(c, "a"))
		require.False(t, has(c, "b"))
	})
}

func TestSetStartsTTLAgain(t *testing.T) {
	timed(t, lru.Options[string, int]{TTL: time.Second}, func(t *testing.T, c *lru.Cache[string, int]) {
		c.Set("a", 1)
		time.Sleep(900 * time.Millisecond)
		c.Set("a", 2)
		time.Sleep(900 * time.Millisecond)
		require.True(t, has(c, "a"))
		time.Sleep(100 * time.Millisecond)
		require.False(t, has(c, "a"))
	})
}

func TestSliding(t *testing.T) {
	for _, ttl := range []time.Duration{20 * time.Millisecond, time.Second, time.Hour} {
		timed(t, lru.Options[string, int]{TTL: ttl, Sliding: true}, func(t *testing.T, c *lru.Cache[string, int]) {
			c.Set("a", 1)
			c.SetWithTTL("half", 1, ttl/2)
			c.SetWithTTL("never", 1, lru.Never)
			for range 10 {
				time.Sleep(ttl/2 - time.Millisecond)
				require.True(t, has(c, "a"))
				require.True(t, has(c, "half"))
			}
			time.Sleep(ttl - time.Nanosecond)
			require.True(t, has(c, "a"), "never early")
			require.False(t, has(c, "half"))
			time.Sleep(ttl + 3*16*time.Millisecond)
			require.False(t, has(c, "a"), "late by a tick or two")
			require.True(t, has(c, "never"))
		})
	}
}

func TestExpiredGoWithoutReads(t *testing.T) {
	timed(t, lru.Options[string, int]{MaxEntries: 1000, TTL: time.Second}, func(t *testing.T, c *lru.Cache[string, int]) {
		for i := range 500 {
			c.Set(string(rune(i)), i)
		}
		time.Sleep(time.Second)
		require.Equal(t, 500, c.Len())
		for i := range 400 { // writes sweep
			c.Set(string(rune(1000+i)), i)
		}
		require.Less(t, c.Len(), 500)
		time.Sleep(time.Second)
		left := c.Len()
		require.Equal(t, left, c.Sweep())
		require.Zero(t, c.Len())
		require.NoError(t, c.Check())
	})
}

// Expired entries make room before live ones do.
func TestOnEvictOfExpired(t *testing.T) {
	var got []lru.Reason
	timed(t, lru.Options[string, int]{
		TTL: time.Second, OnEvict: func(_ string, _ int, why lru.Reason) { got = append(got, why) },
	}, func(t *testing.T, c *lru.Cache[string, int]) {
		got = nil
		c.Set("a", 1)
		time.Sleep(time.Second)
		c.Set("a", 2) // reports expired, then stores
		c.Set("a", 3)
		require.Equal(t, []lru.Reason{lru.Expired, lru.Replaced}, got)
		time.Sleep(time.Second)
		require.False(t, c.Delete("a"))
		require.Equal(t, []lru.Reason{lru.Expired, lru.Replaced, lru.Expired}, got)
	})
}

// A cache that is not closed leaves neither goroutine nor timer: the bubble
// would not end.
func TestForgottenCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := lru.New(lru.Options[int, int]{MaxEntries: 10, TTL: time.Hour})
		require.NoError(t, err)
		c.Set(1, 1)
		for range 100 {
			has(c, 1)
		}
	})
}
