package lru_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

var errBroken = errors.New("broken")

// slow returns a loader that takes a second and counts its calls.
func slow(calls *atomic.Int64, value int, err error) func(context.Context, string) (int, error) {
	return func(ctx context.Context, _ string) (int, error) {
		calls.Add(1)
		select {
		case <-time.After(time.Second):
			return value, err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func TestLoadOnce(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				v, err := c.GetOrLoad(t.Context(), "a", slow(&calls, 7, nil))
				require.NoError(t, err)
				require.Equal(t, 7, v)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, calls.Load())
		require.True(t, has(c, "a"))
		s := c.Stats()
		require.EqualValues(t, 1, s.Loads)
		require.EqualValues(t, 100, s.Misses)
		require.Zero(t, s.Loading)
		require.NoError(t, c.Check())
	})
}

func TestLoadErrorsReachAll(t *testing.T) {
	failing := map[string]func(context.Context, string) (int, error){
		"error": func(context.Context, string) (int, error) { time.Sleep(time.Second); return 0, errBroken },
		"panic": func(context.Context, string) (int, error) { time.Sleep(time.Second); panic(errBroken) },
		"exit":  func(context.Context, string) (int, error) { time.Sleep(time.Second); runtime.Goexit(); return 0, nil },
		"nil":   func(context.Context, string) (int, error) { time.Sleep(time.Second); panic("no error value") },
	}
	for name, load := range failing {
		timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := c.GetOrLoad(t.Context(), "a", load)
					panicked := new(lru.PanicError)
					switch name {
					case "error":
						require.ErrorIs(t, err, errBroken)
					case "panic":
						require.ErrorAs(t, err, &panicked)
						require.ErrorIs(t, err, errBroken)
						require.NotEmpty(t, panicked.Stack)
					case "nil":
						require.ErrorAs(t, err, &panicked)
						require.ErrorContains(t, err, "no error value")
					case "exit":
						require.ErrorIs(t, err, lru.ErrLoaderExited)
					}
				})
			}
			wg.Wait()
			s := c.Stats()
			require.EqualValues(t, 1, s.Loads)
			require.EqualValues(t, 1, s.LoadErrors)
			v, err := c.GetOrLoad(t.Context(), "a", func(context.Context, string) (int, error) { return 3, nil })
			require.NoError(t, err, "an error is not kept")
			require.Equal(t, 3, v)
			require.NoError(t, c.Check())
		})
	}
}

func TestWaiterLeaves(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		load := slow(&calls, 7, nil)
		first, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(first, "a", load)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		start := time.Now()
		v, err := c.GetOrLoad(t.Context(), "a", load) // outlives the one that started it
		require.NoError(t, err)
		require.Equal(t, 7, v)
		require.Equal(t, time.Second, time.Since(start))
		require.EqualValues(t, 1, calls.Load())
		wg.Wait()

		// When nobody waits any more the loader is cancelled, and the next one
		// starts anew.
		alone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = c.GetOrLoad(alone, "b", load)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		v, err = c.GetOrLoad(t.Context(), "b", load)
		require.NoError(t, err)
		require.Equal(t, 7, v)
		require.EqualValues(t, 3, calls.Load())
	})
}

func TestNewerWriteBeatsLoad(t *testing.T) {
	writes := map[string]struct {
		do   func(c *lru.Cache[string, int])
		want int
		ok   bool
	}{
		"set":     {func(c *lru.Cache[string, int]) { c.Set("a", 2) }, 2, true},
		"delete":  {func(c *lru.Cache[string, int]) { c.Delete("a") }, 0, false},
		"purge":   {func(c *lru.Cache[string, int]) { c.Purge() }, 0, false},
		"set old": {func(c *lru.Cache[string, int]) { c.SetWithTTL("a", 2, -1) }, 0, false},
		"compute": {func(c *lru.Cache[string, int]) {
			c.Compute("a", func(int, bool) (int, lru.Op) { return 2, lru.OpSet })
		}, 2, true},
		"set and delete": {func(c *lru.Cache[string, int]) { c.Set("a", 2); c.Delete("a") }, 0, false},
	}
	for name, w := range writes {
		t.Run(name, func(t *testing.T) {
			timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
				var calls atomic.Int64
				var wg sync.WaitGroup
				wg.Go(func() {
					v, err := c.GetOrLoad(t.Context(), "a", slow(&calls, 1, nil))
					require.NoError(t, err)
					require.Equal(t, 1, v, "who waited gets what was loaded")
				})
				synctest.Wait()
				w.do(c)
				wg.Wait()
				v, ok := c.Get("a")
				require.Equal(t, w.ok, ok)
				require.Equal(t, w.want, v)
				require.NoError(t, c.Check())
			})
		})
	}
}

// After a delete nobody joins the old load: it may have read what was there
// before.
func TestLoadAfterDelete(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			v, err := c.GetOrLoad(t.Context(), "a", slow(&calls, 1, nil))
			require.NoError(t, err)
			require.Equal(t, 1, v)
		})
		synctest.Wait()
		c.Delete("a")
		v, err := c.GetOrLoad(t.Context(), "a", slow(&calls, 2, nil))
		require.NoError(t, err)
		require.Equal(t, 2, v)
		wg.Wait()
		v, _ = c.Get("a")
		require.Equal(t, 2, v)
	})
}

func TestNegative(t *testing.T) {
	timed(t, lru.Options[string, int]{NegativeTTL: time.Second, OnEvict: func(_ string, v int, _ lru.Reason) {
		require.Equal(t, 5, v, "there never was a value")
	}}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		missing := slow(&calls, 0, fmt.Errorf("user: %w", lru.ErrNotFound))
		_, err := c.GetOrLoad(t.Context(), "a", missing)
		require.ErrorIs(t, err, lru.ErrNotFound)
		_, err = c.GetOrLoad(t.Context(), "a", missing)
		require.ErrorIs(t, err, lru.ErrNotFound)
		require.EqualValues(t, 1, calls.Load())
		require.False(t, has(c, "a"))
		require.Equal(t, 1, c.Len())
		for range c.All() {
			t.Error("it is not an entry")
		}
		s := c.Stats()
		require.EqualValues(t, 2, s.NegativeHits)
		require.Zero(t, s.LoadErrors)
		time.Sleep(time.Second)
		_, err = c.GetOrLoad(t.Context(), "a", missing)
		require.ErrorIs(t, err, lru.ErrNotFound)
		require.EqualValues(t, 2, calls.Load())
		require.False(t, c.Delete("a"), "it had no value")
		_, err = c.GetOrLoad(t.Context(), "a", missing)
		require.ErrorIs(t, err, lru.ErrNotFound)
		require.EqualValues(t, 3, calls.Load())
		c.Set("a", 5)
		require.True(t, has(c, "a"))
		c.Compute("b", func(_ int, ok bool) (int, lru.Op) {
			require.False(t, ok)
			return 0, lru.OpKeep
		})
		require.NoError(t, c.Check())
	})
}

func TestRefreshAhead(t *testing.T) {
	timed(t, lru.Options[string, int]{TTL: 10 * time.Second, RefreshAfter: 5 * time.Second}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		get := func(next int, fail error) int {
			v, err := c.GetOrLoad(t.Context(), "a", slow(&calls, next, fail))
			require.NoError(t, err)
			return v
		}
		require.Equal(t, 1, get(1, nil))
		time.Sleep(4 * time.Second)
		require.Equal(t, 1, get(2, nil))
		time.Sleep(time.Second)
		for range 10 { // the old value at once, one load
			start := time.Now()
			require.Equal(t, 1, get(2, nil))
			require.Equal(t, start, time.Now())
		}
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 2, calls.Load())
		require.Equal(t, 2, get(3, nil))
		require.EqualValues(t, 1, c.Stats().Refreshes)

		time.Sleep(5 * time.Second)
		require.Equal(t, 2, get(3, errBroken)) // keeps the old value
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, get(3, nil))
		require.EqualValues(t, 3, calls.Load(), "not again at once")

		c.Set("a", 4)
		time.Sleep(5 * time.Second)
		require.Equal(t, 4, get(5, nil))
		synctest.Wait()
		c.Delete("a") // during the refresh
		time.Sleep(2 * time.Second)
		require.False(t, has(c, "a"))

		require.Equal(t, 6, get(6, nil))
		time.Sleep(5 * time.Second)
		require.Equal(t, 6, get(0, lru.ErrNotFound))
		time.Sleep(2 * time.Second)
		require.False(t, has(c, "a"), "it is gone at the source")
		require.NoError(t, c.Check())
	})
}

func TestLoadCycles(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		var load func(ctx context.Context, key string) (int, error)
		next := map[string]string{"self": "self", "a": "b", "b": "a", "x": "y"}
		load = func(ctx context.Context, key string) (int, error) {
			time.Sleep(time.Second)
			if n, ok := next[key]; ok {
				return c.GetOrLoad(ctx, n, load)
			}
			return 1, nil
		}
		_, err := c.GetOrLoad(t.Context(), "self", load)
		require.ErrorIs(t, err, lru.ErrLoadCycle)
		_, err = c.GetOrLoad(t.Context(), "a", load)
		require.ErrorIs(t, err, lru.ErrLoadCycle)
		var wg sync.WaitGroup
		for _, key := range []string{"a", "b"} { // from both ends at once
			wg.Go(func() {
				_, err := c.GetOrLoad(t.Context(), key, load)
				require.ErrorIs(t, err, lru.ErrLoadCycle)
			})
		}
		wg.Wait()
		v, err := c.GetOrLoad(t.Context(), "x", load)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.NoError(t, c.Check())
	})
}

func TestMaxLoads(t *testing.T) {
	timed(t, lru.Options[string, int]{MaxLoads: 2}, func(t *testing.T, c *lru.Cache[string, int]) {
		var calls atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 6 {
			wg.Go(func() {
				_, err := c.GetOrLoad(t.Context(), fmt.Sprint(i), slow(&calls, i, nil))
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		require.Equal(t, 2, c.Stats().Loading)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.GetOrLoad(ctx, "late", slow(&calls, 0, nil))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		wg.Wait()
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestLoadMany(t *testing.T) {
	timed(t, lru.Options[string, int]{NegativeTTL: time.Minute}, func(t *testing.T, c *lru.Cache[string, int]) {
		c.Set("cached", 1)
		var calls atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.GetOrLoad(t.Context(), "other", slow(&calls, 4, nil))
			require.NoError(t, err)
		})
		synctest.Wait()
		many := func(_ context.Context, keys []string) (map[string]int, error) {
			require.Equal(t, []string{"new", "none"}, keys)
			time.Sleep(time.Second)
			return map[string]int{"new": 3, "not asked for": 9}, nil
		}
		got, err := c.GetOrLoadMany(t.Context(), []string{"cached", "new", "other", "none", "new"}, many)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"cached": 1, "new": 3, "other": 4}, got)
		wg.Wait()
		require.False(t, has(c, "not asked for"))
		got, err = c.GetOrLoadMany(t.Context(), []string{"new", "none"}, nil2(t))
		require.NoError(t, err)
		require.Equal(t, map[string]int{"new": 3}, got)

		broken := func(context.Context, []string) (map[string]int, error) { return nil, errBroken }
		got, err = c.GetOrLoadMany(t.Context(), []string{"cached", "p", "q"}, broken)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, map[string]int{"cached": 1}, got)
		require.Equal(t, 1, len(err.(interface{ Unwrap() []error }).Unwrap()), "once for a call")

		_, err = c.GetOrLoadMany(t.Context(), []string{"p"}, func(context.Context, []string) (map[string]int, error) { panic(1) })
		require.ErrorAs(t, err, new(*lru.PanicError))
		c.Close()
		_, err = c.GetOrLoadMany(t.Context(), []string{"p"}, broken)
		require.ErrorIs(t, err, lru.ErrClosed)
		require.NoError(t, c.Check())
	})
}

func nil2(t *testing.T) func(context.Context, []string) (map[string]int, error) {
	return func(_ context.Context, keys []string) (map[string]int, error) {
		t.Errorf("%v loaded although they are known", keys)
		return nil, nil
	}
}

func TestCloseDuringLoad(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		var wg sync.WaitGroup
		cut := make(chan struct{})
		wg.Go(func() {
			_, err := c.GetOrLoad(t.Context(), "a", func(ctx context.Context, _ string) (int, error) {
				<-ctx.Done()
				time.Sleep(time.Second) // it takes its time
				close(cut)
				return 1, nil
			})
			require.ErrorIs(t, err, lru.ErrClosed)
		})
		synctest.Wait()
		c.Close()
		c.Close()
		wg.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, c.Shutdown(short), context.DeadlineExceeded)
		require.NoError(t, c.Shutdown(t.Context()))
		<-cut
		require.False(t, c.Set("a", 1))
		require.False(t, has(c, "a"))
		_, err := c.GetOrLoad(t.Context(), "a", func(context.Context, string) (int, error) { return 1, nil })
		require.ErrorIs(t, err, lru.ErrClosed)
		require.EqualValues(t, 1, c.Stats().Refused.Closed)
		require.NoError(t, c.Check())
	})
}

func TestShutdownFromLoader(t *testing.T) {
	timed(t, lru.Options[string, int]{}, func(t *testing.T, c *lru.Cache[string, int]) {
		_, err := c.GetOrLoad(t.Context(), "a", func(ctx context.Context, _ string) (int, error) {
			return 1, c.Shutdown(ctx)
		})
		require.ErrorIs(t, err, lru.ErrClosed)
	})
}

func TestNilLoader(t *testing.T) {
	c := newCache(t, lru.Options[string, int]{MaxEntries: 1})
	_, err := c.GetOrLoad(t.Context(), "a", nil)
	require.Error(t, err)
	_, err = c.GetOrLoadMany(t.Context(), []string{"a"}, nil)
	require.Error(t, err)
}
