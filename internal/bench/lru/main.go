// Command lru compares package lru with the caches that Go programs use, all
// in one process and interleaved, so that what the machine does to one it does
// to the others:
//
//	go run ./lru              everything, about eight minutes
//	go run ./lru -only speed  or bytes, allocs, gc, hits
//
// Ratios are otter / candidate: 2.0 is twice as fast as otter. Medians and the
// fastest tenth of many short slices are printed.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

var (
	only   = flag.String("only", "speed,bytes,allocs,gc,hits", "parts to run, separated by commas")
	rounds = flag.Int("rounds", 25, "slices of each candidate and workload")
	peers  = flag.String("peers", "", "only these candidates, separated by commas")
	match  = flag.String("match", "", "only workloads whose name contains this")
)

func main() {
	flag.Parse()
	fmt.Printf("%s %s/%s, %d cores\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	parts := map[string]func(){
		"speed": speed, "bytes": bytesPerEntry, "allocs": allocations, "gc": collector, "hits": hitRatios,
	}
	for name := range strings.SplitSeq(*only, ",") {
		part := parts[name]
		if part == nil {
			fmt.Fprintln(os.Stderr, "no such part:", name)
			os.Exit(2)
		}
		part()
	}
}
