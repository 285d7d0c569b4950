package memmgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
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

// watch is what the watchdog remembers from sample to sample.
type watch struct {
	ladder   ladder
	readings []reading
	sample   Sample
	filesAt  time.Time
	trend    trend
	total    int64 // GoTotal of the sample before

	pressure  float64
	source    string
	since     time.Time // of the level
	inLevel   [levels]time.Duration
	changes   uint64
	lastStep  time.Time
	history   history
	samples   uint64
	collected collectStats

	round roundState
	stuck stuckState
}

type collectStats struct {
	count    uint64
	total    time.Duration
	notUntil time.Time
	busy     bool
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
	m.watch.round.busy, m.watch.collected.busy = false, false
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
		now := time.Now()
		m.mu.Lock()
		act := m.stepLocked(s, now)
		m.mu.Unlock()
		if err := m.act(r, act); err != nil {
			return err
		}
		timer.Reset(act.next)
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

// filesEvery is how often the kernel is asked, which costs more than asking
// the runtime.
const filesEvery = 100 * time.Millisecond

// action is what a sample leads to, done outside the lock.
type action struct {
	next     time.Duration
	from, to Level
	pressure Pressure
	round    bool // wake the reclaimers
	collect  bool
	release  bool // and return what was collected
	stuck    *StuckReport
	giveUp   error
}

// stepLocked takes a sample and decides.
func (m *Manager) stepLocked(s *sampler, now time.Time) action {
	w := &m.watch
	m.readLocked(s, now)
	from := w.ladder.level
	to := w.ladder.step(now, w.readings, w.sample.GCCycles)
	m.accountTimeLocked(now, from, to)

	a := action{from: from, to: to, next: m.o.Calm}
	a.pressure = m.pressureLocked(to)
	w.pressure, w.source = a.pressure.Ratio, a.pressure.Source
	// What grows is looked at often too, however little it is still: a GC
	// cycle ends soon after a ramp begins, and brings the first sample.
	grown := w.sample.GoTotal - w.total
	w.total = w.sample.GoTotal
	if to > Normal || w.pressure >= 0.5 || grown > m.o.Limit/100 {
		a.next = m.o.Busy
	}
	m.refuse.Store(m.refuseShare(to, w.pressure))
	if to == Normal {
		for _, acc := range m.ledger.accounts {
			acc.baseline = acc.Used()
		}
	}
	m.stuckLocked(now, &a) // judges the last round before the next one begins
	a.round = m.wantsRoundLocked(now, &a)
	a.collect, a.release = m.wantsCollectLocked(now, to)
	w.history.add(now, w.pressure, to, &w.sample, m.refused.Load())
	return a
}

// readLocked fills in the sample and the readings.
func (m *Manager) readLocked(s *sampler, now time.Time) {
	w := &m.watch
	smp := &w.sample
	w.samples++
	smp.At = now
	s.readRuntime(smp)
	if now.Sub(w.filesAt) >= filesEvery || w.filesAt.IsZero() {
		w.filesAt = now
		s.readFiles(smp)
	}
	smp.Expected = w.trend.expect(smp)
	smp.Reserved, smp.ReservedHeap = m.ledger.used()
	smp.derive()

	goLimit := m.o.Limit - m.o.Limit/10
	if smp.GoLimit > 0 {
		goLimit = min(smp.GoLimit, m.o.Limit)
	}
	heap := max(1, min(goLimit, m.o.Limit-smp.NotGo)-smp.GoFixed)
	// Reservations refuse by themselves when they are used up, so the ledger
	// alone is never critical.
	rs := append(w.readings[:0],
		reading{name: SourceLedger, used: smp.Reserved, full: m.o.Budget, cap: High, shed: true},
		reading{name: SourceHeap, used: max(smp.Expected, smp.ReservedHeap), full: heap, cap: Critical, shed: true},
		reading{name: SourceNeeded, used: smp.Needed, full: m.o.Limit, cap: Critical, shed: true},
	)
	// Garbage included, the total stays near GOMEMLIMIT by design and no
	// shedding lowers it, a collection does: it matters only near the limit.
	total, full := smp.GoTotal+smp.NotGo, m.o.Limit
	if s.cgroup != nil {
		if limit := s.limitNow(now); limit > 0 {
			rs = append(rs, reading{name: SourceCgroup, used: max(0, smp.Pinned-smp.slack()), full: limit, cap: Critical, shed: true})
			if float64(smp.Pinned)/float64(limit) > float64(total)/float64(full) {
				total, full = smp.Pinned, limit
			}
		}
	}
	rs = append(rs, reading{name: SourceTotal, used: total, full: full, floor: Critical, cap: Critical, own: Threshold{0.95, 0.92}})
	if m.o.SocketLimit > 0 {
		rs = append(rs, reading{name: SourceSockets, used: max(smp.Sockets, smp.HostSockets), full: m.o.SocketLimit, cap: Critical, shed: true})
	}
	for i := range m.o.Sources {
		src := &m.o.Sources[i]
		used, full := src.Read()
		rs = append(rs, reading{name: src.Name, used: used, full: full, cap: src.Max, shed: true})
	}
	w.readings = rs
}

func (m *Manager) accountTimeLocked(now time.Time, from, to Level) {
	w := &m.watch
	if !w.lastStep.IsZero() {
		w.inLevel[from] += now.Sub(w.lastStep)
	}
	w.lastStep = now
	if w.since.IsZero() {
		w.since = now
	}
	if from != to {
		w.since = now
		w.changes++
	}
}

// refuseShare maps the pressure to the share of new work to refuse.
func (m *Manager) refuseShare(level Level, pressure float64) uint32 {
	switch level {
	case Critical:
		return 1 << 16
	case High:
		low, high := m.o.High.Enter, m.o.Critical.Enter
		return uint32(min(max((pressure-low)/(high-low), 0), 1) * (1 << 16))
	}
	return 0
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

// wantsCollectLocked decides whether the watchdog needs a GC cycle: to see
// whether a level can be left or what a round has brought, or to get garbage
// out of the way of the limit.
func (m *Manager) wantsCollectLocked(now time.Time, level Level) (collect, release bool) {
	w := &m.watch
	c := &w.collected
	if m.o.CollectEvery < 0 || c.busy || now.Before(c.notUntil) || level == Normal {
		return false, false
	}
	for i := range w.readings {
		r := &w.readings[i]
		if r.name == SourceTotal && r.ratio() >= r.own.Leave {
			release = true
		}
	}
	gcs := w.sample.GCCycles
	collect = release || w.ladder.waitsForGC(now, gcs) || w.round.waitsForGC(gcs) ||
		level == Critical && gcs == w.stuck.enteredGC
	c.busy = collect
	return collect, release
}

func (m *Manager) collectLoop(r *running) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case release := <-r.collect:
			start := time.Now()
			if release {
				debug.FreeOSMemory()
			} else {
				runtime.GC()
			}
			d := time.Since(start)
			m.mu.Lock()
			c := &m.watch.collected
			c.busy = false
			c.count++
			c.total += d
			c.notUntil = time.Now().Add(max(m.o.CollectEvery, 20*d))
			m.mu.Unlock()
		}
	}
}

// armGCTrigger makes each end of a GC cycle send on c, until ctx ends.
func armGCTrigger(ctx context.Context, c chan<- struct{}) {
	type mark struct{ _ *byte }
	var arm func(struct{})
	arm = func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case c <- struct{}{}:
		default:
		}
		runtime.AddCleanup(&mark{new(byte)}, arm, struct{}{})
	}
	runtime.AddCleanup(&mark{new(byte)}, arm, struct{}{})
}

var errTimeout = errors.New("memmgr: timed out")
