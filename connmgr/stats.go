package connmgr

type totals struct {
	admitted, released, evicted, authExpired, drained, cut, toldLater uint64
	refused                                                           [numLimits]uint64
}

// Stats is a snapshot of a Manager's counters. What is called total grows
// from New on.
type Stats struct {
	Conns           int // admitted and not released, without Closing
	Attached        int // connections behind Ticket.Attach, Closing included
	Unauthenticated int // of Conns, those without a user
	Closing         int // evicted and not released yet
	Users           int // different users among Conns
	Addrs           int // different addresses among Conns
	Keys            int // different keys among Conns
	Refusing        int // being told 1013 now
	Draining        bool

	Admitted    uint64  // total admitted
	Released    uint64  // total released, by Release or by Shutdown
	Evicted     uint64  // total whose place went to a newer connection of the user
	AuthExpired uint64  // total that got no user in time
	Drained     uint64  // total told to leave by a drain
	Cut         uint64  // total still there when Shutdown's context ended
	ToldLater   uint64  // total of BeginRefuse
	Refused     Refused // total refused by Admit and Authenticate

	RateAddrs          int    // addresses whose rate is remembered now
	RateAddrsForgotten uint64 // total forgotten early, for MaxRateAddrs

	Open          int     // connections behind Listener now
	Accepted      uint64  // total that Listener let in
	AcceptRefused Refused // total that Listener reset

	Shared SharedStats // zero without Options.Shared
}

// Refused counts refusals, each under the limit that caused it.
type Refused struct {
	Draining        uint64
	Memory          uint64
	PerKey          uint64
	PerAddr         uint64
	Unauthenticated uint64
	PerUser         uint64
	Closing         uint64
	Conns           uint64
	Rate            uint64
	RatePerAddr     uint64
	Shared          uint64
}

func refusedOf(n *[numLimits]uint64) Refused {
	return Refused{
		Draining:        n[LimitDraining],
		Memory:          n[LimitMemory],
		PerKey:          n[LimitPerKey],
		PerAddr:         n[LimitPerAddr],
		Unauthenticated: n[LimitUnauthenticated],
		PerUser:         n[LimitPerUser],
		Closing:         n[LimitClosing],
		Conns:           n[LimitConns],
		Rate:            n[LimitRate],
		RatePerAddr:     n[LimitRatePerAddr],
		Shared:          n[LimitShared],
	}
}

// Total is the sum of all reasons.
func (r Refused) Total() uint64 {
	return r.Draining + r.Memory + r.PerKey + r.PerAddr + r.Unauthenticated + r.PerUser +
		r.Closing + r.Conns + r.Rate + r.RatePerAddr + r.Shared
}

// Stats returns the counters, all of one moment except those of Listener and
// Shared.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	s := Stats{
		Conns:              m.slots.live - m.closing,
		Attached:           m.attached,
		Unauthenticated:    m.nunauth,
		Closing:            m.closing,
		Users:              m.slots.nusers,
		Addrs:              m.addrs.entries.live,
		Keys:               m.keys.entries.live,
		Refusing:           m.refusing,
		Draining:           m.draining,
		Admitted:           m.totals.admitted,
		Released:           m.totals.released,
		Evicted:            m.totals.evicted,
		AuthExpired:        m.totals.authExpired,
		Drained:            m.totals.drained,
		Cut:                m.totals.cut,
		ToldLater:          m.totals.toldLater,
		Refused:            refusedOf(&m.totals.refused),
		RateAddrs:          m.addrRate.entries.live,
		RateAddrsForgotten: m.addrRate.forgotten,
	}
	m.mu.Unlock()
	g := &m.gate
	g.mu.Lock()
	s.Open, s.Accepted, s.AcceptRefused = g.open, g.accepted, refusedOf(&g.refused)
	g.mu.Unlock()
	if m.shared != nil {
		s.Shared = m.shared.stats()
	}
	return s
}
