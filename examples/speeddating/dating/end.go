package dating

import (
	"context"
	"errors"
	"time"
)

// EndCall ends the call: session:finalized to both. When it returns nil both
// histories are in the store. NotFound, Forbidden.
func (p *Platform) EndCall(ctx context.Context, id UserID, roomID string) error {
	_, err := p.send(ctx, command{Verb: verbEnd, User: id, ID: roomID})
	return err
}

// hangUp is carried out on the call's node.
func (p *Platform) hangUp(ctx context.Context, c command) error {
	p.mu.Lock()
	cl, _, err := p.callLocked(c.ID, c.User)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.end(cl, "ended")
	select {
	case <-cl.done:
		return nil
	case <-ctx.Done():
		return unavailable("the call has ended; its history is on its way", ctx.Err())
	}
}

// leave ends the call of somebody who is gone for good.
func (p *Platform) leave(c *call, by command) {
	p.mu.Lock()
	i, err := c.sideOf(by.User)
	if err == nil && c.reason == "" && by.Reason == "" {
		other := c.sides[1-i]
		p.emitLocked(other.user.ID, other.socket, PeerDisconnectedKind, &PeerState{RoomID: c.RoomID})
	}
	p.mu.Unlock()
	if err != nil {
		return
	}
	reason := "disconnected"
	if by.Reason != "" {
		reason = by.Reason
	}
	p.end(c, reason)
}

// gone is for a person with no socket anywhere, or who was taken out.
func (p *Platform) gone(c command) {
	p.mu.Lock()
	in, cl := p.invites[c.ID], p.calls[c.ID]
	p.mu.Unlock()
	switch {
	case in != nil:
		p.background(func() { p.vanish(in, c) })
	case cl != nil && !p.elsewhere(cl, c):
		p.leave(cl, c)
	}
}

// elsewhere reports whether the one who is said to be gone takes part with
// another socket: of a node whose word has not got about yet.
func (p *Platform) elsewhere(c *call, by command) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, err := c.sideOf(by.User)
	return err == nil && by.Socket != "" && c.sides[i].socket != by.Socket && !c.sides[i].away
}

// end ends a call, once: whoever comes second changes nothing. The writing
// goes on in the background.
func (p *Platform) end(c *call, reason string) {
	p.mu.Lock()
	if c.reason != "" || c.moving != nil {
		p.mu.Unlock()
		return
	}
	c.reason = reason
	length := min(time.Since(c.begun), c.length())
	c.ended = c.StartedAt.Add(length.Truncate(time.Millisecond))
	c.timer.Stop()
	for i := range c.sides {
		c.sides[i].stopWaiting()
	}
	e := p.endedLocked(c, length)
	p.mu.Unlock()
	if !p.background(func() { p.finish(c, e) }) {
		close(c.told)
		close(c.done) // the next start finds the call open and finishes it
	}
}

func (p *Platform) endedLocked(c *call, length time.Duration) EndedCall {
	e := EndedCall{Call: c.Call, EndedAt: c.ended, Reason: c.reason, Counts: length >= p.rules.CallCounts, Chat: c.chat, Socials: c.socials}
	if e.Counts {
		e.Cooldown = now().Add(p.rules.CooldownFor)
	}
	return e
}

// finish writes the end and tells both. If the database does not answer they
// are told after the first try, and the writing is tried until it does or the
// node ends; then the next start finds the call open and finishes it.
func (p *Platform) finish(c *call, e EndedCall) {
	defer close(c.done)
	totals, err := p.store.EndCall(p.life, e)
	if e.Counts { // known before the two are free again
		p.relateAll(relation{A: e.Members[0], B: e.Members[1], Until: e.Cooldown})
	}
	if err == nil {
		p.forgetCall(c)
	}
	p.tell(e, totals)
	close(c.told)
	if err == nil {
		return
	}
	p.log.Error("the end of a call was not written", "room", c.RoomID, "err", err)
	totals, err = p.insist(c.RoomID, func() (map[UserID]Totals, error) { return p.store.EndCall(p.life, e) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return // the node ends
	}
	// ErrNotFound: it had been written although the answer did not come, and
	// what the two have now is for the next look to tell.
	for _, id := range e.Members {
		if t, ok := totals[id]; ok {
			p.totalEverywhere(id, t)
		} else {
			p.forget(id)
		}
	}
	p.forgetCall(c)
}

// insist tries until the store has an answer or the node ends.
func (p *Platform) insist(room string, f func() (map[UserID]Totals, error)) (totals map[UserID]Totals, err error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		select {
		case <-p.life.Done():
			return nil, p.life.Err()
		case <-time.After(wait):
		}
		if totals, err = f(); err == nil || errors.Is(err, ErrNotFound) {
			return totals, err
		}
		p.log.Error("the end of a call was not written", "room", room, "err", err)
	}
}

// forgetCall frees the two, and the memory.
func (p *Platform) forgetCall(c *call) {
	p.mu.Lock()
	delete(p.calls, c.RoomID)
	node, last := p.leaveHomeLocked(c.RoomID)
	p.mu.Unlock()
	p.release(c.bytes)
	p.unclaim(c.RoomID, c.Members[0], c.Members[1])
	if last {
		_ = p.bus.Release(p.life, p.node, homeKey(node)) // else it ends by itself
	}
}

// tell gives both session:finalized and metrics:update.
func (p *Platform) tell(e EndedCall, totals map[UserID]Totals) {
	f := &Finalized{RoomID: e.RoomID, DurationSeconds: int(e.EndedAt.Sub(e.StartedAt) / time.Second), Reason: e.Reason}
	for id, t := range totals {
		p.totalEverywhere(id, t)
	}
	p.mu.Lock()
	for _, id := range e.Members {
		p.emitLocked(id, "", SessionFinalizedKind, f)
		if t, ok := totals[id]; ok {
			p.emitLocked(id, "", MetricsUpdateKind, &Metrics{TalkSeconds: t.TalkSeconds, Calls: t.Calls})
		}
	}
	p.mu.Unlock()
	p.flush()
}

// background runs f in a goroutine that Shutdown waits for. It is false once
// Shutdown has waited.
func (p *Platform) background(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return false
	}
	p.tasks.Go(f)
	return true
}
