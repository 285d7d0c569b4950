package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

// collect returns the live heap after a full collection.
func collect() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// bytesPerEntry prints what an entry costs beside its 48-byte key and 16-byte
// value: after the cache was filled, and after four more capacities of keys.
func bytesPerEntry() {
	const n = 100_000
	const held = 48 + 16
	fmt.Printf("\nbytes for an entry beside key and value, %d entries\n%-16s %8s %8s\n", n, "", "fresh", "churned")
	each := map[string]float64{}
	for _, cand := range candidates[string]() {
		before := collect()
		c := cand.make(n)
		fill(&c, 0, n)
		fresh := collect() - before
		fill(&c, n, 5*n)
		churned := collect() - before
		fmt.Printf("%-16s %8.1f %8.1f\n", cand.name, float64(fresh)/n-held, float64(churned)/n-held)
		each[cand.name] = float64(churned)/n - held
		c.close()
		runtime.KeepAlive(c)
	}
	own, other := each["plimsoll"], each["otter"]
	summary.Row("memory of an entry beside key and value, after churn", fmt.Sprintf("%.0f B", own), fmt.Sprintf("%.0f B (otter)", other), summary.Less(own, other))
	fmt.Println("(ristretto keeps no key: add 48)")
}

func fill(c *cache[string], from, to int) {
	for i := from; i < to; i++ {
		c.set(uuid(i), &record{})
		if i%16 == 0 {
			c.drain()
		}
	}
	c.drain()
}

// allocations prints what one operation allocates.
func allocations() {
	const n = 20_000
	fmt.Printf("\nallocations (bytes) for one operation\n%-16s %14s %14s %18s\n", "", "hit", "update", "insert and evict")
	keys := make([]string, 4*n)
	for i := range keys {
		keys[i] = uuid(i)
	}
	v := &record{}
	for _, cand := range candidates[string]() {
		c := cand.make(n)
		for i := range n {
			c.set(keys[i], v)
		}
		c.drain()
		hit := count(n/2, func(i int) { c.get(keys[n-1-i]) })
		update := count(n/2, func(i int) { c.set(keys[n-1-i], v) })
		insert := count(3*n, func(i int) { c.set(keys[n+i], v) })
		fmt.Printf("%-16s %14s %14s %18s\n", cand.name, hit, update, insert)
		c.close()
	}
}

func count(n int, f func(i int)) string {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	for i := range n {
		f(i)
	}
	runtime.ReadMemStats(&b)
	return fmt.Sprintf("%.2f (%.0f)", float64(b.Mallocs-a.Mallocs)/float64(n), float64(b.TotalAlloc-a.TotalAlloc)/float64(n))
}

// collector prints the CPU time of one collection with a million entries.
func collector() {
	const n = 1_000_000
	fmt.Printf("\nCPU time of a collection, %d entries, the keys' and values' own included\n%-16s %8s %8s\n", n, "", "med ms", "best ms")
	each := map[string]float64{}
	for _, cand := range candidates[string]() {
		runtime.GC()
		c := cand.make(n)
		fill(&c, 0, n)
		collect()
		var took []float64
		for range 9 {
			before := cpuSeconds()
			runtime.GC()
			took = append(took, 1000*(cpuSeconds()-before))
		}
		each[cand.name] = quantile(took, 0.5)
		fmt.Printf("%-16s %8.1f %8.1f\n", cand.name, each[cand.name], slices.Min(took))
		c.get("")
		c.close()
	}
	own, other := each["plimsoll"], each["otter"]
	summary.Row("CPU time of a garbage collection with a million entries", fmt.Sprintf("%.0f ms", own), fmt.Sprintf("%.0f ms (otter)", other), summary.Less(own, other))
}

// cpuSeconds is what the process has used, whatever else the machine does.
func cpuSeconds() float64 {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
