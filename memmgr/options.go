package memmgr

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options configures New. It is copied and not changed later.
type Options struct {
	// Limit is how many bytes the process may occupy in all: Go heap,
	// stacks, kernel socket buffers, C. 0 takes the cgroup's limit; New fails
	// if there is none either.
	Limit int64

	// Budget is how many bytes the accounts may hand out together. Default
	// Limit/2: the collector needs room beside live data, and starts to
	// spiral when that is above some 60 % of the limit. At most Limit.
	Budget int64

	// Accounts divide the budget. Required, at least one. The minima may not
	// sum up to more than Budget.
	Accounts []AccountOptions

	// Elevated, High and Critical are where the levels begin and end. Default
	// 0.70/0.60, 0.80/0.70, 0.90/0.80. Each must be left below where it is
	// entered, and they must rise.
	Elevated, High, Critical Threshold

	// Hold is how long every source must stay below a level's Leave before it
	// is left. Two levels are left at least half of it apart. Default 1 s.
	Hold time.Duration

	// Calm and Busy are the times between two samples: Busy above Normal, from
	// half of the limit on, and while what the runtime holds grows by more than
	// a hundredth of the limit from one to the next; Calm otherwise. Default
	// 300 ms and 10 ms; the kernel's files are read every 100 ms at most. A
	// wake-up of an idle process costs a hundred times what a sample does, so
	// Calm is what the watchdog costs while nothing happens. It need not be
	// short: the end of a GC cycle, which comes soon where memory grows, brings
	// a sample at once.
	Calm, Busy time.Duration

	// Sources are further measures to follow beside the built-in ones, such
	// as memory of a C library.
	Sources []Source

	// SocketLimit, if set, is how many bytes of kernel socket memory are
	// full. It is compared with the cgroup's own figure or, where that is not
	// accounted (cgroup v1 without kmem.tcp), with that of the whole host: set
	// it only where the host is this server's.
	SocketLimit int64

	// CollectEvery is the least time between two garbage collections that the
	// watchdog itself asks for: to confirm that a level can be left and to
	// return garbage when the total comes near the limit. They never take
	// more than a twentieth of the time. Default 500 ms; negative: never.
	CollectEvery time.Duration

	// ReclaimEvery is the least time between two rounds of the reclaimers
	// while a level lasts. Default 250 ms. Rounds that free nothing become
	// rarer, down to one in 64 times as long.
	ReclaimEvery time.Duration

	// OnStuck, if set, is called once per episode, on a goroutine of its own,
	// when the level is critical and a round of all reclaimers, confirmed by a
	// GC cycle, has not lowered it.
	OnStuck func(StuckReport)

	// GiveUpAfter, if set, makes Run return an error that wraps ErrStuck when
	// the level has been stuck at critical for so long: the caller drains and
	// exits, rather than refusing work for ever.
	GiveUpAfter time.Duration

	// NoGCTrigger leaves out the sample at the end of each GC cycle. It is for
	// tests inside a testing/synctest bubble, which the collector cannot
	// enter.
	NoGCTrigger bool

	// Logger receives level changes, corrections, sweeps that found something,
	// and faults. Nil is silent.
	Logger *slog.Logger

	root string // where /proc and /sys are; tests set it
}

// AccountOptions describes one account.
type AccountOptions struct {
	// Name is what Manager.Account finds it by. Required, unique.
	Name string

	// Min bytes are this account's alone: granted at every level, even when
	// all others have used up the rest. Default 0.
	Min int64

	// Max is the most it may hold. Default the budget.
	Max int64

	// FreezeAt is the level from which the account may not grow beyond Min or
	// what it held when the level was entered, whichever is more. Default
	// Critical; Never for the calls that are to suffer last.
	FreezeAt Level

	// OffHeap says that what is counted is not Go heap, but kernel or C
	// memory.
	OffHeap bool
}

// Source is a measure of the caller's own.
type Source struct {
	// Name is required and must not be that of another source.
	Name string

	// Read returns what is used and what would be full, in any one unit. It
	// is called at each sample on the watchdog's goroutine and must return at
	// once.
	Read func() (used, full int64)

	// Max is the highest level that the source can cause. Default Critical.
	Max Level
}

// withDefaults fills in the defaults and reports every fault at once.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("memmgr: "+format, args...))
	}
	if o.root == "" {
		o.root = "/"
	}
	if o.Limit == 0 {
		limit, err := cgroupLimit(o.root)
		if err != nil {
			bad("Options.Limit = 0 and no limit found (%w): want a number of bytes > 0", err)
		}
		o.Limit = limit
	}
	if o.Limit < 0 || o.Limit > maxBytes {
		bad("Options.Limit = %d, want 1 to %d", o.Limit, int64(maxBytes))
	}
	if o.Budget == 0 {
		o.Budget = o.Limit / 2
	}
	if o.Budget < 0 || o.Budget > o.Limit {
		bad("Options.Budget = %d, want 1 to Limit (%d)", o.Budget, o.Limit)
	}
	if len(o.Accounts) == 0 {
		bad("Options.Accounts is empty, want at least one")
	}
	accounts := make([]AccountOptions, len(o.Accounts))
	names := map[string]bool{}
	var minima int64
	for i, a := range o.Accounts {
		if a.Name == "" || names[a.Name] {
			bad("Options.Accounts[%d].Name = %q, want a unique name", i, a.Name)
		}
		names[a.Name] = true
		if a.Max == 0 {
			a.Max = o.Budget
		}
		if a.Max < 0 || a.Max > o.Budget {
			bad("Options.Accounts[%d].Max = %d, want 1 to Budget (%d)", i, a.Max, o.Budget)
		}
		if a.Min < 0 || a.Min > a.Max {
			bad("Options.Accounts[%d].Min = %d, want 0 to Max (%d)", i, a.Min, a.Max)
		} else {
			minima += min(a.Min, maxBytes)
		}
		if a.FreezeAt == 0 {
			a.FreezeAt = Critical
		}
		if a.FreezeAt < Elevated || a.FreezeAt > Never {
			bad("Options.Accounts[%d].FreezeAt = %d, want Elevated to Critical, or Never", i, a.FreezeAt)
		}
		accounts[i] = a
	}
	o.Accounts = accounts
	if minima > o.Budget {
		bad("Options.Accounts: the minima sum up to %d, want at most Budget (%d)", minima, o.Budget)
	}
	last := Threshold{}
	for _, t := range []struct {
		name  string
		t     *Threshold
		deflt Threshold
	}{
		{"Elevated", &o.Elevated, Threshold{0.70, 0.60}},
		{"High", &o.High, Threshold{0.80, 0.70}},
		{"Critical", &o.Critical, Threshold{0.90, 0.80}},
	} {
		if *t.t == (Threshold{}) {
			*t.t = t.deflt
		}
		if !(0 < t.t.Leave && t.t.Leave < t.t.Enter && t.t.Enter <= 1) {
			bad("Options.%s = %v, want 0 < Leave < Enter <= 1", t.name, *t.t)
		} else if t.t.Enter <= last.Enter || t.t.Leave < last.Leave {
			bad("Options.%s = %v, want it above %v", t.name, *t.t, last)
		}
		last = *t.t
	}
	duration := func(name string, d *time.Duration, deflt time.Duration) {
		if *d == 0 {
			*d = deflt
		}
		if *d < 0 {
			bad("Options.%s = %v, want > 0", name, *d)
		}
	}
	duration("Hold", &o.Hold, time.Second)
	duration("Calm", &o.Calm, 300*time.Millisecond)
	duration("Busy", &o.Busy, 10*time.Millisecond)
	duration("ReclaimEvery", &o.ReclaimEvery, 250*time.Millisecond)
	if o.Busy > o.Calm {
		bad("Options.Busy = %v, want at most Calm (%v)", o.Busy, o.Calm)
	}
	if o.CollectEvery == 0 {
		o.CollectEvery = 500 * time.Millisecond
	}
	if o.GiveUpAfter < 0 {
		bad("Options.GiveUpAfter = %v, want >= 0", o.GiveUpAfter)
	}
	if o.SocketLimit < 0 {
		bad("Options.SocketLimit = %d, want >= 0", o.SocketLimit)
	}
	sources := make([]Source, len(o.Sources))
	names = map[string]bool{
		SourceLedger: true, SourceHeap: true, SourceNeeded: true,
		SourceCgroup: true, SourceTotal: true, SourceSockets: true,
	}
	for i, s := range o.Sources {
		if s.Name == "" || names[s.Name] {
			bad("Options.Sources[%d].Name = %q, want a unique name", i, s.Name)
		}
		names[s.Name] = true
		if s.Read == nil {
			bad("Options.Sources[%d].Read is nil", i)
		}
		if s.Max == 0 {
			s.Max = Critical
		}
		if s.Max < Elevated || s.Max > Critical {
			bad("Options.Sources[%d].Max = %d, want Elevated to Critical", i, s.Max)
		}
		sources[i] = s
	}
	o.Sources = sources
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}
