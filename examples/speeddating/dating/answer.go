package dating

import (
	"context"
	"time"
)

// Decline refuses an invite: call:declined. NotFound, Forbidden (not the
// callee).
func (p *Platform) Decline(ctx context.Context, id UserID, inviteID string) error {
	_, err := p.send(ctx, command{Verb: verbDecline, User: id, ID: inviteID})
	return err
}

// ExtendWait gives the callee longer: call:wait-extended. NotFound, Forbidden
// (not the caller), TooMany.
func (p *Platform) ExtendWait(ctx context.Context, id UserID, inviteID string) (InviteView, error) {
	a, err := p.send(ctx, command{Verb: verbExtend, User: id, ID: inviteID})
	if err != nil || a.Invite == nil {
		return InviteView{}, err
	}
	return *a.Invite, nil
}

// Rescind takes an invite back: call:rescinded. NotFound, Forbidden (not the
// caller).
func (p *Platform) Rescind(ctx context.Context, id UserID, inviteID string) error {
	_, err := p.send(ctx, command{Verb: verbRescind, User: id, ID: inviteID})
	return err
}

// inviteLocked gives an open invite for one of its two.
func (p *Platform) inviteLocked(id string, by UserID, role func(*invite) *User, not string) (*invite, error) {
	in := p.invites[id]
	if in == nil || in.held {
		return nil, refuse(NotFound, "this invitation is not open")
	}
	if role(in).ID != by {
		return nil, refuse(Forbidden, not)
	}
	return in, nil
}

func theCaller(in *invite) *User { return in.caller }
func theCallee(in *invite) *User { return in.callee }

// decline, extend and rescind are carried out on the invite's node.
func (p *Platform) decline(ctx context.Context, c command) error {
	return p.refuseInvite(ctx, c, theCallee, "only the callee declines", p.rules.CooldownFor, CallDeclinedKind, "declined")
}

func (p *Platform) rescind(ctx context.Context, c command) error {
	return p.refuseInvite(ctx, c, theCaller, "only the caller takes back", p.rules.RescindFor, CallRescindedKind, "rescinded")
}

func (p *Platform) refuseInvite(ctx context.Context, c command, role func(*invite) *User, not string, apart time.Duration, kind, reason string) error {
	p.mu.Lock()
	in, err := p.inviteLocked(c.ID, c.User, role, not)
	if err == nil {
		in.held = true
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	// The cooldown is known before the two are free again.
	if err := p.setCooldown(ctx, in.caller.ID, in.callee.ID, apart); err != nil {
		p.unhold(in, err)
		return err
	}
	p.closeInvite(in, kind, reason)
	return nil
}

func (p *Platform) extend(c command) (*InviteView, error) {
	p.mu.Lock()
	in, err := p.inviteLocked(c.ID, c.User, theCaller, "only the caller extends")
	if err == nil && in.left == 0 {
		err = refuse(TooMany, "you have waited long enough")
	}
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	in.left--
	in.expires, in.deadline = in.expires.Add(p.rules.InviteFor), in.deadline.Add(p.rules.InviteFor)
	in.timer.Reset(time.Until(in.deadline))
	view, until := in.viewLocked(c.User), in.expires
	out := &InviteOutcome{InviteID: in.id, Reason: "extended", ExpiresAt: &until}
	p.emitLocked(in.callee.ID, "", CallWaitExtendedKind, out)
	p.emitLocked(in.caller.ID, "", CallWaitExtendedKind, out)
	p.mu.Unlock()
	p.flush()
	return &view, nil
}

// expire ends an invite that nobody answered. One that was extended when the
// timer had run out already is given its time.
func (p *Platform) expire(in *invite) {
	p.mu.Lock()
	left := time.Until(in.deadline)
	over := !in.held && left <= 0
	switch {
	case over:
		in.held = true // no answer comes in between
	case !in.held:
		in.timer.Reset(left)
	}
	p.mu.Unlock()
	if over {
		p.closeInvite(in, CallExpiredKind, "expired")
	}
}

// vanish ends the invite of somebody who has gone, or was taken out. A caller
// who vanishes is kept apart from the callee, unless a server that stops has
// sent them away.
func (p *Platform) vanish(in *invite, c command) {
	p.mu.Lock()
	if in.held {
		in.gone = c.User
		p.mu.Unlock()
		return
	}
	in.held = true
	restart := c.Reason == "restart" || p.state >= draining
	p.mu.Unlock()
	switch {
	case restart:
		p.closeInvite(in, CallExpiredKind, "restart")
		return
	case c.User != in.caller.ID:
		p.closeInvite(in, CallExpiredKind, "offline")
		return
	}
	if c.Reason == "" {
		if err := p.setCooldown(p.life, in.caller.ID, in.callee.ID, p.rules.RescindFor); err != nil {
			p.log.Error("a cooldown was not kept", "err", err)
		}
	}
	p.closeInvite(in, CallRescindedKind, "vanished")
}

// unhold is what becomes of an invite whose answer failed: one of a busy
// person ends, another may be answered again while it lives.
func (p *Platform) unhold(in *invite, err error) {
	p.mu.Lock()
	left := time.Until(in.deadline)
	busy, restart := CodeOf(err) == Busy, p.state >= draining
	over := busy || restart || in.gone != "" || left <= 0
	if in.held = over; !over {
		in.timer.Reset(left)
	}
	p.mu.Unlock()
	switch {
	case busy:
		p.closeInvite(in, CallDeclinedKind, "busy")
	case restart:
		p.closeInvite(in, CallExpiredKind, "restart")
	case over:
		p.closeInvite(in, CallExpiredKind, "expired")
	}
}

// closeInvite ends in, gives back what it claimed, and tells both.
func (p *Platform) closeInvite(in *invite, kind, reason string) {
	p.mu.Lock()
	if p.invites[in.id] != in {
		p.mu.Unlock()
		return
	}
	delete(p.invites, in.id)
	in.timer.Stop()
	unsure := in.unsure
	p.mu.Unlock()
	if unsure {
		p.undo(in)
	}
	p.unclaim(in.id, in.caller.ID, in.callee.ID)
	out := &InviteOutcome{InviteID: in.id, Reason: reason}
	p.mu.Lock()
	p.emitLocked(in.caller.ID, "", kind, out)
	p.emitLocked(in.callee.ID, "", kind, out)
	p.mu.Unlock()
	p.flush()
}

func (p *Platform) unclaim(owner string, people ...UserID) {
	keys := make([]string, len(people))
	for i, id := range people {
		keys[i] = claimKey(id)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.life), 5*time.Second)
	defer cancel()
	if err := p.bus.Release(ctx, owner, keys...); err != nil {
		p.log.Warn("a claim was not given back; it ends by itself", "err", err)
	}
}
