package memmgr

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
)

// TuneOptions says what Tune may change. The zero value changes the memory
// limit only.
type TuneOptions struct {
	// Limit is how many bytes the process may occupy. Default the cgroup's.
	Limit int64

	// Ratio is the part of Limit that the Go runtime is to stay under.
	// Default 0.9.
	Ratio float64

	// Outside is how many bytes of Limit are used outside the Go runtime:
	// socket buffers (see SocketBytes), page cache of what is written, page
	// tables, C. Default 12 MiB, at most a fifth of Limit, and 1/32 of Limit:
	// a server with SQLite under attack had 13 MiB outside Go at a limit of
	// 64. Negative: none.
	Outside int64

	// GOGC, if set, is the percentage to set, at least 25: with less, the
	// collector spends more than it saves. 0 leaves GOGC alone, except that
	// GOGC=off becomes 100: without it the heap always grows to the limit, and
	// no figure tells garbage from need.
	GOGC int

	// Logger is told what was changed. Nil is silent.
	Logger *slog.Logger
}

// Tuning is what Tune found and did.
type Tuning struct {
	Limit         int64 // of the process, in bytes
	GoLimit       int64 // GOMEMLIMIT now
	PreviousLimit int64 // GOMEMLIMIT before; math.MaxInt64 if none
	GOGC          int   // the percentage now; -1 off
	PreviousGOGC  int
	// Corrected says that a GOMEMLIMIT was set which the process could not
	// have kept, because it was above what Tune computed.
	Corrected bool
}

// Undo sets the runtime back to what it was before Tune.
func (t Tuning) Undo() {
	debug.SetMemoryLimit(t.PreviousLimit)
	debug.SetGCPercent(t.PreviousGOGC)
}

// Tune sets the runtime's memory limit to what the cgroup and all its
// ancestors leave, times Ratio, less Outside. A GOMEMLIMIT below that is kept;
// one above it is lowered, which the result and the log say. Nothing else in
// this package changes the runtime. Errors are ErrNoLimit and those of wrong
// options; the runtime is then as it was.
func Tune(o TuneOptions) (Tuning, error) {
	return tune(o, "/")
}

func tune(o TuneOptions, root string) (Tuning, error) {
	var errs []error
	if o.Limit < 0 {
		errs = append(errs, fmt.Errorf("memmgr: TuneOptions.Limit = %d, want >= 0", o.Limit))
	}
	if o.Ratio == 0 {
		o.Ratio = 0.9
	}
	if !(0 < o.Ratio && o.Ratio <= 1) {
		errs = append(errs, fmt.Errorf("memmgr: TuneOptions.Ratio = %v, want 0 to 1", o.Ratio))
	}
	if o.GOGC != 0 && o.GOGC < 25 {
		errs = append(errs, fmt.Errorf("memmgr: TuneOptions.GOGC = %d, want >= 25, or 0", o.GOGC))
	}
	if err := errors.Join(errs...); err != nil {
		return Tuning{}, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	limit := o.Limit
	if limit == 0 {
		var err error
		if limit, err = cgroupLimit(root); err != nil {
			return Tuning{}, err
		}
	}
	outside := max(o.Outside, 0)
	if o.Outside == 0 {
		outside = min(12<<20, limit/5) + limit/32
	}
	want := int64(float64(limit)*o.Ratio) - outside
	if want < 4<<20 {
		return Tuning{}, fmt.Errorf("memmgr: TuneOptions: %d bytes are left for Go, want at least 4 MiB", want)
	}
	t := Tuning{Limit: limit, PreviousLimit: debug.SetMemoryLimit(-1)}
	t.GoLimit = min(want, t.PreviousLimit)
	t.Corrected = t.PreviousLimit > want && t.PreviousLimit != math.MaxInt64
	debug.SetMemoryLimit(t.GoLimit)

	// Reading GOGC means setting it.
	t.PreviousGOGC = debug.SetGCPercent(100)
	t.GOGC = t.PreviousGOGC
	switch {
	case o.GOGC != 0:
		t.GOGC = o.GOGC
	case t.GOGC < 0:
		t.GOGC = 100
	}
	debug.SetGCPercent(t.GOGC)
	if t.Corrected {
		o.Logger.Warn("GOMEMLIMIT was above what the process may use", "was", t.PreviousLimit, "now", t.GoLimit, "limit", limit)
	}
	o.Logger.Info("runtime tuned", "limit", limit, "gomemlimit", t.GoLimit, "gogc", t.GOGC)
	return t, nil
}
