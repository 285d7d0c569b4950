package memmgr

import "time"

// watch is what the watchdog remembers from sample to sample.
type watch struct {
	ladder   ladder
	readings []reading
	sample   Sample
	more     bool // a file of this wake-up is still to be read
	trend    trend
	total    int64 // GoTotal of the sample
	grown    int64 // what it grew by since the one before

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

// action is what a sample leads to, done outside the lock.
type action struct {
	next     time.Duration // 0: another sample at once
	from, to Level
	pressure Pressure
	round    bool // wake the reclaimers
	collect  bool
	release  bool // and return what was collected
	stuck    *StuckReport
	giveUp   error
}

// stepLocked takes a sample, which is one look at the runtime or at one file,
// and decides.
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
	if to > Normal || w.pressure >= 0.5 || w.grown > m.o.Limit/100 {
		a.next = m.o.Busy
	}
	if w.more {
		a.next = 0
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
	runtime := !w.more
	w.more = s.look(smp, w.more)
	if runtime {
		w.grown, w.total = smp.GoTotal-w.total, smp.GoTotal
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
