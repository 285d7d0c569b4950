package compress

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

var rounds = flag.Int("rounds", 25, "rounds in which all peers take turns; their median counts")

// A goal is what our coding is to be beside a peer's, in one run: so many
// times as fast, at no more than so much of its bytes.
type goal struct {
	ours, peer string
	fast, size float64
}

var goals = []goal{
	{"plimsoll br", "CAFxX br 4", 6, 1},
	{"plimsoll br", "CAFxX br default", 8, 1.03},
	{"plimsoll br", "gzhttp gzip default", 1, 0.96},
	{"plimsoll gzip", "gzhttp gzip default", 1, 1.01},
	{"plimsoll zstd", "gzhttp zstd default", 1, 1.005},
}

type result struct {
	took   time.Duration
	out    int
	allocs float64
}

// measure lets all peers take turns, each a number of times, and returns the
// median of each.
func measure(all []peer, body body, rounds, each int) map[string]result {
	times := make([][]time.Duration, len(all))
	handlers := make([]http.Handler, len(all))
	for i, p := range all {
		handlers[i] = p.wrap(serves(body))
	}
	w := &sink{h: http.Header{}}
	serve := func(i int, r *http.Request) {
		clear(w.h)
		w.n = 0
		handlers[i].ServeHTTP(w, r)
	}
	for range rounds {
		for i, p := range all {
			r := request(p.accept)
			serve(i, r) // whose caches were another's
			start := time.Now()
			for range each {
				serve(i, r)
			}
			times[i] = append(times[i], time.Since(start)/time.Duration(each))
		}
	}
	results := make(map[string]result)
	for i, p := range all {
		slices.Sort(times[i])
		r := request(p.accept)
		allocs := testing.AllocsPerRun(20, func() { serve(i, r) })
		results[p.name] = result{times[i][rounds/2], w.n, allocs}
	}
	return results
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "MISSED"
}

// TestTable prints the time and the bytes of an answer for each peer, as the
// median of rounds in which all take turns, and then target and figure of
// each goal. It fails only for allocations, which do not depend on the
// machine's mood.
func TestTable(t *testing.T) {
	for _, body := range bodies {
		all := peers()
		results := measure(all, body, *rounds, max(3, 100_000/len(body.bytes)))
		var table strings.Builder
		for _, p := range all {
			r := results[p.name]
			fmt.Fprintf(&table, "%-24s %9.1f us %8d B %6.0f allocs\n", p.name, micros(r.took), r.out, r.allocs)
		}
		fmt.Fprintf(&table, "%-38s %18s   %18s\n", "", "times as fast", "of the bytes")
		for _, g := range goals {
			a, b := results[g.ours], results[g.peer]
			fast, size := float64(b.took)/float64(a.took), float64(a.out)/float64(b.out)
			fmt.Fprintf(&table, "%-14s / %-20s >= %4.2f: %5.2f %-7s   <= %.3f: %.3f %s\n", g.ours, g.peer, g.fast, fast, verdict(fast >= g.fast), g.size, size, verdict(size <= g.size))
		}
		handler := results["identity"].allocs // of the handler itself
		for _, ours := range []string{"plimsoll br", "plimsoll gzip", "plimsoll zstd"} {
			extra := results[ours].allocs - handler
			fmt.Fprintf(&table, "%-14s allocations of a response beside the handler's <= 1: %.0f %s\n", ours, extra, verdict(extra <= 1))
			if extra > 1 {
				t.Errorf("%s, %s: %.0f allocations", body.name, ours, extra)
			}
		}
		t.Logf("%s, %d bytes\n%s", body.name, len(body.bytes), table.String())
		for _, g := range []goal{goals[0], goals[2]} {
			a, b := results[g.ours], results[g.peer]
			summary.Row("brotli, "+body.name, fmt.Sprintf("%.0f µs, %d B", micros(a.took), a.out),
				fmt.Sprintf("%.0f µs, %d B (%s)", micros(b.took), b.out, g.peer), summary.Faster(micros(a.took), micros(b.took)))
		}
	}
}

// TestTablePassing is for bodies that nobody should touch.
func TestTablePassing(t *testing.T) {
	picture := body{"JPEG", "image/jpeg", make([]byte, 49152)}
	all := peers()
	for i := range all {
		all[i].accept = "gzip, deflate, br, zstd"
	}
	results := measure(all, picture, *rounds, 20)
	var table strings.Builder
	for _, p := range all {
		r := results[p.name]
		fmt.Fprintf(&table, "%-24s %9.2f us %8d B %6.0f allocs\n", p.name, micros(r.took), r.out, r.allocs)
	}
	extra := results["plimsoll br"].allocs - results["identity"].allocs
	t.Logf("a picture, %d bytes\n%sallocations beside the handler's <= 0: %.0f %s", len(picture.bytes), table.String(), extra, verdict(extra <= 0))
	if extra > 0 {
		t.Errorf("%.0f allocations to pass a picture on", extra)
	}
}

// TestTableHostile asks with an Accept-Encoding of 64 KB.
func TestTableHostile(t *testing.T) {
	small := body{"tiny", "application/json", []byte("{}")}
	all := peers()[1:]
	for i := range all {
		all[i].accept = strings.Repeat("gzip;q=0.1,", 6000)
	}
	results := measure(all, small, *rounds/4+1, 2)
	var table strings.Builder
	for _, p := range all {
		fmt.Fprintf(&table, "%-24s %9.1f us\n", p.name, micros(results[p.name].took))
	}
	took := results["plimsoll br"].took
	t.Logf("Accept-Encoding of %d bytes\n%s<= 50 us: %v %s", len(all[0].accept), table.String(), took, verdict(took <= 50*time.Microsecond))
}
