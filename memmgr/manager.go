package memmgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Manager hands out a budget and watches the process that uses it. All
// methods may be called from any goroutine. New starts none: Run is the
// watchdog and owns, until it returns, one goroutine for the reclaimers, one
// for collections and one per sweep. Accounts work without Run, but the level
// then stays normal.
type Manager struct {
	o      Options
	ledger *ledger
	byName map[string]*Account

	level     atomic.Int32
	refuse    atomic.Uint32 // share of new work to refuse, of 1<<16
	refused   atomic.Uint64
	admission *LimitError

	base context.Context // ends with Shutdown
	stop context.CancelFunc

	mu         sync.Mutex // guards what is below
	run        *running
	ended      chan struct{} // closed when the last Run has returned
	watch      watch
	reclaimers []*reclaimer
	sweeps     []*sweep
	onLevel    []func(from, to Level)
}

// running is one Run.
type running struct {
	ctx     context.Context
	wg      sync.WaitGroup
	rounds  chan Pressure // to the reclaimers' goroutine
	collect chan bool     // to the collector's; true returns memory to the system
	gcDone  chan struct{} // from the end of each GC cycle
}

// New returns a Manager, or an error that names every fault of o.
func New(o Options) (*Manager, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		o:         o,
		ledger:    newLedger(o.Budget, o.Accounts),
		byName:    make(map[string]*Account, len(o.Accounts)),
		admission: &LimitError{What: "admission", Reason: ReasonPressure, RetryAfter: 2 * time.Second},
	}
	for _, a := range m.ledger.accounts {
		m.byName[a.name] = a
	}
	m.base, m.stop = context.WithCancel(context.Background())
	m.watch.ladder = ladder{
		thresholds: [levels]Threshold{Elevated: o.Elevated, High: o.High, Critical: o.Critical},
		hold:       o.Hold,
	}
	m.watch.readings = make([]reading, 0, 6+len(o.Sources))
	return m, nil
}

// Account returns the account of that name. It panics if Options named none,
// because a program that asks for an account nobody declared is wrong.
func (m *Manager) Account(name string) *Account {
	a := m.byName[name]
	if a == nil {
		panic(fmt.Sprintf("memmgr: no account %q in Options.Accounts", name))
	}
	return a
}

// Limit returns the bytes that the process may occupy in all.
func (m *Manager) Limit() int64 { return m.o.Limit }

// Level returns the level of the last sample.
func (m *Manager) Level() Level { return Level(m.level.Load()) }

// Admit says whether to begin new work: nil, or a *LimitError that wraps
// ErrOverload. Below High it always admits. From there on it refuses a share
// that grows with the pressure, up to all at Critical. It is one atomic load
// while all is well; health checks and the work of those who are already in
// should not ask.
func (m *Manager) Admit() error {
	if share := m.refuse.Load(); share > 0 && rand.Uint32()>>16 < share {
		m.refused.Add(1)
		return m.admission
	}
	return nil
}

// OnLevel registers f to be called after each change of the level, on the
// watchdog's goroutine: it must not block.
func (m *Manager) OnLevel(f func(from, to Level)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onLevel = append(m.onLevel, f)
}

// Run watches until ctx ends or Shutdown is called, and returns nil then. It
// returns ErrRunning if it runs already, and an error wrapping ErrStuck after
// Options.GiveUpAfter. When it returns, none of its goroutines is left, except
// those of reclaimers and sweeps that do not heed their context; Shutdown
// waits for them.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.base, func() { cancel(nil) })()

	r := &running{
		ctx:     ctx,
		rounds:  make(chan Pressure, 1), // one at most is under way
		collect: make(chan bool, 1),
		gcDone:  make(chan struct{}, 1),
	}
	done := make(chan struct{})
	defer close(done)
	m.mu.Lock()
	if m.run != nil {
		m.mu.Unlock()
		return ErrRunning
	}
	m.run, m.ended = r, done
	sweeps := m.sweeps
	m.watch.round.busy, m.watch.collected.busy, m.watch.more = false, false, false
	m.mu.Unlock()
	defer func() {
		cancel(nil)
		r.wg.Wait()
		m.mu.Lock()
		m.run = nil
		m.watch.ladder.level = Normal
		m.mu.Unlock()
		m.applyLevel(Normal) // nobody would lower it any more
	}()

	s := newSampler(m.o.root)
	s.sockets = m.o.SocketLimit > 0
	defer s.close()
	r.wg.Go(func() { m.reclaimLoop(r) })
	r.wg.Go(func() { m.collectLoop(r) })
	r.wg.Go(m.noteProfile)
	for _, sw := range sweeps {
		r.wg.Go(func() { m.sweepLoop(r, sw) })
	}
	if !m.o.NoGCTrigger {
		armGCTrigger(ctx, r.gcDone)
	}
	m.checkRuntime()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.gcDone:
		case <-timer.C:
		}
		next := time.Duration(0)
		for next == 0 {
			now := time.Now()
			m.mu.Lock()
			act := m.stepLocked(s, now)
			m.mu.Unlock()
			if err := m.act(r, act); err != nil {
				return err
			}
			next = act.next
		}
		timer.Reset(next)
	}
}

// Shutdown ends Run, cancels reclaimers and sweeps and waits for them; if ctx
// ends first it returns its error, and what did not heed its context is still
// running. Accounts go on working, so that what is released late is counted.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.stop()
	m.mu.Lock()
	done := m.ended
	var wait []<-chan struct{}
	for _, r := range m.reclaimers {
		if r.done != nil {
			wait = append(wait, r.done)
		}
	}
	for _, s := range m.sweeps {
		if s.done != nil {
			wait = append(wait, s.done)
		}
	}
	m.mu.Unlock()
	if done != nil {
		wait = append(wait, done)
	}
	for _, c := range wait {
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// act does what a sample led to.
func (m *Manager) act(r *running, a action) error {
	if a.from != a.to {
		m.applyLevel(a.to)
		level := slog.LevelInfo
		if a.to > a.from && a.to >= High {
			level = slog.LevelWarn
		}
		m.o.Logger.Log(r.ctx, level, "memory level",
			"from", a.from.String(), "to", a.to.String(), "source", a.pressure.Source, "pressure", a.pressure.Ratio)
		m.mu.Lock()
		calls := m.onLevel
		for _, s := range m.sweeps {
			if a.to > a.from && a.to >= s.AtLevel {
				s.wake()
			}
		}
		m.mu.Unlock()
		for _, f := range calls {
			m.safely("OnLevel", func() { f(a.from, a.to) })
		}
	}
	if a.round {
		r.rounds <- a.pressure
	}
	if a.collect {
		r.collect <- a.release
	}
	if a.stuck != nil {
		m.reportStuck(r, *a.stuck)
	}
	return a.giveUp
}

func (m *Manager) applyLevel(to Level) {
	m.level.Store(int32(to))
	m.ledger.setLevel(to)
	if to < High {
		m.refuse.Store(0)
	}
}

// safely calls user code and survives its panic.
func (m *Manager) safely(what string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("memmgr: %s panicked: %v", what, p)
			m.o.Logger.Error("memory callback panicked", "callback", what, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
	return nil
}

// checkRuntime says what of the runtime's setting defeats the watchdog.
func (m *Manager) checkRuntime() {
	limit := debug.SetMemoryLimit(-1)
	switch {
	case limit > m.o.Limit && limit < unlimitedV1:
		m.o.Logger.Warn("GOMEMLIMIT is above the memory limit; see memmgr.Tune", "gomemlimit", limit, "limit", m.o.Limit)
	case limit > m.o.Limit:
		m.o.Logger.Warn("GOMEMLIMIT is not set; see memmgr.Tune", "limit", m.o.Limit)
	}
}

var errTimeout = errors.New("memmgr: timed out")
