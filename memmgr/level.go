package memmgr

import (
	"fmt"
	"time"
)

// Level says how close the process is to its limit. Higher is worse.
type Level int32

// The levels. Each is entered by a single sample above its Enter threshold
// and left, one level at a time, only after a hold below its Leave threshold
// and a finished GC cycle.
const (
	Normal Level = iota
	Elevated
	High
	Critical

	levels = 4

	// Never is above every level: what waits for it does not happen.
	Never Level = levels
)

// String returns the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Normal:
		return "normal"
	case Elevated:
		return "elevated"
	case High:
		return "high"
	case Critical:
		return "critical"
	case Never:
		return "never"
	}
	return fmt.Sprintf("level(%d)", int32(l))
}

// MarshalText writes the level's name, as in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Threshold is where a level begins and where it ends, as fractions of what a
// source regards as full. The gap between the two is what keeps noise from
// changing the level.
type Threshold struct {
	Enter, Leave float64
}

// reading is what one source says at one moment.
type reading struct {
	name  string
	used  int64
	full  int64
	floor Level // the source says nothing below this level …
	cap   Level // … and nothing above this one
	shed  bool  // shedding work lowers it

	own Threshold // if set, in place of the levels' thresholds
}

func (r *reading) threshold(all *[levels]Threshold, lv Level) Threshold {
	if r.own.Enter > 0 {
		return r.own
	}
	return all[lv]
}

func (r *reading) ratio() float64 {
	if r.full <= 0 {
		return 0
	}
	return float64(r.used) / float64(r.full)
}

// ladder is the state machine behind Level: readings in, level out. It has no
// clock and no lock of its own.
type ladder struct {
	thresholds [levels]Threshold // [Normal] is unused
	hold       time.Duration

	level   Level
	changed time.Time // when the level changed last

	// Of each level: since when every source has been under its Leave, zero
	// while one is not, and how many GC cycles had finished then.
	below   [levels]time.Time
	belowGC [levels]uint64
}

// step takes one sample and returns the level after it. gcs is the number of
// GC cycles that have finished: a level is not left on figures that no
// collection has confirmed.
func (l *ladder) step(now time.Time, readings []reading, gcs uint64) Level {
	var over [levels]bool
	enter := Normal
	for i := range readings {
		r := &readings[i]
		ratio := r.ratio()
		for lv := max(r.floor, Elevated); lv <= r.cap; lv++ {
			t := r.threshold(&l.thresholds, lv)
			if ratio >= t.Enter {
				enter = max(enter, lv)
			}
			if ratio >= t.Leave {
				over[lv] = true
			}
		}
	}
	for lv := Elevated; lv <= Critical; lv++ {
		if over[lv] {
			l.below[lv] = time.Time{}
		} else if l.below[lv].IsZero() {
			l.below[lv], l.belowGC[lv] = now, gcs
		}
	}
	switch {
	case enter > l.level:
		l.level, l.changed = enter, now
	case l.level > Normal && l.heldBelow(now) && gcs > l.belowGC[l.level]:
		l.level, l.changed = l.level-1, now
	}
	return l.level
}

// heldBelow reports whether the level has been held long enough to leave it:
// its own figures have been good for the hold, and the step before it was
// half of that ago.
func (l *ladder) heldBelow(now time.Time) bool {
	below := l.below[l.level]
	return !below.IsZero() && now.Sub(below) >= l.hold && now.Sub(l.changed) >= l.hold/2
}

// waitsForGC reports whether only a finished GC keeps the level from falling.
func (l *ladder) waitsForGC(now time.Time, gcs uint64) bool {
	return l.level > Normal && l.heldBelow(now) && gcs == l.belowGC[l.level]
}
