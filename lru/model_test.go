package lru_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// model is a naive LRU map with a time to live and sizes, which is told by
// OnEvict what has left the cache and checks that it was allowed to.
type model struct {
	t          *testing.T
	strict     bool
	entries    map[int]*modelEntry
	order      []int // strict: the least recently used first
	maxEntries int
	maxBytes   int64
	bytes      int64

	// the operation under way
	key     int
	size    int64
	allowed map[lru.Reason]bool
}

type modelEntry struct {
	value    value
	deadline time.Time
}

// value is larger than a word, so that nodes are replaced.
type value struct {
	n    int
	size int64
}

func (m *model) live(key int) (value, bool) {
	e := m.entries[key]
	if e == nil || !time.Now().Before(e.deadline) {
		return value{}, false
	}
	return e.value, true
}

func (m *model) use(key int) {
	if i := slices.Index(m.order, key); i >= 0 {
		m.order = append(slices.Delete(m.order, i, i+1), key)
	}
}

func (m *model) set(key int, v value, ttl time.Duration) {
	equal(m.t, nil, m.entries[key]) // or the old value was not reported
	m.entries[key] = &modelEntry{v, time.Now().Add(ttl)}
	m.order = append(m.order, key)
	m.bytes += v.size
}

// left is OnEvict.
func (m *model) left(key int, v value, why lru.Reason) {
	e := m.entries[key]
	if e == nil || e.value != v || !m.allowed[why] && why != lru.Expired {
		m.t.Fatalf("key %d left: %v; expected %+v, one of %v", key, why, e, m.allowed)
	}
	switch why {
	case lru.Expired:
		equal(m.t, false, time.Now().Before(e.deadline))
	case lru.Replaced, lru.Deleted:
		equal(m.t, m.key, key)
	case lru.Capacity:
		equal(m.t, m.maxEntries, len(m.entries)) // or it was evicted without need
	case lru.Bytes:
		if key != m.key { // else its own size is too large
			require.Greater(m.t, m.bytes+m.size, m.maxBytes, "evicted without need")
		}
	}
	if m.strict && (why == lru.Capacity || why == lru.Bytes && key != m.key || why == lru.Trimmed) {
		require.Equal(m.t, m.order[0], key, "%v: not the oldest of %v", why, m.order)
	}
	delete(m.entries, key)
	m.order = slices.DeleteFunc(m.order, func(k int) bool { return k == key })
	m.bytes -= v.size
}

// during runs one operation of the cache.
func (m *model) during(key int, size int64, allowed ...lru.Reason) {
	m.key, m.size = key, size
	m.allowed = make(map[lru.Reason]bool)
	for _, r := range allowed {
		m.allowed[r] = true
	}
}

// load is a loader call that the test holds open.
type load struct {
	key     int
	value   value
	written bool // since it began
	release chan struct{}
	got     chan value
}

// TestModel does a million random operations and compares every answer.
func TestModel(t *testing.T) {
	const operations = 520_000 // for each of two policies
	policies(t, func(t *testing.T, p lru.Policy) {
		synctest.Test(t, func(t *testing.T) {
			runModel(t, p, operations, rand.New(rand.NewPCG(uint64(p), 1)))
		})
	})
}

func runModel(t *testing.T, p lru.Policy, operations int, r *rand.Rand) {
	const ttl = 50 * time.Millisecond
	m := &model{t: t, strict: p == lru.Strict, entries: map[int]*modelEntry{}, maxEntries: 20, maxBytes: 300}
	c, err := lru.New(lru.Options[int, value]{
		MaxEntries: m.maxEntries, MaxBytes: m.maxBytes, TTL: ttl, Policy: p, OnEvict: m.left,
		Size: func(_ int, v value) int64 { return v.size },
	})
	require.NoError(t, err)
	loads := map[int]*load{}
	next := 0
	newValue := func() value {
		next++
		v := value{n: next, size: int64(r.IntN(30))}
		if r.IntN(200) == 0 {
			v.size = m.maxBytes + 1
		}
		return v
	}
	wrote := func(key int) {
		if l := loads[key]; l != nil {
			l.written = true
		}
	}
	put := func(key int, v value, ttl time.Duration, store func() bool) {
		m.during(key, v.size, lru.Replaced, lru.Capacity, lru.Bytes)
		wrote(key)
		stored := store()
		equal(t, v.size <= m.maxBytes && ttl > 0, stored)
		if stored {
			m.set(key, v, ttl)
		} else {
			require.NotContains(t, m.entries, key)
		}
	}
	finish := func(l *load) {
		_, cached := m.live(l.key)
		keep := !l.written && l.value.size <= m.maxBytes
		m.during(l.key, l.value.size, lru.Replaced, lru.Capacity, lru.Bytes)
		close(l.release)
		equal(t, l.value, <-l.got)
		delete(loads, l.key)
		if keep {
			require.False(t, cached)
			m.set(l.key, l.value, ttl)
		}
	}
	for range operations {
		key := r.IntN(40)
		switch op := r.IntN(100); {
		case op < 35:
			m.during(key, 0)
			want, ok := m.live(key)
			got, found := c.Get(key)
			equal(t, ok, found)
			equal(t, want, got)
			if ok {
				m.use(key)
			}
		case op < 55:
			v := newValue()
			put(key, v, ttl, func() bool { return c.Set(key, v) })
		case op < 62:
			v, ttl := newValue(), time.Duration(r.IntN(200)-5)*time.Millisecond
			own := ttl
			if ttl == 0 {
				own = 50 * time.Millisecond
			}
			put(key, v, own, func() bool { return c.SetWithTTL(key, v, ttl) })
		case op < 67:
			m.during(key, 0, lru.Deleted)
			wrote(key)
			_, ok := m.live(key)
			equal(t, ok, c.Delete(key))
			require.NotContains(t, m.entries, key)
		case op < 73:
			want, had := m.live(key)
			v := newValue()
			do := lru.Op(r.IntN(3))
			m.during(key, v.size, lru.Replaced, lru.Capacity, lru.Bytes, lru.Deleted)
			if do != lru.OpKeep {
				wrote(key)
			}
			got, ok := c.Compute(key, func(old value, found bool) (value, lru.Op) {
				equal(t, had, found)
				equal(t, want, old)
				return v, do
			})
			switch {
			case do == lru.OpKeep:
				equal(t, had, ok)
				equal(t, want, got)
			case do == lru.OpSet && v.size <= m.maxBytes:
				require.True(t, ok)
				m.set(key, v, ttl)
			default:
				require.False(t, ok)
				require.NotContains(t, m.entries, key)
			}
		case op < 80: // begin a load, or join it
			want, ok := m.live(key)
			l := loads[key]
			if !ok && l != nil && l.written {
				continue // a second load would start; see TestLoadAfterDelete
			}
			m.during(key, 0)
			if ok {
				got, err := c.GetOrLoad(t.Context(), key, unwanted)
				require.NoError(t, err)
				equal(t, want, got)
				m.use(key)
				continue
			}
			if l == nil {
				l = &load{key: key, value: newValue(), release: make(chan struct{}), got: make(chan value, 1)}
				loads[key] = l
				go func() {
					v, err := c.GetOrLoad(context.Background(), key, func(context.Context, int) (value, error) {
						<-l.release
						return l.value, nil
					})
					if err != nil {
						v = value{n: -1}
					}
					l.got <- v
				}()
				synctest.Wait()
			}
		case op < 86:
			for _, l := range loads { // any
				finish(l)
				break
			}
		case op < 94:
			time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
		case op < 95:
			m.during(-1, 0, lru.Trimmed)
			before := len(m.entries)
			c.Trim(0.2)
			require.LessOrEqual(t, len(m.entries), before-before/5)
		case op < 96:
			m.maxEntries, m.maxBytes = 5+r.IntN(30), 100+int64(r.IntN(400))
			m.during(-1, 0, lru.Trimmed)
			require.NoError(t, c.Resize(m.maxEntries, m.maxBytes))
		case op == 96 && r.IntN(20) == 0:
			m.during(-1, 0, lru.Purged)
			c.Purge()
			require.Empty(t, m.entries)
			for _, l := range loads {
				l.written = true
			}
		case op == 97:
			m.during(-1, 0)
			for k, v := range c.All() {
				want, ok := m.live(k)
				require.True(t, ok)
				require.Equal(t, want, v)
			}
		case op == 98:
			m.during(-1, 0)
			c.Sweep()
			for k := range m.entries {
				_, ok := m.live(k)
				require.True(t, ok)
			}
		}
		equal(t, len(m.entries), c.Len())
		equal(t, m.bytes, c.Bytes())
		equal(t, true, c.Len() <= m.maxEntries)
		equal(t, true, c.Bytes() <= m.maxBytes)
	}
	for _, l := range loads {
		finish(l)
	}
	require.NoError(t, c.Check())
	m.during(-1, 0, lru.Purged)
	c.Close()
	require.Empty(t, m.entries)
}

func unwanted(context.Context, int) (value, error) { panic("loaded although it is cached") }

// equal is require.Equal for a million times.
func equal[T comparable](t *testing.T, want, got T) {
	if got != want {
		t.Helper()
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestModelInPlace is for values of one word without OnEvict, where Set takes
// no lock; nothing is evicted, so a plain map says what is there.
func TestModelInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, lru.Options[int, *int]{MaxEntries: 1000, TTL: time.Second})
		type entry struct {
			v        *int
			deadline time.Time
		}
		want := map[int]entry{}
		r := rand.New(rand.NewPCG(5, 6))
		for range 200_000 {
			key := r.IntN(1000)
			switch op := r.IntN(20); {
			case op < 10:
				v, ok := c.Get(key)
				e, there := want[key]
				there = there && time.Now().Before(e.deadline)
				equal(t, there, ok)
				if ok {
					equal(t, e.v, v)
				}
			case op < 16:
				v := new(int)
				equal(t, true, c.Set(key, v))
				want[key] = entry{v, time.Now().Add(time.Second)}
			case op < 17:
				v, ttl := new(int), time.Duration(1+r.IntN(3000))*time.Millisecond
				require.True(t, c.SetWithTTL(key, v, ttl))
				want[key] = entry{v, time.Now().Add(ttl)}
			case op < 18:
				c.Delete(key)
				delete(want, key)
			case op < 19:
				v := new(int)
				c.Compute(key, func(*int, bool) (*int, lru.Op) { return v, lru.OpSet })
				want[key] = entry{v, time.Now().Add(time.Second)}
			default:
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
		}
		require.NoError(t, c.Check())
	})
}

// TestOwnWrites lets goroutines write keys of their own while everything is
// evicted, trimmed and resized around them: a look-up finds what its goroutine
// wrote last, or nothing.
func TestOwnWrites(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		for _, word := range []bool{true, false} {
			if word {
				ownWrites(t, p, func(n int) *int { return &n }, func(v *int) int { return *v })
			} else {
				ownWrites(t, p, func(n int) [2]int { return [2]int{n, -n} }, func(v [2]int) int {
					if v[1] != -v[0] {
						return -1
					}
					return v[0]
				})
			}
		}
	})
}

func ownWrites[V any](t *testing.T, p lru.Policy, wrap func(int) V, unwrap func(V) int) {
	const keys = 3000
	c := newCache(t, lru.Options[int, V]{MaxEntries: 2000, TTL: time.Hour, Policy: p})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 9))
			last := make([]int, keys)
			for i := 1; i < 40_000; i++ {
				k := r.IntN(keys)
				switch op := r.IntN(100); {
				case op < 60:
					v, ok := c.Get(k*4 + g)
					if ok && unwrap(v) != last[k] {
						t.Errorf("key %d is %d, want %d", k*4+g, unwrap(v), last[k])
						return
					}
				case op < 95:
					last[k] = i
					c.Set(k*4+g, wrap(i))
				case op < 98:
					last[k] = -2
					c.Delete(k*4 + g)
				case op == 98 && i%50 == 0:
					c.Trim(0.1)
				case op == 99 && i%50 == 0:
					if err := c.Resize(1000+r.IntN(2000), 0); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Check())
}
