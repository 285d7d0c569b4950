package memmgr

import "time"

// Stats is a snapshot of everything the Manager knows.
type Stats struct {
	Level    Level                 // of the last sample
	Since    time.Time             // when the level began
	InLevel  [levels]time.Duration // time spent in each level
	Changes  uint64                // of the level
	Begins   [levels]float64       // where each level begins, as a fraction of a full source
	Pressure float64               // the highest source, 1 being full
	Source   string                // which one that is
	Sources  []SourceStats         // each of them
	Sample   Sample                // the last one
	Samples  uint64                // how many were taken
	Limit    int64                 // bytes for the process
	Budget   int64                 // bytes for the accounts
	Free     int64                 // shared bytes that no account has been granted
	Accounts []AccountStats        // in the order of Options
	Refusing float64               // share of new work that Admit refuses, 0 to 1
	Refused  uint64                // refusals by Admit
	Rounds   uint64                // rounds of the reclaimers
	Reclaim  []ReclaimerStats      // in the order in which they run
	Sweeps   []SweepStats          // in the order in which they were added
	Collects uint64                // GC cycles that the watchdog asked for
	Collect  time.Duration         // time that they took
	Stuck    bool                  // critical, and nothing registered lowers it
	Episodes uint64                // of being stuck
}

// SourceStats is the last reading of one source.
type SourceStats struct {
	Name       string  // one of the Source constants, or of Options.Sources
	Used, Full int64   // bytes, or the unit of an own source
	Ratio      float64 // Used / Full
}

// AccountStats is the state of one account.
type AccountStats struct {
	Name                 string // as in AccountOptions
	Used, Peak, Min, Max int64  // bytes; Peak as the sampler saw it
	RefusedBudget        uint64 // refusals because the shared rest was used up
	RefusedMax           uint64 // because of Max
	RefusedPressure      uint64 // because of the level
	RefusedInvalid       uint64 // because of a negative or absurd amount
	OverReleased         uint64 // bytes released that were never reserved: a fault of the caller
	OffHeap              bool
}

// Stats returns a snapshot. It is meant for health and metrics endpoints: it
// allocates a little, and takes the watchdog's lock for some microseconds.
func (m *Manager) Stats() Stats {
	m.ledger.mu.Lock()
	free := m.ledger.shared
	m.ledger.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	w := &m.watch
	s := Stats{
		Level: w.ladder.level, Since: w.since, InLevel: w.inLevel, Changes: w.changes,
		Pressure: w.pressure, Source: w.source, Sample: w.sample, Samples: w.samples,
		Begins: [levels]float64{0, m.o.Elevated.Enter, m.o.High.Enter, m.o.Critical.Enter},
		Limit:  m.o.Limit, Budget: m.o.Budget, Free: free,
		Refusing: float64(m.refuse.Load()) / (1 << 16), Refused: m.refused.Load(),
		Rounds: w.round.count, Collects: w.collected.count, Collect: w.collected.total,
		Stuck: !w.stuck.since.IsZero(), Episodes: w.stuck.episodes,
	}
	for i := range w.readings {
		r := &w.readings[i]
		s.Sources = append(s.Sources, SourceStats{r.name, r.used, r.full, r.ratio()})
	}
	for _, a := range m.ledger.accounts {
		s.Accounts = append(s.Accounts, a.Stats())
	}
	for _, r := range m.reclaimers {
		s.Reclaim = append(s.Reclaim, r.stats)
	}
	for _, sw := range m.sweeps {
		s.Sweeps = append(s.Sweeps, sw.stats)
	}
	return s
}

// Stats returns the account's state. That of a nil *Account is zero.
func (a *Account) Stats() AccountStats {
	if a == nil {
		return AccountStats{}
	}
	used := a.Used()
	return AccountStats{
		Name: a.name, Used: used, Peak: max(used, a.peak.Load()), Min: a.min, Max: a.max, OffHeap: a.offHeap,
		RefusedBudget:   a.refused[ReasonBudget].Load(),
		RefusedMax:      a.refused[ReasonMax].Load(),
		RefusedPressure: a.refused[ReasonPressure].Load(),
		RefusedInvalid:  a.refused[ReasonInvalid].Load(),
		OverReleased:    a.over.Load(),
	}
}

const (
	historyStep = 10 * time.Second
	historyLen  = 360
)

// Point is ten seconds of history: the worst of what was seen.
type Point struct {
	At       time.Time // when it begins
	Level    Level
	Pressure float64
	Reserved int64  // bytes in all accounts
	Live     int64  // live heap
	Occupied int64  // what the process held, garbage included
	Refused  uint64 // refusals by Admit in these ten seconds
}

// history is a ring of the last hour.
type history struct {
	ring    [historyLen]Point
	n       int    // points so far
	refused uint64 // by Admit before the newest point
}

func (h *history) add(now time.Time, pressure float64, level Level, s *Sample, refused uint64) {
	var p *Point
	if h.n > 0 {
		p = &h.ring[(h.n-1)%historyLen]
	}
	if p == nil || now.Sub(p.At) >= historyStep || now.Before(p.At) {
		p = &h.ring[h.n%historyLen]
		*p = Point{At: now}
		h.n++
		h.refused = refused
	}
	p.Level = max(p.Level, level)
	p.Pressure = max(p.Pressure, pressure)
	p.Reserved = max(p.Reserved, s.Reserved)
	p.Live = max(p.Live, s.Live)
	p.Occupied = max(p.Occupied, s.GoTotal+s.NotGo)
	p.Refused = refused - h.refused
}

// History returns the last hour in steps of ten seconds, oldest first: at
// most 360 points, however long the process runs.
func (m *Manager) History() []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := &m.watch.history
	n := min(h.n, historyLen)
	out := make([]Point, 0, n)
	for i := h.n - n; i < h.n; i++ {
		out = append(out, h.ring[i%historyLen])
	}
	return out
}
