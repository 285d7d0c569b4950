//go:build linux

package main

import (
	"fmt"
	"slices"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
)

// report prints medians, and what is asked of the hub.
func report(names []string, all runs, n, times int) {
	median := func(name, column string) (float64, bool) { return all.median(name, column) }
	table := func(title string, columns []column) { all.table(title, names, columns) }
	fmt.Printf("%d sockets, a server on one core, medians of %d.\n\n", n, times)
	table("Memory of a socket, KiB of RSS after a collection, unless it says otherwise", []column{
		{"idle", "idle", "%.2f"}, {"live", "live heap and stack", "%.2f"}, {"natural", "idle, not collected", "%.2f"},
		{"exchanged", "after a KiB each way", "%.2f"}, {"after", "after all of it", "%.2f"}, {"deflate memory", "more with deflate", "%.2f"},
	})
	table("Broadcasts of a KiB: deliveries a second and µs of CPU for one", []column{
		{"single rate", "one", "%.0f"}, {"single", "µs", "%.2f"}, {"burst rate", "sixteen at once", "%.0f"}, {"burst", "µs", "%.2f"},
		{"peak", "peak, MiB more", "%.1f"}, {"deflate rate", "one, deflated", "%.0f"}, {"deflate", "µs", "%.2f"},
	})
	table("One socket at a time, µs of CPU", []column{
		{"handshake", "handshake", "%.0f"}, {"ping", "pings every 25 s, a second", "%.2f"},
	})

	all.relays(names)
	if len(all["plimsoll"]) == 0 {
		return
	}
	fmt.Println("What is asked of plimsoll")
	fmt.Println()
	say := func(what string, is, want float64, least bool) {
		verdict := "reached"
		if is > want && !least || is < want && least {
			verdict = "MISSED"
		}
		sign := "<="
		if least {
			sign = ">="
		}
		fmt.Printf("%-50s %10.2f  %s %-10.6g %s\n", what, is, sign, want, verdict)
	}
	is := func(name, column string) float64 { x, _ := median(name, column); return x }
	over := func(name, a, other, b string) float64 {
		x, _ := median(name, a)
		y, ok := median(other, b)
		if !ok || y == 0 {
			return 0
		}
		return x / y
	}
	say("idle, KiB", is("plimsoll", "idle"), 2.5, false)
	if _, ok := median("plimsoll-portable", "idle"); ok {
		say("idle in the portable mode, KiB", is("plimsoll-portable", "idle"), 5, false)
	}
	say("after an exchange, over idle", over("plimsoll", "exchanged", "plimsoll", "idle"), 1.1, false)
	if _, ok := median("raw", "single"); ok {
		say("CPU of one broadcast, over raw writes", over("plimsoll", "single", "raw", "single"), 1.15, false)
		say("CPU of a KiB relayed, over raw", over("plimsoll", "relay", "raw", "relay"), 1.35, false)
		fmt.Printf("%-50s %10.2f\n", "CPU of an offer relayed and checked, over raw", over("plimsoll", "offer", "raw", "offer"))
	}
	say("bursts, deliveries/s", is("plimsoll", "burst rate"), 600000, true)
	best, cheapest := 0.0, 0.0
	for _, name := range names {
		if x, ok := median(name, "burst rate"); ok && !noPeer[name] {
			best = max(best, x)
			if c := is(name, "burst"); cheapest == 0 || c < cheapest {
				cheapest = c
			}
		}
	}
	if best > 0 {
		say("bursts, over the best peer", is("plimsoll", "burst rate")/best, 8, true)
		say("bursts, CPU of the best peer over ours", cheapest/is("plimsoll", "burst"), 8, true)
	}
	for _, c := range []struct{ what, name, format string }{
		{"an idle socket, KiB of RSS", "idle", "%.1f"}, {"CPU of one delivery of a broadcast, µs", "single", "%.1f"},
		{"CPU of one delivery of sixteen at once, µs", "burst", "%.1f"},
	} {
		peer, least := "", 0.0
		for _, name := range names {
			x, ok := median(name, c.name)
			if ok && !noPeer[name] && (peer == "" || x < least) {
				peer, least = name, x
			}
		}
		if own := is("plimsoll", c.name); peer != "" {
			summary.Row(c.what, fmt.Sprintf(c.format, own), fmt.Sprintf(c.format+" (%s, the best peer)", least, peer), summary.Less(own, least))
		}
	}
	say("bursts, peak, MiB", is("plimsoll", "peak"), 5, false)
	say("CPU of a deflated broadcast, over a plain one", over("plimsoll", "deflate", "plimsoll", "single"), 1.2, false)
	// None: two processes differ by more than this without it.
	say("memory of deflate, KiB", is("plimsoll", "deflate memory"), 0.05, false)
	say("pings every 25 s, µs of CPU a second", is("plimsoll", "ping"), 2, false)
	say("handshake, µs of CPU", is("plimsoll", "handshake"), 100, false)
}

// runs are the figures of each server's runs.
type runs map[string][]figures

// median returns the median of a column of a server, if it has any.
func (all runs) median(name, column string) (float64, bool) {
	var v []float64
	for _, f := range all[name] {
		if x, ok := f[column]; ok {
			v = append(v, x)
		}
	}
	if len(v) == 0 {
		return 0, false
	}
	slices.Sort(v)
	return v[len(v)/2], true
}

func (all runs) table(title string, names []string, columns []column) {
	fmt.Printf("%s\n\n| server |", title)
	for _, c := range columns {
		fmt.Printf(" %s |", c.head)
	}
	fmt.Print("\n|---|")
	for range columns {
		fmt.Print("---|")
	}
	fmt.Println()
	for _, name := range names {
		fmt.Printf("| %s |", name)
		for _, c := range columns {
			if x, ok := all.median(name, c.name); ok {
				fmt.Printf(" "+c.format+" |", x)
			} else {
				fmt.Print(" – |")
			}
		}
		fmt.Println()
	}
	fmt.Println()
}

// column is one of a table: the figure's name, what stands above it, its form.
type column struct{ name, head, format string }

// noPeer are the servers that plimsoll is not compared with as with a peer.
var noPeer = map[string]bool{"raw": true, "raw-joined": true, "plimsoll": true, "plimsoll-portable": true}
