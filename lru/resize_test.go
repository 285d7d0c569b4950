package lru_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// heap returns the live heap.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTrimGivesMemoryBack(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		const n = 100_000
		empty := heap()
		c := newCache(t, lru.Options[int, *[64]byte]{MaxEntries: n, Policy: p})
		for i := range n {
			c.Set(i, new([64]byte))
		}
		full := heap() - empty
		require.Zero(t, c.Trim(0))
		require.Zero(t, c.Trim(-1))
		freed := c.Trim(0.75)
		require.InDelta(t, n/4, c.Len(), 100)
		left := heap() - empty
		t.Logf("%d bytes full, %d after a trim of 75 %%, which said it freed %d and %d more of values", full, left, freed, n*3/4*64)
		require.Less(t, left, full*2/5)
		require.InEpsilon(t, full-left, freed+n*3/4*64, 0.25)
		require.NoError(t, c.Check())
		c.Trim(1)
		require.Zero(t, c.Len())
		require.Less(t, heap()-empty, full/20)
		require.EqualValues(t, n, c.Stats().Evictions.Trimmed)
		runtime.KeepAlive(c)
	})
}

func TestResize(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		c := newCache(t, lru.Options[int, int]{MaxEntries: 10_000, Policy: p})
		for i := range 10_000 {
			c.Set(i, i)
		}
		require.NoError(t, c.Resize(100, 0))
		require.Equal(t, 100, c.Len())
		require.EqualValues(t, 9900, c.Stats().Evictions.Trimmed)
		for i := range 1000 {
			c.Set(i, i)
		}
		require.Equal(t, 100, c.Len())
		require.NoError(t, c.Resize(20_000, 0))
		for i := range 20_000 {
			c.Set(i, i)
		}
		require.Equal(t, 20_000, c.Len())
		require.NoError(t, c.Check())
	})
}

// TestTrimInSteps: the machine decides how long a step takes (BenchmarkTrim
// prints it), but there are many, and none is for all entries.
func TestTrimInSteps(t *testing.T) {
	policies(t, func(t *testing.T, p lru.Policy) {
		const n = 50_000
		c := newCache(t, lru.Options[int, int]{MaxEntries: n, Policy: p})
		for i := range n {
			c.Set(i, i)
		}
		holds := c.TrimHolds(0.6)
		require.Greater(t, len(holds), 200)
		slices.Sort(holds)
		t.Logf("%d steps; median %v, longest %v", len(holds), holds[len(holds)/2], holds[len(holds)-1])
		require.Less(t, holds[len(holds)/2], time.Millisecond)
		require.NoError(t, c.Check())
	})
}
