package memmgr

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/memmgr/memmgrtest"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("PLIMSOLL_MODE"); mode != "" {
		os.Exit(producer(mode))
	}
	os.Exit(m.Run())
}

const mark = 0.7 // of the limit: where all of them are told to stop

var modes = []struct{ name, what string }{
	{"ledger", "memmgr: Reserve before each buffer"},
	{"watchdog", "memmgr: the level alone, nothing reserved"},
	{"poll10ms", "poll every 10 ms"},
	{"poll100ms", "poll every 100 ms"},
	{"poll1s", "poll every second"},
	{"automemlimit", "automemlimit: GOMEMLIMIT = 0.9 of the cgroup, nothing is refused"},
	{"gomemlimit", "GOMEMLIMIT = 0.9 of the limit, nothing is refused"},
}

// producer is a server in small, in overload: two goroutines keep buffers of
// 64 KiB as fast as they can, unless the mode says no. It lasts 1.5 s.
func producer(mode string) int {
	limit, err := memmgr.CgroupLimit()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if mode == "automemlimit" {
		if _, err := memlimit.Set(memlimit.WithRatio(0.9)); err != nil {
			fmt.Println(err)
			return 1
		}
	} else {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
	threshold := int64(mark * float64(limit))
	admit := func() bool { return true }
	switch mode {
	case "ledger":
		m, err := memmgr.New(memmgr.Options{
			Limit: limit, Budget: threshold - total(), // what runs already is not handed out
			Accounts: []memmgr.AccountOptions{{Name: "buffers", FreezeAt: memmgr.Never}},
		})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		acc := m.Account("buffers")
		admit = func() bool { return acc.Reserve(64<<10) == nil }
	case "watchdog":
		m, err := memmgr.New(memmgr.Options{
			Limit: limit, Accounts: []memmgr.AccountOptions{{Name: "unused"}},
			Elevated: memmgr.Threshold{Enter: mark, Leave: 0.6},
		})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		go m.Run(context.Background())
		admit = func() bool { return m.Level() == memmgr.Normal }
	case "poll10ms", "poll100ms", "poll1s":
		every, _ := time.ParseDuration(strings.TrimPrefix(mode, "poll"))
		var closed atomic.Bool
		go func() {
			for range time.Tick(every) {
				closed.Store(total() >= threshold)
			}
		}()
		admit = func() bool { return !closed.Load() }
	}
	stop := time.Now().Add(1500 * time.Millisecond)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var held [][]byte
			for time.Now().Before(stop) {
				if !admit() {
					time.Sleep(time.Millisecond)
					continue
				}
				b := make([]byte, 64<<10)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				held = append(held, b)
			}
			_ = held
		})
	}
	wg.Wait()
	return 0
}

func total() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// TestOvershoot prints how far each goes beyond the mark, as the kernel
// counts it: the median and the worst of the runs, and how many were killed.
// It fails only if the ledger's process is killed.
func TestOvershoot(t *testing.T) {
	runs := 5
	if testing.Short() {
		runs = 1
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-70s %10s %10s %10s\n", "", "killed", "median", "worst")
	for _, limit := range []int64{64 << 20, 256 << 20} {
		fmt.Fprintf(&table, "limit %d MiB, told to stop at %d MiB: overshoot in MiB\n", limit>>20, int64(mark*float64(limit))>>20)
		over := make(map[string][]float64)
		killed := make(map[string]int)
		for range runs { // all of them, one after the other, in each round
			for _, mode := range modes {
				t.Run(fmt.Sprintf("%s/%d", mode.name, limit>>20), func(t *testing.T) {
					cg := memmgrtest.New(t, limit)
					cmd := cg.Command(exe)
					cmd.Env = append(os.Environ(), "PLIMSOLL_MODE="+mode.name)
					var out bytes.Buffer
					cmd.Stdout, cmd.Stderr = &out, &out
					err := cmd.Run()
					v := cg.Verdict()
					if err != nil && v.OOMKills == 0 {
						t.Fatalf("%v: %s", err, out.String())
					}
					if v.OOMKills > 0 {
						killed[mode.name]++
					}
					over[mode.name] = append(over[mode.name], float64(v.Peak)/(1<<20)-mark*float64(limit)/(1<<20))
				})
			}
		}
		for _, mode := range modes {
			o := over[mode.name]
			if len(o) == 0 {
				continue // left out by -run
			}
			slices.Sort(o)
			if mode.name != "ledger" {
				own, ratio := over["ledger"], "below the mark"
				if most := own[len(own)/2]; most > 0 {
					ratio = summary.Less(most, o[len(o)/2])
				}
				summary.Row(fmt.Sprintf("overshoot beyond %d MiB of %d, beside %s", int64(mark*float64(limit))>>20, limit>>20, mode.what),
					fmt.Sprintf("%.1f MiB, %d of %d killed", own[len(own)/2], killed["ledger"], len(own)),
					fmt.Sprintf("%.1f MiB, %d of %d killed", o[len(o)/2], killed[mode.name], len(o)), ratio)
			}
			fmt.Fprintf(&table, "  %-68s %6d of %d %10.1f %10.1f\n", mode.what, killed[mode.name], len(o), o[len(o)/2], o[len(o)-1])
		}
		if killed["ledger"] > 0 {
			t.Errorf("limit %d MiB: the ledger's process was killed", limit>>20)
		}
	}
	t.Log(table.String())
}
