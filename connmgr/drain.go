package connmgr

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Draining reports whether Drain or Shutdown was called: a server that is
// draining is not ready.
func (m *Manager) Draining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}

// Drain admits nobody any more, closes all connections with
// Options.DrainCode, evenly spread over the given time and each with its own
// hint when to come back, and waits until all are released. It returns an
// error, wrapping the context's cause, if ctx ends before that; then the rest
// is still there. There is no way back from draining.
//
// http.Server.Shutdown does not wait for hijacked connections, so call it
// after this.
func (m *Manager) Drain(ctx context.Context, over time.Duration) error {
	m.mu.Lock()
	first := !m.draining
	m.draining = true
	todo := m.attached
	if m.slots.live == 0 {
		m.idleLocked()
	}
	m.mu.Unlock()
	if first {
		m.opt.Logger.Info("connmgr: draining", slog.Int("conns", todo), slog.Duration("over", over))
	}

	const tick = 5 * time.Millisecond
	start := time.Now()
	told := 0
	// Those that attach from now on are told by Attach.
	for from := uint32(1); from != 0 && told < todo; {
		due, passed := todo, time.Since(start)
		if passed < over {
			due = min(1+int(float64(todo)*float64(passed)/float64(over)), todo)
		}
		if due > told {
			var n int
			n, from = m.tell(from, min(due-told, chunkLen))
			told += n
			continue
		}
		next := time.Duration(float64(over) * float64(told) / float64(todo))
		select {
		case <-m.idle:
			return nil
		case <-ctx.Done():
			return m.left(ctx)
		case <-time.After(max(next-passed, tick)):
		}
	}
	select {
	case <-m.idle:
		return nil
	case <-ctx.Done():
		return m.left(ctx)
	}
}

func (m *Manager) left(ctx context.Context) error {
	m.mu.Lock()
	n := m.slots.live
	m.mu.Unlock()
	if n == 0 {
		return nil
	}
	return fmt.Errorf("connmgr: drain: %d connections left: %w", n, context.Cause(ctx))
}

// tell closes up to n connections that were not told to end yet, beginning
// with slot from. It looks at one chunk of slots at most, and returns how many
// it closed and where to go on, 0 at the end.
func (m *Manager) tell(from uint32, n int) (told int, next uint32) {
	var conns [chunkLen]Conn
	m.mu.Lock()
	next = from
	for looked := 0; told < n && looked < chunkLen; looked++ {
		if next > m.slots.high {
			next = 0
			break
		}
		p := m.slots.at(next)
		next++
		if p.conn != nil && p.state&stateTold == 0 {
			p.state |= stateTold
			conns[told] = p.conn
			told++
		}
	}
	m.totals.drained += uint64(told)
	m.mu.Unlock()
	for _, c := range conns[:told] {
		c.Close(m.opt.DrainCode, m.hintReason("server restarts"))
	}
	return told, next
}

// Shutdown drains over Options.DrainOver, or half of the time that ctx leaves
// if that is less. If connections are left when ctx ends it cuts them with
// CloseNow where they have it, and returns Drain's error. Either way the
// Manager holds no connection, no memory of its Account, no timer and no
// goroutine when it returns, and Admit returns [ErrDraining] for ever.
func (m *Manager) Shutdown(ctx context.Context) error {
	over := m.opt.DrainOver
	if deadline, ok := ctx.Deadline(); ok {
		over = max(min(over, time.Until(deadline)/2), 0)
	}
	err := m.Drain(ctx, over)
	for from := uint32(1); from != 0; {
		_, from = m.tell(from, chunkLen)
	}
	m.mu.Lock()
	m.closed = true
	if m.authTimer != nil {
		m.authTimer.Stop()
	}
	m.mu.Unlock()
	m.expiring.Wait()
	if cut := m.cut(); cut > 0 {
		m.opt.Logger.Info("connmgr: cut", slog.Int("conns", cut))
	}
	if m.shared != nil {
		m.shared.stop()
	}
	return err
}

// cut ends every connection that is left, releases its place and returns
// their number.
func (m *Manager) cut() int {
	var conns []Conn
	n, nshared := 0, []Ticket(nil)
	m.mu.Lock()
	for i := uint32(1); i <= m.slots.high; i++ {
		p := m.slots.at(i)
		if p.born == 0 {
			continue
		}
		if p.conn != nil {
			conns = append(conns, p.conn)
		}
		t := Ticket{m: m, born: p.born, i: i}
		if m.releaseLocked(i) {
			nshared = append(nshared, t)
		}
		n++
	}
	m.totals.cut += uint64(n)
	m.mu.Unlock()
	for range n {
		m.unreserve()
	}
	for _, c := range conns {
		if c, ok := c.(closer); ok {
			c.CloseNow()
		}
	}
	for _, t := range nshared {
		m.shared.release(t)
	}
	return n
}
