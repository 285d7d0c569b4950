package lru_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

type record struct{ _, _ uint64 }

// uuid returns a key of 36 bytes, which the heap keeps in 48.
func uuid(i int) string {
	digits := strconv.Itoa(i)
	return "00000000-0000-4000-8000-" + "000000000000"[len(digits):] + digits
}

const held = 48 + 16 // bytes of a uuid and a record

// overheads returns the heap bytes of an entry beside key and value, after
// the cache was filled and after four more capacities.
func overheads(t testing.TB, o lru.Options[string, *record]) (fresh, churned float64) {
	n := o.MaxEntries
	before := heap()
	c := newCache(t, o)
	for i := range n {
		c.Set(uuid(i), &record{})
	}
	fresh = float64(heap()-before)/float64(n) - held
	for i := range 4 * n {
		c.Set(uuid(n+i), &record{})
	}
	churned = float64(heap()-before)/float64(n) - held
	require.Equal(t, n, c.Len())
	runtime.KeepAlive(c)
	return fresh, churned
}

// TestBudget holds what an entry costs beside its key and value.
func TestBudget(t *testing.T) {
	for _, n := range []int{10_000, 100_000} {
		for _, b := range []struct {
			name  string
			o     lru.Options[string, *record]
			bytes float64
		}{
			{"plain", lru.Options[string, *record]{TTL: 1 << 40}, 64},                                                      // measured 62
			{"sized", lru.Options[string, *record]{MaxBytes: 1 << 40, Size: func(string, *record) int64 { return 1 }}, 80}, // 78
			{"strict", lru.Options[string, *record]{Policy: lru.Strict}, 210},                                              // 147 … 182
		} {
			b.o.MaxEntries = n
			fresh, churned := overheads(t, b.o)
			t.Logf("%-6s %7d entries: %5.1f bytes fresh, %5.1f churned; limit %v", b.name, n, fresh, churned, b.bytes)
			require.Less(t, fresh, b.bytes)
			require.Less(t, churned, b.bytes)
		}
	}
}

// TestEmptyCacheIsSmall: a bound alone costs nothing.
func TestEmptyCacheIsSmall(t *testing.T) {
	before := heap()
	c := newCache(t, lru.Options[string, *record]{MaxEntries: 1 << 20})
	small := newCache(t, lru.Options[string, *record]{MaxEntries: 200})
	used := heap() - before
	t.Logf("%d bytes", used)
	require.Less(t, used, int64(200_000))
	runtime.KeepAlive(c)
	runtime.KeepAlive(small)
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := newCache(t, lru.Options[string, *record]{MaxEntries: 1000, TTL: 1 << 40})
	keys := make([]string, 5000)
	for i := range keys {
		keys[i] = uuid(i)
	}
	v := &record{}
	for i := range 2000 {
		c.Set(keys[i], v)
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { c.Get(keys[1999]) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { c.Set(keys[1999], v) }))
	i := 2000
	require.LessOrEqual(t, testing.AllocsPerRun(2000, func() { c.Set(keys[i], v); i++ }), 1.0)
}
