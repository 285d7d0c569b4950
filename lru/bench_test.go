package lru_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/lru"
)

// zipf draws n numbers below keys, number i with a weight of 1/(i+1)^s.
func zipf(s float64, keys, n int) []int {
	r := rand.New(rand.NewPCG(1, 2))
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	out := make([]int, n)
	for i := range out {
		out[i] = sort.SearchFloat64s(sums, r.Float64()*sum)
	}
	return out
}

func uuids(numbers []int) []string {
	keys := make([]string, len(numbers))
	for i, n := range numbers {
		keys[i] = uuid(n)
	}
	return keys
}

// each runs op on all cores with the keys of the stream, a worker from its
// own place on.
func each[K any](b *testing.B, keys []K, op func(k K, i int)) {
	b.ReportAllocs()
	var worker atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		at := int(worker.Add(1)) * 7919 * 31
		for i := 0; pb.Next(); i++ {
			op(keys[(at+i)&(len(keys)-1)], i)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	strings := func(n int) func(*testing.B) {
		return func(b *testing.B) {
			c := newCache(b, lru.Options[string, *record]{MaxEntries: n + n/2, TTL: time.Hour})
			for i := range n {
				c.Set(uuid(i), &record{})
			}
			each(b, uuids(zipf(1.01, n, 1<<18)), func(k string, _ int) { c.Get(k) })
		}
	}
	b.Run("hit/string/100k", strings(100_000))
	b.Run("hit/string/1k", strings(1000))
	b.Run("hit/int/100k", func(b *testing.B) {
		const n = 100_000
		c := newCache(b, lru.Options[int, *record]{MaxEntries: n + n/2, TTL: time.Hour})
		for i := range n {
			c.Set(i, &record{})
		}
		each(b, zipf(1.01, n, 1<<18), func(k, _ int) { c.Get(k) })
	})
	b.Run("hit/strict/100k", func(b *testing.B) {
		const n = 100_000
		c := newCache(b, lru.Options[string, *record]{MaxEntries: n + n/2, TTL: time.Hour, Policy: lru.Strict})
		for i := range n {
			c.Set(uuid(i), &record{})
		}
		each(b, uuids(zipf(1.01, n, 1<<18)), func(k string, _ int) { c.Get(k) })
	})
	b.Run("hit/sliding/100k", func(b *testing.B) {
		const n = 100_000
		c := newCache(b, lru.Options[string, *record]{MaxEntries: n + n/2, TTL: time.Hour, Sliding: true})
		for i := range n {
			c.Set(uuid(i), &record{})
		}
		each(b, uuids(zipf(1.01, n, 1<<18)), func(k string, _ int) { c.Get(k) })
	})
	b.Run("miss", func(b *testing.B) {
		c := newCache(b, lru.Options[int, *record]{MaxEntries: 1000})
		each(b, make([]int, 1<<10), func(k, i int) { c.Get(i) })
	})
}

func BenchmarkSet(b *testing.B) {
	b.Run("replace", func(b *testing.B) {
		const n = 100_000
		c := newCache(b, lru.Options[int, *record]{MaxEntries: n, TTL: time.Hour})
		v := &record{}
		each(b, zipf(1.01, n, 1<<18), func(k, _ int) { c.Set(k, v) })
	})
	b.Run("evict", func(b *testing.B) {
		c := newCache(b, lru.Options[int, *record]{MaxEntries: 100_000, TTL: time.Hour})
		v := &record{}
		var next atomic.Int64
		each(b, make([]int, 1), func(int, int) { c.Set(int(next.Add(1)), v) })
	})
}

func BenchmarkMixed(b *testing.B) {
	b.Run("zipf/75-25", func(b *testing.B) {
		c := newCache(b, lru.Options[string, *record]{MaxEntries: 100_000, TTL: time.Hour})
		v := &record{}
		each(b, uuids(zipf(1.01, 1_000_000, 1<<20)), func(k string, i int) {
			if i&3 == 3 {
				c.Set(k, v)
			} else {
				c.Get(k)
			}
		})
	})
	b.Run("zipf/read-through", func(b *testing.B) {
		c := newCache(b, lru.Options[string, *record]{MaxEntries: 50_000, TTL: time.Hour})
		v := &record{}
		each(b, uuids(zipf(1.01, 1_000_000, 1<<20)), func(k string, _ int) {
			if _, ok := c.Get(k); !ok {
				c.Set(k, v)
			}
		})
		b.ReportMetric(100*c.Stats().HitRate(), "%hits")
	})
}

func BenchmarkGetOrLoad(b *testing.B) {
	load := func(context.Context, int) (*record, error) { return &record{}, nil }
	b.Run("hit", func(b *testing.B) {
		c := newCache(b, lru.Options[int, *record]{MaxEntries: 1000})
		each(b, make([]int, 1), func(int, int) { c.GetOrLoad(context.Background(), 1, load) })
	})
	b.Run("load", func(b *testing.B) {
		c := newCache(b, lru.Options[int, *record]{MaxEntries: 1000})
		var next atomic.Int64
		each(b, make([]int, 1), func(int, int) { c.GetOrLoad(context.Background(), int(next.Add(1)), load) })
	})
}

// BenchmarkBytes reports what an entry costs beside its key and value.
func BenchmarkBytes(b *testing.B) {
	var fresh, churned float64
	for b.Loop() {
		fresh, churned = overheads(b, lru.Options[string, *record]{MaxEntries: 100_000, TTL: time.Hour})
	}
	b.ReportMetric(fresh, "B/entry")
	b.ReportMetric(churned, "B/entry-churned")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTrim takes 60 % of a million entries out, and reports how long one
// hold of a lock took: the median, the 99th percentile, the longest, and the
// longest in the quietest run, which is what the cache itself needs: others are
// longer because the machine did something else meanwhile.
func BenchmarkTrim(b *testing.B) {
	for _, p := range []lru.Policy{lru.Adaptive, lru.Strict} {
		b.Run([]string{"adaptive", "strict"}[p], func(b *testing.B) {
			const n = 1_000_000
			var holds []time.Duration
			quiet := time.Duration(math.MaxInt64)
			for b.Loop() {
				b.StopTimer()
				c := newCache(b, lru.Options[int, *record]{MaxEntries: n, Policy: p})
				v := &record{}
				for i := range n {
					c.Set(i, v)
				}
				b.StartTimer()
				run := c.TrimHolds(0.6)
				quiet = min(quiet, slices.Max(run))
				holds = append(holds, run...)
			}
			slices.Sort(holds)
			us := func(d time.Duration) float64 { return float64(d) / 1000 }
			b.ReportMetric(us(holds[len(holds)/2]), "µs/median")
			b.ReportMetric(us(holds[len(holds)*99/100]), "µs/p99")
			b.ReportMetric(us(holds[len(holds)-1]), "µs/longest")
			b.ReportMetric(us(quiet), "µs/quiet-longest")
		})
	}
}
