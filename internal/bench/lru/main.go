// Command lru compares package lru with the caches that Go programs use, all
// in one process and interleaved, so that what the machine does to one it does
// to the others:
//
//	go run ./lru                         everything, about eight minutes
//	go run ./lru -only speed -cpu 1,2    or bytes, allocs, gc, hits, traces
//	go run ./lru -only traces -traces F  replays these files
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
	only   = flag.String("only", "speed,bytes,allocs,gc,hits,traces", "parts to run, separated by commas")
	rounds = flag.Int("rounds", 25, "slices of each candidate and workload")
	peers  = flag.String("peers", "", "only these candidates, separated by commas")
	traces = flag.String("traces", "", "files to replay instead of the public trace, separated by commas")
	sizes  = flag.String("sizes", "250,500,1000,1500,2000", "entries at which traces are replayed")
	cpus   = flag.String("cpu", "1,2", "numbers of cores to measure speed at, separated by commas")
	match  = flag.String("match", "", "only workloads whose name contains this")
)

func main() {
	flag.Parse()
	fmt.Printf("%s %s/%s, %d cores\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	parts := map[string]func(){
		"speed": speed, "bytes": bytesPerEntry, "allocs": allocations, "gc": collector, "hits": hitRatios, "traces": replay,
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
