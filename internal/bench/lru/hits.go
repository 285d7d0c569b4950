package main

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

// hitRatios feeds each cache the same streams, one goroutine, with whatever it
// does in the background finished every 16 writes, which is kinder to
// ristretto and theine than real use. The first fifth of the generated ones is
// not counted.
func hitRatios() {
	sizes := []int{200, 2000, 20_000}
	fmt.Printf("\nhit ratio, %d keys, %d requests, at %v entries\n", streamKeys, streamLen, sizes)
	printHits("mean hit ratio, generated streams", streams(), sizes)
}

// printHits prints a row for each cache.
func printHits(what string, all []stream, sizes []int) {
	type row struct {
		name string
		run  func(s stream, n int) float64
	}
	rows := []row{{"Belady", belady}}
	for _, cand := range candidates[int]() {
		if strings.HasPrefix(cand.name, "otter ") {
			continue // the same policy
		}
		rows = append(rows, row{cand.name, func(s stream, n int) float64 {
			c := cand.make(n)
			defer c.close()
			return feed(&c, s)
		}})
	}
	fmt.Printf("%-16s", "")
	for _, s := range all {
		fmt.Printf(" %-*s", 6*len(sizes)-1, s.name)
	}
	fmt.Println("  mean")
	means := map[string]float64{}
	for _, r := range rows {
		fmt.Printf("%-16s", r.name)
		sum := 0.0
		for _, s := range all {
			for _, n := range sizes {
				ratio := 100 * r.run(s, n)
				sum += ratio
				fmt.Printf(" %5.1f", ratio)
			}
			fmt.Print(" ")
		}
		means[r.name] = sum / float64(len(all)*len(sizes))
		fmt.Printf(" %6.2f\n", means[r.name])
	}
	best := ""
	for name, mean := range means {
		if name != "Belady" && !strings.HasPrefix(name, "plimsoll") && mean > means[best] {
			best = name
		}
	}
	summary.Row(what, fmt.Sprintf("%.1f %%", means["plimsoll"]), fmt.Sprintf("%.1f %% (%s, the best peer)", means[best], best),
		fmt.Sprintf("%+.1f points; LRU %.1f %%, the optimum %.1f %%", means["plimsoll"]-means[best], means["plimsoll strict"], means["Belady"]))
	fmt.Println("(plimsoll strict is LRU; Belady, which knows the future, need not admit)")
}

func feed(c *cache[int], s stream) float64 {
	hits, asked, writes := 0, 0, 0
	value := &record{}
	for i, k := range s.keys {
		if !s.fill(i) {
			_, ok := c.get(k)
			if s.counts(i) {
				asked++
				if ok {
					hits++
				}
			}
			if ok {
				continue
			}
		}
		c.set(k, value)
		if writes++; writes%16 == 0 {
			c.drain()
		}
	}
	return float64(hits) / float64(asked)
}

// belady returns the best ratio that any cache of n entries could have: it
// drops what is wanted again last, the newcomer included.
func belady(s stream, n int) float64 {
	next := make([]int, len(s.keys))
	last := map[int]int{}
	for i, k := range slices.Backward(s.keys) {
		at, ok := last[k]
		if !ok || s.fill(at) {
			at = len(s.keys) + i
		}
		next[i] = at
		last[k] = i
	}
	due := map[int]int{} // key to its next use
	var far farthest
	hits, asked := 0, 0
	for i, k := range s.keys {
		if s.counts(i) {
			asked++
			if _, ok := due[k]; ok {
				hits++
			}
		}
		due[k] = next[i]
		heap.Push(&far, use{k, next[i]})
		for len(due) > n {
			u := heap.Pop(&far).(use)
			if due[u.key] == u.at {
				delete(due, u.key)
			}
		}
	}
	return float64(hits) / float64(asked)
}

type use struct{ key, at int }

// farthest is a heap whose first element is wanted again last. Elements that
// are out of date stay in it until they come up.
type farthest []use

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *farthest) Push(x any)        { *f = append(*f, x.(use)) }
func (f *farthest) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}
