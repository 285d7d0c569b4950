package memmgr

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// StuckReport says what holds the memory when nothing can lower it.
type StuckReport struct {
	Since    time.Time // when the level became critical
	Pressure Pressure
	Sample   Sample

	// Wanted and Freed are those of the last round of the reclaimers.
	Wanted, Freed int64

	// Accounts are sorted by what they have grown since the level was last
	// normal, most first.
	Accounts []AccountGrowth

	// Unaccounted is how much Sample.Needed is above what the accounts hold:
	// if it is large, the memory is where no account counts it, and Sites
	// says where.
	Unaccounted int64

	// Sites are the allocation sites of the heap profile that have grown most
	// since Run began; at most ten, and none if profiling is off
	// (runtime.MemProfileRate = 0).
	Sites []Site
}

// AccountGrowth is one account in a StuckReport, in bytes.
type AccountGrowth struct {
	Name         string
	Used, Growth int64
}

// Site is one allocation site, in bytes as the heap profile estimates them.
type Site struct {
	Func         string // the function that allocated
	Line         string // file:line
	Used, Growth int64
}

// StuckError is what Run returns after Options.GiveUpAfter. It wraps ErrStuck.
type StuckError struct {
	Report StuckReport
}

// Error says since when, and what grew.
func (e *StuckError) Error() string {
	what := "nothing that is accounted"
	if a := e.Report.Accounts; len(a) > 0 && a[0].Growth > e.Report.Unaccounted {
		what = "account " + a[0].Name
	} else if s := e.Report.Sites; len(s) > 0 {
		what = s[0].Func
	}
	return fmt.Sprintf("%v since %v: %s holds the memory", ErrStuck, e.Report.Since.Format(time.RFC3339), what)
}

// Unwrap returns ErrStuck.
func (e *StuckError) Unwrap() error { return ErrStuck }

// stuckState is the watchdog's memory of being critical.
type stuckState struct {
	level     Level     // of the sample before
	entered   time.Time // when the level became critical
	enteredGC uint64
	rounds    uint64 // rounds before that
	since     time.Time
	episodes  uint64
	report    *StuckReport
	profile   map[siteKey]int64 // the heap profile when Run began
}

type siteKey [4]uintptr

// stuckAfter is how long the level is critical before it can be stuck. A burst
// is over by then.
const stuckAfter = 500 * time.Millisecond

// stuckLocked decides whether the level is stuck: critical, because of a
// source that shedding should lower, although a GC cycle has ended since and
// the reclaimers, if there are any, have had their round.
func (m *Manager) stuckLocked(now time.Time, a *action) {
	w := &m.watch
	s := &w.stuck
	gcs := w.sample.GCCycles
	if a.to < Critical {
		s.since, s.report, s.entered = time.Time{}, nil, time.Time{}
		s.level = a.to
		return
	}
	if s.level < Critical {
		s.entered, s.enteredGC, s.rounds = now, gcs, w.round.count
	}
	s.level = a.to
	if s.since.IsZero() {
		if gcs <= s.enteredGC || now.Sub(s.entered) < stuckAfter || !m.overLocked() {
			return
		}
		if len(m.reclaimers) > 0 {
			r := &w.round
			if r.count <= s.rounds || r.busy || gcs <= r.endGC || r.freed >= r.want/2 {
				return
			}
		}
		s.since = now
		s.episodes++
		s.report = m.stuckReportLocked(a.pressure)
		a.stuck = s.report
	}
	if m.o.GiveUpAfter > 0 && now.Sub(s.since) >= m.o.GiveUpAfter {
		a.giveUp = &StuckError{Report: *s.report}
	}
}

// overLocked reports whether a source that shedding lowers keeps the level.
func (m *Manager) overLocked() bool {
	for i := range m.watch.readings {
		r := &m.watch.readings[i]
		if r.shed && r.cap == Critical && r.ratio() >= m.o.Critical.Leave {
			return true
		}
	}
	return false
}

func (m *Manager) stuckReportLocked(p Pressure) *StuckReport {
	w := &m.watch
	rep := &StuckReport{
		Since: w.stuck.entered, Pressure: p, Sample: w.sample,
		Wanted: w.round.want, Freed: w.round.freed,
		Unaccounted: max(0, w.sample.Needed-w.sample.Reserved),
	}
	for _, a := range m.ledger.accounts {
		used := a.Used()
		rep.Accounts = append(rep.Accounts, AccountGrowth{a.name, used, used - a.baseline})
	}
	slices.SortStableFunc(rep.Accounts, func(a, b AccountGrowth) int { return cmp.Compare(b.Growth, a.Growth) })
	return rep
}

// reportStuck reads the heap profile and tells the caller.
func (m *Manager) reportStuck(r *running, rep StuckReport) {
	r.wg.Go(func() {
		m.mu.Lock()
		base := m.watch.stuck.profile
		m.mu.Unlock()
		rep.Sites = topSites(base, 10)
		m.mu.Lock()
		if cur := m.watch.stuck.report; cur != nil {
			cur.Sites = rep.Sites
		}
		m.mu.Unlock()
		site := ""
		if len(rep.Sites) > 0 {
			site = rep.Sites[0].Func + " " + rep.Sites[0].Line
		}
		m.o.Logger.Error("memory is stuck at critical",
			"pressure", rep.Pressure.Ratio, "source", rep.Pressure.Source,
			"account", rep.Accounts[0].Name, "growth", rep.Accounts[0].Growth,
			"unaccounted", rep.Unaccounted, "site", site)
		if m.o.OnStuck != nil {
			m.safely("OnStuck", func() { m.o.OnStuck(rep) })
		}
	})
}

// heapProfile returns the live bytes of each allocation site, as of the last
// two GC cycles; nil when profiling is off. It is bounded: of more than 10000
// sites it sees none.
func heapProfile() []runtime.MemProfileRecord {
	n, _ := runtime.MemProfile(nil, false)
	if n == 0 || n > 10000 {
		return nil
	}
	for range 3 {
		records := make([]runtime.MemProfileRecord, n+64)
		got, ok := runtime.MemProfile(records, false)
		if ok {
			return records[:got]
		}
		n = got
	}
	return nil
}

func keyOf(r *runtime.MemProfileRecord) siteKey { return siteKey(r.Stack0[:len(siteKey{})]) }

// noteProfile keeps what was allocated before.
func (m *Manager) noteProfile() {
	base := map[siteKey]int64{}
	for _, r := range heapProfile() {
		base[keyOf(&r)] += r.InUseBytes()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch.stuck.profile = base
}

func topSites(base map[siteKey]int64, n int) []Site {
	sum := map[siteKey]int64{}
	stacks := map[siteKey][]uintptr{}
	for _, r := range heapProfile() {
		k := keyOf(&r)
		sum[k] += r.InUseBytes()
		if stacks[k] == nil {
			stacks[k] = slices.Clone(r.Stack())
		}
	}
	keys := make([]siteKey, 0, len(sum))
	for k := range sum {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b siteKey) int { return cmp.Compare(sum[b]-base[b], sum[a]-base[a]) })
	var out []Site
	for _, k := range keys[:min(n, len(keys))] {
		site := Site{Used: sum[k], Growth: sum[k] - base[k]}
		frames := runtime.CallersFrames(stacks[k])
		for {
			f, more := frames.Next()
			site.Func, site.Line = f.Function, fmt.Sprintf("%s:%d", f.File, f.Line)
			if !more || !isRuntime(f.Function) {
				break
			}
		}
		out = append(out, site)
	}
	return out
}

func isRuntime(name string) bool {
	return len(name) > 8 && name[:8] == "runtime."
}
