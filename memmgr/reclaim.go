package memmgr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Pressure is what a reclaimer is told.
type Pressure struct {
	// Level is the level now.
	Level Level
	// Ratio is the highest of all sources, 1 being full; Source names it.
	Ratio  float64
	Source string
	// Scale is how far Ratio has come from the beginning of Elevated (0) to
	// the beginning of Critical (1). It is meant for scaling timeouts, cache
	// sizes and the like.
	Scale float64
	// Want is how many bytes are still to be freed to leave the level, after
	// what the reclaimers before this one have freed.
	Want int64
}

// Reclaimer frees memory on request.
type Reclaimer struct {
	// Name appears in Stats and logs. Required.
	Name string

	// At is the level from which it is called. Required: Elevated, High or
	// Critical.
	At Level

	// Cost orders the reclaimers: those that hurt least have the lowest and
	// run first; the rest run only if that was not enough.
	Cost int

	// Timeout is how long one call may take. Default 1 s. A call that takes
	// longer is left behind: the next reclaimer runs, and this one is not
	// called again before it has returned.
	Timeout time.Duration

	// Reclaim frees about p.Want bytes, or what it can, and returns how many
	// it freed. Required. It is called on a goroutine of its own, one call at
	// a time, and should return when ctx ends. A panic counts as an error.
	Reclaim func(ctx context.Context, p Pressure) (freed int64, err error)
}

// ReclaimerStats is what a reclaimer has done.
type ReclaimerStats struct {
	Name      string        // as in Reclaimer
	At        Level         // as in Reclaimer
	Cost      int           // as in Reclaimer
	Calls     uint64        // calls begun
	Freed     int64         // bytes, by its own account
	LastFreed int64         // bytes of the last call that returned
	Last      time.Time     // when the last call began
	Took      time.Duration // how long the last call took
	Errors    uint64        // calls that returned an error or panicked
	Timeouts  uint64        // calls that were left behind
	Skipped   uint64        // rounds that passed it because a call still hung
	Hanging   bool          // whether one hangs now
	LastError string        // the newest error; "" if there was none
}

type reclaimer struct {
	Reclaimer
	done  chan struct{} // closed when the running call returns; nil: none runs
	stats ReclaimerStats
}

// roundState is the watchdog's memory of the reclaimers' rounds.
type roundState struct {
	busy  bool
	count uint64
	end   time.Time
	endGC uint64
	want  int64
	freed int64
	level Level
	waits bool // for a GC, to see what the round has brought
	vain  int  // rounds in a row that freed nothing
}

// pause is the time from one round to the next at the same level. Rounds that
// free nothing become rare, up to one in 64 times as long.
func (r *roundState) pause(every time.Duration) time.Duration {
	return every << min(r.vain, 6)
}

func (r *roundState) waitsForGC(gcs uint64) bool {
	return r.waits && !r.busy && gcs <= r.endGC
}

// OnPressure registers a reclaimer. It returns an error that names every
// fault of r.
func (m *Manager) OnPressure(r Reclaimer) error {
	var errs []error
	if r.Name == "" {
		errs = append(errs, errors.New("memmgr: Reclaimer.Name is empty"))
	}
	if r.At < Elevated || r.At > Critical {
		errs = append(errs, fmt.Errorf("memmgr: Reclaimer.At = %v, want Elevated to Critical", r.At))
	}
	if r.Timeout < 0 {
		errs = append(errs, fmt.Errorf("memmgr: Reclaimer.Timeout = %v, want >= 0", r.Timeout))
	}
	if r.Reclaim == nil {
		errs = append(errs, errors.New("memmgr: Reclaimer.Reclaim is nil"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if r.Timeout == 0 {
		r.Timeout = time.Second
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reclaimers = append(m.reclaimers, &reclaimer{
		Reclaimer: r,
		stats:     ReclaimerStats{Name: r.Name, At: r.At, Cost: r.Cost},
	})
	slices.SortStableFunc(m.reclaimers, func(a, b *reclaimer) int { return cmp.Compare(a.Cost, b.Cost) })
	return nil
}

// pressureLocked sums the readings up.
func (m *Manager) pressureLocked(level Level) Pressure {
	p := Pressure{Level: level}
	leave := m.watch.ladder.thresholds[max(level, Elevated)].Leave
	for i := range m.watch.readings {
		r := &m.watch.readings[i]
		ratio := r.ratio()
		if !r.shed && ratio < r.own.Leave {
			continue
		}
		if ratio > p.Ratio {
			p.Ratio, p.Source = ratio, r.name
		}
		if r.shed && level > Normal {
			// A source that cannot cause this level is measured by the
			// highest that it can cause.
			leave := leave
			if r.cap < level {
				leave = m.watch.ladder.thresholds[r.cap].Leave
			}
			p.Want = max(p.Want, r.used-int64(leave*float64(r.full)))
		}
	}
	p.Scale = min(max((p.Ratio-m.o.Elevated.Enter)/(m.o.Critical.Enter-m.o.Elevated.Enter), 0), 1)
	return p
}

// wantsRoundLocked decides whether the reclaimers run: at once when the level
// has risen, else when the last round has had its effect and was not enough.
func (m *Manager) wantsRoundLocked(now time.Time, a *action) bool {
	r := &m.watch.round
	if a.to == Normal {
		r.waits, r.level, r.vain = false, Normal, 0
		return false
	}
	r.level = min(r.level, a.to)
	if r.busy || a.pressure.Want <= 0 {
		return false
	}
	if !slices.ContainsFunc(m.reclaimers, func(r *reclaimer) bool { return r.At <= a.to }) {
		return false
	}
	rose := a.to > r.level || r.end.IsZero()
	if !rose && (now.Sub(r.end) < r.pause(m.o.ReclaimEvery) || r.waitsForGC(m.watch.sample.GCCycles)) {
		return false
	}
	r.busy, r.level = true, a.to
	return true
}

func (m *Manager) reclaimLoop(r *running) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case p := <-r.rounds:
			m.round(r.ctx, p)
		}
	}
}

// round calls the reclaimers in order of cost until enough is freed.
func (m *Manager) round(ctx context.Context, p Pressure) {
	m.mu.Lock()
	list := slices.Clone(m.reclaimers)
	m.mu.Unlock()
	want, freed := p.Want, int64(0)
	for _, r := range list {
		if freed >= want || ctx.Err() != nil {
			break
		}
		p.Level = max(p.Level, m.Level())
		if r.At > p.Level {
			continue
		}
		p.Want = want - freed
		freed += max(0, m.reclaim(ctx, r, p))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.watch.round
	s.busy = false
	s.count++
	s.end = time.Now()
	s.endGC = m.watch.sample.GCCycles
	s.want, s.freed = want, freed
	s.vain++
	if freed > 0 {
		s.vain = 0
	}
	// The ledger falls at once, the heap only when a cycle has ended.
	s.waits = p.Source != SourceLedger
}

// reclaim calls one reclaimer and waits for it, at most its timeout.
func (m *Manager) reclaim(ctx context.Context, r *reclaimer, p Pressure) (freed int64) {
	done := make(chan struct{})
	m.mu.Lock()
	if r.done != nil {
		r.stats.Skipped++
		m.mu.Unlock()
		return 0
	}
	r.done = done
	start := time.Now()
	r.stats.Calls++
	r.stats.Last = start
	m.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, errTimeout)
	defer cancel()
	go func() {
		defer close(done)
		var n int64
		var err error
		if perr := m.safely("reclaimer "+r.Name, func() { n, err = r.Reclaim(ctx, p) }); perr != nil {
			err = perr
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		r.done = nil
		s := &r.stats
		s.Hanging = false
		s.LastFreed = n
		s.Freed += n
		s.Took = time.Since(start)
		if err != nil {
			s.Errors++
			s.LastError = err.Error()
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done: // both: it came back in time
		default:
			m.mu.Lock()
			hangs := r.done == done && context.Cause(ctx) == errTimeout
			if hangs {
				r.stats.Timeouts++
				r.stats.Hanging = true
			}
			m.mu.Unlock()
			if hangs {
				m.o.Logger.Error("memory reclaimer hangs", "reclaimer", r.Name, "timeout", r.Timeout)
			}
			return 0
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o.Logger.Debug("memory reclaimed", "reclaimer", r.Name, "want", p.Want, "freed", r.stats.LastFreed, "took", r.stats.Took)
	return r.stats.LastFreed
}
