package connmgr

import "errors"

// A Ticket is the place of one admitted connection. It is a small value that
// may be copied; all copies are the same place. Its methods may be called
// concurrently. The zero Ticket is no place: it is gone.
type Ticket struct {
	m    *Manager
	born int64
	i    uint32
}

// slotLocked returns t's slot, nil if it was released.
func (t Ticket) slotLocked() *slot {
	if t.m == nil || t.i == 0 || t.i > t.m.slots.high {
		return nil
	}
	if p := t.m.slots.at(t.i); p.born == t.born {
		return p
	}
	return nil
}

// Attach names the connection that has the place: from here on it can be
// evicted, expire and be drained. If that was decided while it was being set
// up, Attach closes conn at once and returns [ErrGone] or [ErrDraining]; the
// caller still calls Release when conn has ended. A later Attach replaces the
// connection.
func (t Ticket) Attach(conn Conn) error {
	if t.m == nil {
		conn.Close(CloseGoingAway, "")
		return ErrGone
	}
	m := t.m
	m.mu.Lock()
	p := t.slotLocked()
	if p == nil {
		m.mu.Unlock()
		conn.Close(m.opt.DrainCode, m.hintReason("gone"))
		return ErrGone
	}
	if p.conn == nil {
		m.attached++
	}
	p.conn = conn
	if m.draining && p.state&stateTold == 0 {
		p.state |= stateTold
		m.totals.drained++
	}
	state := p.state
	m.mu.Unlock()
	switch {
	case state&stateTold == 0:
		return nil
	case state&(stateEvicted|stateOusted) != 0:
		conn.Close(CloseEvicted, "a newer connection took the place")
		return ErrGone
	case state&stateExpired != 0:
		conn.Close(ClosePolicy, "not authenticated in time")
		return ErrGone
	}
	conn.Close(m.opt.DrainCode, m.hintReason("server restarts"))
	return ErrDraining
}

// Authenticate moves the connection from the share of the unauthenticated to
// user, under the limit per user: it may evict the user's oldest, or return a
// *LimitError, and then the connection stays unauthenticated. It also returns
// [ErrGone], or [ErrAuthenticated] if it belongs to somebody else already.
func (t Ticket) Authenticate(user string) error {
	if user == "" {
		return errors.New("connmgr: Authenticate without a user")
	}
	if t.m == nil {
		return ErrGone
	}
	m := t.m
	m.mu.Lock()
	p := t.slotLocked()
	switch {
	case p == nil || p.state&(stateEvicted|stateExpired|stateOusted) != 0:
		m.mu.Unlock()
		return ErrGone
	case p.user == user:
		m.mu.Unlock()
		return nil
	case p.user != "":
		m.mu.Unlock()
		return ErrAuthenticated
	}
	old, what := m.roomLocked(user)
	if what != LimitDraining {
		limit := m.opt.MaxPerUser
		if what == LimitClosing {
			limit = m.opt.MaxClosing
		}
		refusal := m.refusalLocked(what, limit, 0, nil)
		m.mu.Unlock()
		return m.refused(refusal, Request{User: user})
	}
	var evicted Conn
	if old != 0 {
		evicted = m.evictLocked(old)
	}
	m.slots.unlink(&m.unauth, t.i)
	m.nunauth--
	m.slots.join(t.i, user)
	m.mu.Unlock()
	m.closeEvicted(evicted, user)
	if m.shared != nil {
		return m.shared.authenticate(t, user)
	}
	return nil
}

// Gone reports whether the place was released or given away.
func (t Ticket) Gone() bool {
	if t.m == nil {
		return true
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	p := t.slotLocked()
	return p == nil || p.state&(stateEvicted|stateExpired|stateOusted) != 0
}

// Release says that the connection has ended, or never began. It counts once,
// however often it is called.
func (t Ticket) Release() {
	if t.m == nil {
		return
	}
	m := t.m
	m.mu.Lock()
	p := t.slotLocked()
	if p == nil {
		m.mu.Unlock()
		return
	}
	wasShared := m.releaseLocked(t.i)
	m.mu.Unlock()
	m.unreserve()
	if wasShared {
		m.shared.release(t)
	}
}

// releaseLocked frees slot i and everything that it counts, and reports
// whether it was counted across servers.
func (m *Manager) releaseLocked(i uint32) (wasShared bool) {
	p := m.slots.at(i)
	if p.state&stateEvicted != 0 {
		m.closing--
	} else {
		switch {
		case p.state&stateExpired != 0:
			m.nunauth--
		case p.user == "":
			m.slots.unlink(&m.unauth, i)
			m.nunauth--
		default:
			m.slots.leave(i)
		}
		m.addrs.dec(p.addr)
		m.keys.dec(p.key)
	}
	if p.conn != nil {
		m.attached--
	}
	wasShared = p.state&stateShared != 0
	m.slots.release(i)
	m.totals.released++
	if m.draining && m.slots.live == 0 {
		m.idleLocked()
	}
	return wasShared
}

// idleLocked tells Drain that nobody is left.
func (m *Manager) idleLocked() {
	select {
	case <-m.idle:
	default:
		close(m.idle)
	}
}
