package dating

import (
	"context"
	"time"
)

// invite is an open invitation. It lives on the caller's node, which its id
// names, and Platform.mu guards it. An invite that is accepted gives its id to
// the room.
type invite struct {
	id             string
	caller, callee *User
	callerSocket   string
	seconds        int // the caller's wish
	expires        time.Time
	left           int // extensions
	timer          *time.Timer
	held           bool   // somebody is at it: an answer is being made durable
	gone           UserID // who vanished meanwhile
}

// openedInvite tells the caller's nodes of the invite. It does not leave them.
type openedInvite struct{ ID string }

// changedCard tells a person's nodes how others see them now. It does not
// leave them.
type changedCard struct{ Card Card }

const (
	inviteOpenedKind = "-invite:opened"
	cardChangedKind  = "-card:changed"
)

// claimKey is what a person's open invite or call holds on the bus: one each.
func claimKey(id UserID) string { return "person/" + string(id) }

// Invite asks to for a call of so many seconds. Refusals, in this order:
// InvalidTarget, UserNotFound, InvalidDuration, Busy, Offline, Cooldown. The
// callee gets call:notify.
func (p *Platform) Invite(ctx context.Context, from UserID, socketID string, to UserID, seconds int) (InviteView, error) {
	if to == "" || to == from {
		return InviteView{}, refuse(InvalidTarget, "one invites somebody else")
	}
	caller, err := p.user(ctx, from)
	if err != nil {
		return InviteView{}, err
	}
	callee, err := p.user(ctx, to)
	if err != nil {
		return InviteView{}, err
	}
	if err := p.checkSeconds(seconds); err != nil {
		return InviteView{}, err
	}
	if err := caller.Standing.refusal(); err != nil {
		return InviteView{}, err
	}
	if err := p.mayMeet(ctx, caller, callee); err != nil {
		return InviteView{}, err
	}
	in := &invite{
		id: p.node + "." + randomID(16), caller: caller, callee: callee, callerSocket: socketID,
		seconds: seconds, expires: now().Add(p.rules.InviteFor), left: p.rules.Extensions,
	}
	// One claim holds both people, on every node: an invite is exclusive.
	longest := p.rules.InviteFor*time.Duration(1+p.rules.Extensions) + time.Minute
	ok, err := p.bus.Claim(ctx, in.id, longest, claimKey(from), claimKey(to))
	if err != nil {
		return InviteView{}, unavailable("the bus does not answer", err)
	}
	if !ok {
		return InviteView{}, refuse(Busy, "one of you is being called")
	}
	p.mu.Lock()
	_, err = p.socketLocked(from, socketID)
	if err == nil {
		err = p.admitLocked()
	}
	if err != nil {
		p.mu.Unlock()
		p.unclaim(in.id, from, to)
		return InviteView{}, err
	}
	p.invites[in.id] = in
	in.timer = time.AfterFunc(p.rules.InviteFor, func() { p.expire(in) })
	p.stats.invites.Add(1)
	view := in.viewLocked(from)
	p.emitLocked(from, "", inviteOpenedKind, &openedInvite{ID: in.id})
	p.emitLocked(to, "", CallNotifyKind, in.notifyLocked())
	p.mu.Unlock()
	p.flush()
	return view, nil
}

// mayMeet checks Busy, Offline and Cooldown, in this order.
func (p *Platform) mayMeet(ctx context.Context, caller, callee *User) error {
	busy := refuse(Busy, "one of you is being called or in a call")
	if p.engaged(caller.ID) || p.engaged(callee.ID) || p.presence.Has(talkingTopic, string(callee.ID)) {
		return busy
	}
	offline := !p.presence.Online(string(callee.ID)) || callee.Standing != Good
	rel, err := p.relationsOf(ctx, caller.ID)
	if err != nil {
		return err
	}
	_, met := rel.cooldown(callee.ID, time.Now())
	if offline || met {
		// Busy comes first: what no other node has told us yet, the bus knows.
		for _, id := range []UserID{caller.ID, callee.ID} {
			holder, err := p.bus.Holder(ctx, claimKey(id))
			if err != nil {
				return unavailable("the bus does not answer", err)
			}
			if holder != "" {
				return busy
			}
		}
	}
	switch {
	case offline:
		return refuse(Offline, "this person is not here")
	case !p.presence.Has(queueTopic, string(callee.ID)):
		return refuse(Busy, "this person is not free")
	case met:
		return refuse(Cooldown, "you have met a short while ago")
	}
	return nil
}

// engaged reports whether this node knows id to be in an invite or a call.
func (p *Platform) engaged(id UserID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.people[id]
	return who != nil && (who.invite != "" || who.room != "")
}

func (p *Platform) checkSeconds(n int) error {
	if d := time.Duration(n) * time.Second; n <= 0 || n > 1<<20 || d < p.rules.MinCall || d > p.rules.MaxCall {
		return refuse(InvalidDuration, "a call takes 60 to 1800 seconds")
	}
	return nil
}

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
	in.expires = in.expires.Add(p.rules.InviteFor)
	in.timer.Reset(time.Until(in.expires))
	view, until := in.viewLocked(c.User), in.expires
	out := &InviteOutcome{InviteID: in.id, Reason: "extended", ExpiresAt: &until}
	p.emitLocked(in.callee.ID, "", CallWaitExtendedKind, out)
	p.emitLocked(in.caller.ID, "", CallWaitExtendedKind, out)
	p.mu.Unlock()
	p.flush()
	return &view, nil
}

// expire ends an invite that nobody answered.
func (p *Platform) expire(in *invite) {
	p.mu.Lock()
	over := !in.held && !time.Now().Before(in.expires)
	p.mu.Unlock()
	if over {
		p.closeInvite(in, CallExpiredKind, "expired")
	}
}

// vanish ends the invite of somebody who has gone, or was taken out. A caller
// who vanishes is kept apart from the callee.
func (p *Platform) vanish(in *invite, c command) {
	p.mu.Lock()
	if in.held {
		in.gone = c.User
		p.mu.Unlock()
		return
	}
	in.held = true
	p.mu.Unlock()
	if c.User != in.caller.ID {
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
	in.held = false
	left := time.Until(in.expires)
	busy := CodeOf(err) == Busy
	over := busy || in.gone != "" || left <= 0 || p.state == closed
	if !over {
		in.timer.Reset(left)
	}
	p.mu.Unlock()
	switch {
	case busy:
		p.closeInvite(in, CallDeclinedKind, "busy")
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
	p.mu.Unlock()
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

func (in *invite) notifyLocked() *CallNotify {
	return &CallNotify{InviteID: in.id, FromUser: in.caller.card(), RequestedSeconds: in.seconds, ExpiresAt: in.expires}
}

func (in *invite) viewLocked(id UserID) InviteView {
	v := InviteView{InviteID: in.id, RequestedSeconds: in.seconds, ExpiresAt: in.expires, ExtensionsLeft: in.left}
	if id == in.caller.ID {
		card := in.callee.card()
		v.ToUser, v.Outgoing = &card, true
	} else {
		card := in.caller.card()
		v.FromUser = &card
	}
	return v
}
