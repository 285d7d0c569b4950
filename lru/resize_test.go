package lru_test

import (
	"runtime"
	"sync"
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

// TestPause measures how long others are held up while a million entries are
// trimmed. The machine decides much of that, so the test only prints it and
// has a generous limit; see also BenchmarkTrim.
func TestPause(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	const n = 200_000
	c := newCache(t, lru.Options[int, int]{MaxEntries: n})
	for i := range n {
		c.Set(i, i)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var worst time.Duration
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			start := time.Now()
			c.Set(i%n, i)
			c.Get(i % n)
			worst = max(worst, time.Since(start))
		}
	})
	c.Trim(0.5)
	require.NoError(t, c.Resize(n/10, 0))
	close(stop)
	wg.Wait()
	t.Logf("a Set and a Get took at most %v meanwhile", worst)
	require.Less(t, worst, time.Second)
}
