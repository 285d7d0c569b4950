package hostile

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// attacked is how long each size is attacked, in CI too.
const attacked = 2 * time.Minute

// TestHostile attacks the server at each size for two minutes. By hand, for ten
// minutes each, half an hour in all:
//
//	PLIMSOLL_HOSTILE=10m go test ./examples/speeddating/hostile -run TestHostile -v -timeout 45m
//
// -run TestHostile/64MiB is one size. Server and attackers share the machine's
// cores: what else runs there belongs to the attack.
func TestHostile(t *testing.T) {
	length := attacked
	if testing.Short() {
		length = 5 * time.Second
	}
	if v := os.Getenv("PLIMSOLL_HOSTILE"); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		require.NoError(t, err)
	}
	deflated()
	gzipped()
	largePNG()
	exe := build(t)
	for _, mib := range []int64{64, 128, 256} {
		t.Run(fmt.Sprintf("%dMiB", mib), func(t *testing.T) { hostile(t, exe, mib<<20, length) })
	}
}

func hostile(t *testing.T, exe string, limit int64, length time.Duration) {
	s := start(t, exe, limit)
	call := meet(t, s)
	before, err := s.health()
	require.NoError(t, err)

	watch, stopWatch := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopWatch()
	var probe prober
	wg.Go(func() { probe.run(watch, s) })
	wg.Go(func() { call.talk(watch) })
	// What the server was at when it was at its worst.
	var worst health
	wg.Go(func() {
		for watch.Err() == nil {
			if h, err := s.health(); err == nil && h.Memory.Pressure >= worst.Memory.Pressure {
				worst = h
			}
			pause(watch, 500*time.Millisecond)
		}
	})

	attack, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	done := rampage(attack, s, os.Getenv("PLIMSOLL_HOSTILE_ONLY"))

	time.Sleep(5 * time.Second)
	after, healthErr := s.health()
	in, refused := newcomers(t.Context(), s, 100)
	time.Sleep(time.Second) // for the last line of the call
	stopWatch()
	wg.Wait()

	v := s.cgroup.Verdict()
	p50, p99, max := probe.percentiles()
	sent, came, late, events := call.verdict()
	t.Logf("%v of: %v\n"+
		"  kernel:    %v\n"+
		"  healthz:   %d asked, failed %d on new and %d on kept connections, p50 %v, p99 %v, worst %v\n"+
		"  call:      %d of %d lines and candidates arrived, the latest after %v; %d incidents %.300q\n"+
		"  5 s after: level %s (%.2f by %s), %d of 100 newcomers got in %q\n"+
		"  before:    level %s (%.2f by %s), live %d MiB, Go %d MiB, anonymous %d MiB",
		length, done, v, len(probe.took), len(probe.failed[0]), len(probe.failed[1]), p50.Round(time.Millisecond/10), p99.Round(time.Millisecond/10), max.Round(time.Millisecond),
		came, sent, late.Round(time.Millisecond), len(events), events,
		after.Memory.Level, after.Memory.Pressure, after.Memory.Source, in, refused,
		before.Memory.Level, before.Memory.Pressure, before.Memory.Source,
		before.Memory.Sample.Live>>20, before.Memory.Sample.GoTotal>>20, before.Memory.Sample.AnonRSS>>20)
	t.Logf("at its worst: %.2f by %s, %d level changes, live %d MiB, Go %d MiB, fixed %d MiB, anonymous %d MiB, reserved %d MiB",
		worst.Memory.Pressure, worst.Memory.Source, after.Memory.Changes, worst.Memory.Sample.Live>>20, worst.Memory.Sample.GoTotal>>20,
		worst.Memory.Sample.GoFixed>>20, worst.Memory.Sample.AnonRSS>>20, worst.Memory.Sample.Reserved>>20)
	for _, a := range after.Memory.Accounts {
		t.Logf("  account %-12s now %8d peak %8d of %9d KiB, refused: %d budget, %d own maximum, %d pressure; over-released %d",
			a.Name, a.Used>>10, a.Peak>>10, a.Max>>10, a.RefusedBudget, a.RefusedMax, a.RefusedPressure, a.OverReleased)
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		t.Errorf("the server has ended: %v\n%s", err, &s.log)
	default:
	}
	check := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf(format, args...)
		}
	}
	check(v.OOMKills == 0, "oom_kill %d", v.OOMKills)
	// Inactive page cache is no need of the server's: the kernel drops it
	// before it refuses or kills. Active page cache counts.
	check(v.PeakWorking <= limit*92/100, "peak %d of %d bytes, inactive page cache not counted", v.PeakWorking, limit)
	// Without a listener of their own, new connections of probes compete with
	// the attackers' for what is accepted. Three failures in a row are what
	// orchestrators call dead by default.
	check(len(probe.took) > 0 && len(probe.failed[1]) == 0, "/healthz failed on a kept connection: %.200q", probe.failed[1])
	check(probe.worst < 3 && (!s.apart || len(probe.failed[0]) == 0), "/healthz failed on new connections, up to %d times in a row: %.200q", probe.worst, probe.failed[0])
	check(came == sent, "%d of %d lines and candidates of the call arrived", came, sent)
	check(len(events) == 0, "the call saw %.300q", events)
	check(healthErr == nil && after.Memory.Level == "normal", "level %q 5 s after (%v)", after.Memory.Level, healthErr)
	check(in == 100, "%d of 100 newcomers got in: %q", in, refused)
	for _, a := range after.Memory.Accounts {
		check(a.OverReleased == 0, "account %s: %d bytes were released that were never reserved", a.Name, a.OverReleased)
	}
}
