package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

// workload is a stream of look-ups and what is done on a miss.
type workload[K key] struct {
	name     string
	capacity int
	resident int // keys that are there before it starts
	keys     func(r *rand.Rand) []int
	step     func(c *cache[K], k K, v *record, n int) (hit bool)
}

func get[K key](c *cache[K], k K, _ *record, _ int) bool {
	_, ok := c.get(k)
	return ok
}

func getOrSet[K key](c *cache[K], k K, v *record, _ int) bool {
	_, ok := c.get(k)
	if !ok {
		c.set(k, v)
	}
	return ok
}

func mixed[K key](c *cache[K], k K, v *record, n int) bool {
	if n%4 == 3 {
		c.set(k, v)
		return true
	}
	_, ok := c.get(k)
	return ok
}

const slice = 300_000 // operations of one worker

func speed() {
	hits := func(r *rand.Rand) []int { return zipf(r, 1.01, 100_000, 1<<19) }
	hot := func(r *rand.Rand) []int { return zipf(r, 1.01, 1000, 1<<19) }
	wide := func(r *rand.Rand) []int { return zipf(r, 1.01, 1_000_000, 1<<20) }
	for s := range strings.SplitSeq(*cpus, ",") {
		cores, err := strconv.Atoi(s)
		check(err)
		if cores > runtime.NumCPU() {
			continue
		}
		runtime.GOMAXPROCS(cores)
		run(cores, workload[string]{"hits, 100k uuid keys", 140_000, 100_000, hits, get[string]}, uuid)
		run(cores, workload[int]{"hits, 100k integers", 140_000, 100_000, hits, get[int]}, scramble)
		run(cores, workload[string]{"hits, a hot thousand", 1400, 1000, hot, get[string]}, uuid)
		run(cores, workload[string]{"75 % get, 25 % set, 1M keys", 100_000, 100_000, wide, mixed[string]}, uuid)
		run(cores, workload[string]{"read-through, 1M keys", 50_000, 50_000, wide, getOrSet[string]}, uuid)
	}
}

func run[K key](cores int, w workload[K], keyOf func(int) K) {
	if !strings.Contains(w.name, *match) {
		return
	}
	r := rand.New(rand.NewPCG(3, 4))
	numbers := w.keys(r)
	keys := make([]K, len(numbers)) // copies, not the stored keys
	for i, n := range numbers {
		keys[i] = keyOf(n)
	}
	value := &record{}
	all := candidates[K]()
	caches := make([]cache[K], len(all))
	for i, cand := range all {
		caches[i] = cand.make(w.capacity)
		for n := range w.resident {
			caches[i].set(keyOf(n), &record{})
			if n%16 == 0 {
				caches[i].drain()
			}
		}
		caches[i].drain()
	}
	runtime.GC()
	took := make([][]float64, len(all))
	hits := make([]int, len(all))
	order := r.Perm(len(all))
	at := make([]int, len(all))
	for round := range *rounds + 3 {
		for _, i := range order {
			d, h := runSlice(cores, &caches[i], keys, &at[i], w.step, value)
			if round >= 3 { // the first warm the caches
				took[i] = append(took[i], d)
				hits[i] += h
			}
		}
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	fmt.Printf("\n%s, %d core(s)\n%-16s %8s %8s %9s %9s %7s\n", w.name, cores, "", "med ns", "p10 ns", "x med", "x p10", "hits")
	base := max(0, slices.IndexFunc(all, func(c candidate[K]) bool { return c.name == "otter" }))
	med, p10 := quantile(took[base], 0.5), quantile(took[base], 0.1)
	for i, cand := range all {
		m, p := quantile(took[i], 0.5), quantile(took[i], 0.1)
		ops := *rounds * slice * cores
		fmt.Printf("%-16s %8.1f %8.1f %9.2f %9.2f %6.1f%%\n", cand.name, m, p, med/m, p10/p, 100*float64(hits[i])/float64(ops))
		caches[i].close()
	}
	if all[0].name == "plimsoll" && all[base].name == "otter" {
		own := quantile(took[0], 0.5)
		summary.Row(fmt.Sprintf("%s, %d core(s)", w.name, cores), fmt.Sprintf("%.0f ns", own), fmt.Sprintf("%.0f ns (otter)", med), summary.Faster(own, med))
	}
}

// runSlice runs one slice on each core and returns wall time per operation.
func runSlice[K key](cores int, c *cache[K], keys []K, at *int, step func(*cache[K], K, *record, int) bool, v *record) (float64, int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	mask := len(keys) - 1 // a power of two; a division costs as much as half a look-up
	begin := time.Now()
	for worker := range cores {
		from := *at + worker*len(keys)/cores
		wg.Go(func() {
			hits := 0
			for n := range slice {
				if step(c, keys[(from+n)&mask], v, n) {
					hits++
				}
			}
			mu.Lock()
			total += hits
			mu.Unlock()
		})
	}
	wg.Wait()
	*at = (*at + slice) % len(keys)
	return float64(time.Since(begin)) / float64(slice*cores), total
}

func quantile(in []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(in))
	return s[int(q*float64(len(s)-1)+0.5)]
}
