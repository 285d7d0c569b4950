package compress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTable prints the time and the bytes of an answer for each peer, as the
// median of rounds in which all take turns, and what they come to against
// the peers that matter. It fails only when bytes or allocations, which do
// not depend on the machine's mood, miss their goals.
func TestTable(t *testing.T) {
	const rounds = 15
	type result struct {
		took   time.Duration
		out    int
		allocs float64
	}
	for _, body := range bodies {
		results := make(map[string]result)
		all := peers()
		times := make([][]time.Duration, len(all))
		handlers := make([]http.Handler, len(all))
		for i, p := range all {
			handlers[i] = p.wrap(serves(body))
		}
		w := &sink{h: http.Header{}}
		each := max(3, 400_000/len(body.bytes)/4)
		for range rounds {
			for i, p := range all {
				r := request(p.accept)
				start := time.Now()
				for range each {
					clear(w.h)
					handlers[i].ServeHTTP(w, r)
				}
				times[i] = append(times[i], time.Since(start)/time.Duration(each))
			}
		}
		var table strings.Builder
		for i, p := range all {
			slices.Sort(times[i])
			r := request(p.accept)
			allocs := testing.AllocsPerRun(20, func() {
				clear(w.h)
				w.n = 0
				handlers[i].ServeHTTP(w, r)
			})
			results[p.name] = result{times[i][rounds/2], w.n, allocs}
			fmt.Fprintf(&table, "%-24s %9.1f us %8d B %6.0f allocs\n", p.name, float64(times[i][rounds/2].Nanoseconds())/1e3, w.n, allocs)
		}
		faster := func(a, b string) {
			x, y := results[a], results[b]
			fmt.Fprintf(&table, "%s against %s: %.2f times as fast, %.3f of the bytes\n", a, b, float64(y.took)/float64(x.took), float64(x.out)/float64(y.out))
		}
		faster("plimsoll br", "CAFxX br 4")
		faster("plimsoll br", "CAFxX br default")
		faster("plimsoll br", "gzhttp gzip default")
		faster("plimsoll gzip", "gzhttp gzip default")
		faster("plimsoll zstd", "gzhttp zstd default")
		t.Logf("%s, %d bytes\n%s", body.name, len(body.bytes), table.String())
	}
}
