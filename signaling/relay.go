package signaling

import (
	"slices"
	"time"
)

// Relay finds the room that m names and relays m there. ErrNotInRoom if there
// is none in which p takes part, otherwise the errors of Room.Relay.
func (h *Hub) Relay(p *Peer, m Message) error {
	s, ok := parseSignal(m.Data)
	if !ok {
		return h.relayedAs(ErrInvalidSignal)
	}
	r := h.Room(s.RoomID)
	if r == nil || r.Joined(p.user) != p { // whatever else is wrong with it: a stranger learns nothing
		return h.relayedAs(ErrNotInRoom)
	}
	return h.relayedAs(r.relay(p, m.Type, s))
}

// Relay passes an rtc:offer, rtc:answer or rtc:ice of p on to the other
// member, or to the one that its "to" names. An offer gets a number, which the
// receiver's answer repeats; an answer to any but the sender's latest offer is
// refused, and so are candidates of descriptions that were replaced. Errors
// are of type *Error: ErrNotInRoom, ErrInvalidSignal, ErrInvalidSDP,
// ErrInvalidCandidate, ErrSuperseded, ErrTooManySignals, ErrUnreachable.
func (r *Room) Relay(p *Peer, m Message) error {
	s, ok := parseSignal(m.Data)
	if !ok || s.RoomID != r.id {
		return r.hub.relayedAs(ErrInvalidSignal)
	}
	return r.hub.relayedAs(r.relay(p, m.Type, s))
}

func (r *Room) relay(p *Peer, typ string, s signal) *Error {
	class := SDP
	switch typ {
	case "rtc:offer", "rtc:answer":
		if s.Description == nil || "rtc:"+s.Description.Type != typ {
			return ErrInvalidSDP
		}
		if err := s.Description.check(); err != nil {
			return ErrInvalidSDP
		}
		s.Candidate, s.Candidates = nil, nil
	case "rtc:ice":
		class = Candidate
		if s.Candidate != nil {
			s.Candidates = append(s.Candidates, *s.Candidate)
		}
		if len(s.Candidates) == 0 || len(s.Candidates) > r.opt.MaxCandidates || s.Description != nil {
			return ErrInvalidCandidate
		}
		for i := range s.Candidates {
			if s.Candidates[i].check() != nil {
				return ErrInvalidCandidate
			}
		}
		s.Candidate, s.Offer = nil, 0
	default:
		return ErrInvalidSignal
	}

	r.mu.Lock()
	from := r.members[p.user]
	if r.closed || from == nil || from.peer != p {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	to, fault := r.targetLocked(from, s.To)
	if fault == nil {
		fault = r.admitLocked(from, to, typ, &s)
	}
	if fault != nil {
		r.mu.Unlock()
		return fault
	}
	s.From, s.To, s.At = from.user, "", time.Now().UTC()
	if len(s.Candidates) == 1 {
		s.Candidate, s.Candidates = &s.Candidates[0], nil
	}
	switch {
	case class == Candidate && s.Candidate == nil && len(s.Candidates) == 0:
		r.mu.Unlock() // all of them were out of date
	case to.peer != nil:
		r.deliverUnlock(to.peer, class, typ, &s)
	case r.opt.Remote != nil || r.hub.opt.Bus != nil:
		r.mu.Unlock()
		return r.across(crossing{Node: r.hub.node, To: to.user, Type: typ, Signal: &s})
	default:
		r.mu.Unlock() // nobody is there yet: the first offer after Join will do
	}
	return nil
}

// deliverUnlock queues a signal for p and unlocks the room.
func (r *Room) deliverUnlock(p *Peer, class Class, typ string, s *signal) {
	size := 256
	if s.Description != nil {
		size += len(s.Description.SDP) * 9 / 8
	}
	b, in := blank(size)
	b, err := appendSignal(b, typ, s)
	if err != nil {
		r.mu.Unlock()
		return
	}
	f := frameOf(class, b)
	f.private, f.block = true, in
	d := p.deliver(f, r.hub.now())
	r.mu.Unlock()
	d.done(f)
}

// delivery is a frame that was queued for a peer under the lock of a room, so
// that what one sender sends stays in order. The rest of it is done without.
type delivery struct {
	to     *Peer
	err    error
	writes *socket // if it is to be written at once: the caller does
}

// deliver queues f, which came at the given time. The first message in a while
// need not wait for the flush tick: whoever brings it writes it. What follows
// within the tick waits, and goes out in one write.
func (p *Peer) deliver(f *Frame, at time.Duration) delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := delivery{to: p}
	s, now := p.sock, uint32(at/time.Microsecond)
	prompt := s != nil && !s.writing && !p.dirty && time.Duration(now-p.out.prompt)*time.Microsecond >= p.hub.opt.FlushEvery
	p.dirty = p.dirty || prompt // the flusher need not come
	if d.err = p.hearLocked(); d.err == nil {
		d.err = p.enqueueLocked(f)
	}
	if prompt {
		p.dirty, p.out.prompt = false, now
		s.writing = true
		d.writes = s
	}
	return d
}

func (d delivery) done(f *Frame) {
	d.to.queued(f, d.err)
	if d.writes != nil {
		d.to.mu.Lock()
		d.writes.beginUnlock()
	}
}

// offer notes that the member's latest offer went to another.
func (m *member) offer(to *member) {
	if m.offers == nil {
		m.offers = map[string]uint64{}
	}
	m.offers[to.user] = m.last
}

// targetLocked finds the member that a signal goes to.
func (r *Room) targetLocked(from *member, to string) (*member, *Error) {
	if to == "" && len(r.members) == 2 {
		for _, m := range r.members {
			if m != from {
				return m, nil
			}
		}
	}
	if m := r.members[to]; m != nil && m != from {
		return m, nil
	}
	return nil, ErrNotInRoom
}

// admitLocked keeps the books of offers and generations.
func (r *Room) admitLocked(from, to *member, typ string, s *signal) *Error {
	switch typ {
	case "rtc:offer":
		from.last++
		s.Offer = from.last
		from.offer(to)
		from.describe(s.Description)
	case "rtc:answer":
		open := to.offers[from.user]
		if open == 0 || s.Offer != 0 && s.Offer != open {
			return ErrSuperseded
		}
		s.Offer = open
		delete(to.offers, from.user)
		delete(from.offers, to.user) // who answers has taken its own offer back
		from.describe(s.Description)
	case "rtc:ice":
		s.Candidates = slices.DeleteFunc(s.Candidates, func(c ICECandidate) bool {
			return !from.current(c) || r.opt.RelayOnly && c.Candidate != "" && !c.relayed()
		})
		if from.count += len(s.Candidates); from.count > r.opt.MaxCandidates {
			return ErrTooManySignals
		}
	}
	return nil
}

// describe begins a generation of candidates, unless d only repeats it.
func (m *member) describe(d *Description) {
	if u := d.ufrag(); u != m.ufrag {
		m.prior, m.ufrag, m.count = m.ufrag, u, 0
	}
}

// current reports whether c belongs to one of the sender's two latest
// descriptions; a candidate that does not say is let through.
func (m *member) current(c ICECandidate) bool {
	u := c.UsernameFragment
	return u == nil || *u == "" || m.ufrag == "" || *u == m.ufrag || *u == m.prior
}

// relayedAs counts an outcome.
func (h *Hub) relayedAs(e *Error) error {
	if e == nil {
		h.stats.relayed.Add(1)
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.relayed[e.Code]++
	return e
}
