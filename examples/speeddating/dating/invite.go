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
	seconds        int       // the caller's wish
	expires        time.Time // as the two are told
	deadline       time.Time // the same, monotonic: what is decided by
	left           int       // extensions
	timer          *time.Timer
	held           bool   // somebody is at it: an answer is being made durable
	gone           UserID // who vanished meanwhile
	unsure         bool   // the store may hold a call of it: an answer did not come
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
		seconds: seconds, left: p.rules.Extensions,
		expires: now().Add(p.rules.InviteFor), deadline: time.Now().Add(p.rules.InviteFor),
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
	in.timer = time.AfterFunc(time.Until(in.deadline), func() { p.expire(in) })
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
