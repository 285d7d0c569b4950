package main

import (
	"container/heap"
	"fmt"
	"strings"
)

// hitRatios feeds each cache the same streams, one goroutine, with whatever it
// does in the background finished every 16 writes, which is kinder to
// ristretto and theine than real use. The first fifth is not counted.
func hitRatios() {
	sizes := []int{200, 2000, 20_000}
	fmt.Printf("\nhit ratio, %d keys, %d requests, at %v entries\n", streamKeys, streamLen, sizes)
	type row struct {
		name string
		run  func(keys []int, n int) float64
	}
	rows := []row{{"Belady", belady}}
	for _, cand := range candidates[int]() {
		if strings.HasPrefix(cand.name, "otter ") {
			continue // the same policy
		}
		rows = append(rows, row{cand.name, func(keys []int, n int) float64 {
			c := cand.make(n)
			defer c.close()
			return feed(&c, keys)
		}})
	}
	all := streams()
	fmt.Printf("%-16s", "")
	for _, s := range all {
		fmt.Printf(" %-17s", s.name)
	}
	fmt.Println("  mean")
	for _, r := range rows {
		fmt.Printf("%-16s", r.name)
		sum := 0.0
		for _, s := range all {
			for _, n := range sizes {
				ratio := 100 * r.run(s.keys, n)
				sum += ratio
				fmt.Printf(" %5.1f", ratio)
			}
			fmt.Print(" ")
		}
		fmt.Printf(" %6.2f\n", sum/float64(len(all)*len(sizes)))
	}
	fmt.Println("(plimsoll strict is LRU; Belady, which knows the future, need not admit)")
}

func feed(c *cache[int], keys []int) float64 {
	hits, writes := 0, 0
	value := &record{}
	for i, k := range keys {
		if _, ok := c.get(k); ok {
			if i >= len(keys)/5 {
				hits++
			}
			continue
		}
		c.set(k, value)
		if writes++; writes%16 == 0 {
			c.drain()
		}
	}
	return float64(hits) / float64(len(keys)-len(keys)/5)
}

// belady returns the best ratio that any cache of n entries could have: it
// drops what is wanted again last, the newcomer included.
func belady(keys []int, n int) float64 {
	next := make([]int, len(keys))
	last := map[int]int{}
	for i := len(keys) - 1; i >= 0; i-- {
		at, ok := last[keys[i]]
		if !ok {
			at = len(keys) + i
		}
		next[i] = at
		last[keys[i]] = i
	}
	due := map[int]int{} // key to its next use
	var far farthest
	hits := 0
	for i, k := range keys {
		if _, ok := due[k]; ok && i >= len(keys)/5 {
			hits++
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
	return float64(hits) / float64(len(keys)-len(keys)/5)
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
