//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// relays has messages relayed: ordinary ones, then session descriptions.
func (f figures) relays(r *remote, c *load, total int) error {
	for _, kind := range []struct {
		name  string
		relay func(total int) error
	}{{"relay", c.relay}, {"offer", c.offer}} {
		r.phase(kind.name)
		cpu, began := r.ask("/cpu"), time.Now()
		if err := kind.relay(total); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
		f[kind.name+" rate"] = float64(total) / time.Since(began).Seconds()
		f[kind.name] = (r.ask("/cpu") - cpu) / float64(total)
	}
	r.phase("")
	return nil
}

// turn is how many messages of each kind a server relays before the next does.
// What else the machine has to do is then the same for all of them.
const turn, turns = 20000, 5

// takeTurns has the servers run beside each other and relay in turn.
func takeTurns(names []string, n, times int) runs {
	all := runs{}
	for i := range times {
		fmt.Fprintf(os.Stderr, "\rrun %d of %d", i+1, times)
		if err := all.round(names, n); err != nil {
			fmt.Fprintf(os.Stderr, "\n%v\n", err)
		}
	}
	return all
}

// round starts the servers and adds the figures of their turns.
func (all runs) round(names []string, n int) error {
	type side struct {
		name   string
		server *remote
		client *load
	}
	var sides []side
	for _, name := range names {
		r, _, _, err := begin(name, false, usual)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer r.stop()
		c, err := connect(r.addr, name, n, false)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer c.close()
		sides = append(sides, side{name, r, c})
	}
	for range turns {
		slices.Reverse(sides) // who comes after whom
		figure := map[string]figures{}
		for _, s := range sides {
			s.client.pause(5 * time.Millisecond) // pings that came meanwhile
			figure[s.name] = figures{}
			if err := figure[s.name].relays(s.server, s.client, turn); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		for name, f := range figure {
			all[name] = append(all[name], f)
		}
	}
	return nil
}

// report prints what was relayed in turns, with its ratios to raw: the median
// of all turns, and between which two the middle half of them lies.
func (all runs) report(names []string) {
	all.relays(names)
	for _, name := range names {
		for _, what := range []string{"relay", "offer"} {
			var ratios []float64
			for i, raw := range all["raw"] {
				ratios = append(ratios, all[name][i][what]/raw[what])
			}
			if name == "raw" || len(ratios) == 0 {
				continue
			}
			slices.Sort(ratios)
			k := len(ratios)
			fmt.Printf("%s of %s, over raw: %.2f (%d turns, half of them %.2f to %.2f, all %.2f to %.2f)\n",
				what, name, ratios[k/2], k, ratios[k/4], ratios[k*3/4], ratios[0], ratios[k-1])
		}
	}
}

// relays prints what it takes to relay a message from one socket to another.
func (all runs) relays(names []string) {
	all.table("Relayed from one socket to another: µs of CPU, and how many a second. Plimsoll checks both members, and every offer", names, []column{
		{"relay", "a KiB of JSON", "%.1f"}, {"relay rate", "a second", "%.0f"}, {"offer", "an SDP offer of a KiB", "%.1f"}, {"offer rate", "a second", "%.0f"},
	})
}
