package memmgr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Sweep is a job that runs every so often to remove what has expired.
type Sweep struct {
	// Name appears in Stats and logs. Required.
	Name string

	// Every is the time from the end of a run to the next. Default 5 min.
	Every time.Duration

	// Jitter is added to Every, anew each time, between 0 and this, so that
	// sweeps and processes do not all run at once. Default Every/10; negative:
	// none.
	Jitter time.Duration

	// Timeout ends the context of a run. Default Every.
	Timeout time.Duration

	// AtLevel is the level whose beginning makes the sweep run at once.
	// Default Critical; Never for a sweep that frees no memory.
	AtLevel Level

	// Run does the work and says what it did, also beside an error. Required.
	// Two runs of the same sweep never overlap. A panic counts as an error.
	Run func(ctx context.Context) (SweepResult, error)
}

// SweepResult is what one run of a sweep did.
type SweepResult struct {
	Examined, Archived, Deleted int64 // records
	Freed                       int64 // bytes, as far as known
}

func (r *SweepResult) add(o SweepResult) {
	r.Examined += o.Examined
	r.Archived += o.Archived
	r.Deleted += o.Deleted
	r.Freed += o.Freed
}

// SweepStats is what a sweep has done.
type SweepStats struct {
	Name      string        // as in Sweep
	Running   bool          // whether a run is under way
	Runs      uint64        // runs that ended
	Errors    uint64        // of them with an error or a panic
	Total     SweepResult   // of all runs
	LastRun   SweepResult   // of the last run
	Last      time.Time     // when the last run began
	Took      time.Duration // how long it took
	LastError string        // of the last run; "" if it went well
}

type sweep struct {
	Sweep
	kick  chan struct{}
	done  chan struct{} // closed when the run ends; nil: none runs
	stats SweepStats
}

func (s *sweep) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// AddSweep registers a sweep, to be run while Run does. It returns an error
// that names every fault of s.
func (m *Manager) AddSweep(s Sweep) error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("memmgr: Sweep.Name is empty"))
	}
	if s.Run == nil {
		errs = append(errs, errors.New("memmgr: Sweep.Run is nil"))
	}
	if s.Every < 0 {
		errs = append(errs, fmt.Errorf("memmgr: Sweep.Every = %v, want >= 0", s.Every))
	}
	if s.Timeout < 0 {
		errs = append(errs, fmt.Errorf("memmgr: Sweep.Timeout = %v, want >= 0", s.Timeout))
	}
	if s.AtLevel < 0 || s.AtLevel > Never {
		errs = append(errs, fmt.Errorf("memmgr: Sweep.AtLevel = %v, want Elevated to Critical, or Never", s.AtLevel))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if s.Every == 0 {
		s.Every = 5 * time.Minute
	}
	if s.Jitter == 0 {
		s.Jitter = s.Every / 10
	}
	if s.Timeout == 0 {
		s.Timeout = s.Every
	}
	if s.AtLevel == 0 {
		s.AtLevel = Critical
	}
	sw := &sweep{Sweep: s, kick: make(chan struct{}, 1), stats: SweepStats{Name: s.Name}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweeps = append(m.sweeps, sw)
	if r := m.run; r != nil && r.ctx.Err() == nil {
		r.wg.Go(func() { m.sweepLoop(r, sw) })
	}
	return nil
}

// SweepNow runs all sweeps, one after the other, on the caller's goroutine,
// and returns the sum of their results and their errors joined. A sweep that
// runs already is waited for instead of being run again.
func (m *Manager) SweepNow(ctx context.Context) (SweepResult, error) {
	m.mu.Lock()
	sweeps := m.sweeps
	m.mu.Unlock()
	var sum SweepResult
	var errs []error
	for _, s := range sweeps {
		res, err := m.sweep(ctx, s)
		sum.add(res)
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", s.Name, err))
		}
	}
	return sum, errors.Join(errs...)
}

func (m *Manager) sweepLoop(r *running, s *sweep) {
	for {
		wait := s.Every
		if s.Jitter > 0 {
			wait += rand.N(s.Jitter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-r.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.kick:
			timer.Stop()
		}
		m.sweep(r.ctx, s)
	}
}

// sweep runs s once, or waits for the run that is under way.
func (m *Manager) sweep(ctx context.Context, s *sweep) (SweepResult, error) {
	m.mu.Lock()
	if under := s.done; under != nil {
		m.mu.Unlock()
		select {
		case <-under:
			return SweepResult{}, nil
		case <-ctx.Done():
			return SweepResult{}, ctx.Err()
		}
	}
	done := make(chan struct{})
	s.done = done
	start := time.Now()
	s.stats.Running, s.stats.Last = true, start
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	defer context.AfterFunc(m.base, cancel)()
	var res SweepResult
	var err error
	if perr := m.safely("sweep "+s.Name, func() { res, err = s.Run(ctx) }); perr != nil {
		err = perr
	}
	took := time.Since(start)

	m.mu.Lock()
	s.done = nil
	st := &s.stats
	st.Running = false
	st.Runs++
	st.Took, st.LastRun = took, res
	st.Total.add(res)
	st.LastError = ""
	if err != nil {
		st.Errors++
		st.LastError = err.Error()
	}
	m.mu.Unlock()
	close(done)
	did := []any{"sweep", s.Name, "archived", res.Archived, "deleted", res.Deleted, "freed", res.Freed, "took", took}
	switch {
	case err != nil:
		m.o.Logger.Error("memory sweep", append(did, "error", err)...)
	case res.Archived > 0 || res.Deleted > 0 || res.Freed > 0:
		m.o.Logger.Info("memory sweep", did...)
	default: // a sweep that runs every second shall not fill the log
		m.o.Logger.Debug("memory sweep", did...)
	}
	return res, err
}
