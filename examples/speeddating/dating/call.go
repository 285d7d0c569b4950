package dating

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// call is a call in progress. It lives on the node of its invite, which its id
// names, and Platform.mu guards it. Two timers may belong to it: its end, and
// for each side the wait for one whose tab is gone.
type call struct {
	Call
	begun   time.Time // monotonic: what the length is measured by
	sides   [2]side   // caller, callee
	timer   *time.Timer
	chat    []ChatLine // the last Rules.ChatKept
	socials []SocialShared
	seq     int   // of what was said
	bytes   int64 // reserved
	reason  string
	moving  chan struct{} // on its way to another node; closed when that is decided
	ended   time.Time
	told    chan struct{} // closed when both were told of the end
	done    chan struct{} // closed when the end is in the store
}

// side is one of the two.
type side struct {
	user    *User
	socket  string // the tab that takes part
	node    string // where it is
	away    bool   // cut; may come back
	wait    *time.Timer
	chatted []time.Time // of the last lines, for the rate
	said    []uint64    // command.Once of the last of them
}

// Accept begins the call on this socket: call:start to every socket of both.
// NotFound, Forbidden (not the callee), InvalidDuration, Busy.
func (p *Platform) Accept(ctx context.Context, id UserID, socketID, inviteID string, seconds int) (CallStart, error) {
	if err := p.checkSeconds(seconds); err != nil {
		return CallStart{}, err
	}
	p.mu.Lock()
	_, err := p.socketLocked(id, socketID)
	p.mu.Unlock()
	if err != nil {
		return CallStart{}, err
	}
	a, err := p.send(ctx, command{Verb: verbAccept, User: id, Socket: socketID, ID: inviteID, Seconds: seconds})
	if err != nil || a.Start == nil {
		return CallStart{}, err
	}
	p.mu.Lock()
	_, gone := p.socketLocked(id, socketID)
	p.mu.Unlock()
	if gone != nil { // while it was being accepted
		p.notify(command{Verb: verbLost, User: id, Socket: socketID, ID: inviteID})
	}
	return *a.Start, nil
}

// accept is carried out on the invite's node.
func (p *Platform) accept(ctx context.Context, c command) (*CallStart, error) {
	p.mu.Lock()
	in, err := p.inviteLocked(c.ID, c.User, theCallee, "only the callee accepts")
	if err == nil {
		err = p.admitLocked()
	}
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	in.held = true
	in.timer.Stop()
	p.accepts.Add(1)
	p.mu.Unlock()
	defer p.accepts.Done()

	cl, err := p.begin(ctx, in, c)
	if err != nil {
		p.unhold(in, err)
		return nil, err
	}
	p.mu.Lock()
	delete(p.invites, in.id)
	p.calls[cl.RoomID] = cl
	p.stats.calls.Add(1)
	cl.timer = time.AfterFunc(cl.length(), func() { p.end(cl, "time") })
	for i := range cl.sides {
		start := cl.startLocked(i)
		p.emitLocked(cl.Members[i], "", CallStartKind, &start)
	}
	start := cl.startLocked(1)
	start.Here, start.Socket = true, ""
	gone, restart := in.gone, p.state >= draining
	_, closed := p.socketLocked(in.caller.ID, in.callerSocket)
	p.mu.Unlock()
	p.flush()
	switch {
	case restart: // Drain may not have waited for this call
		p.end(cl, "restart")
	case gone != "":
		p.leave(cl, command{User: gone})
	case closed != nil: // the tab that invited, while others are open
		p.lost(command{User: in.caller.ID, Socket: in.callerSocket, ID: in.id})
	}
	return &start, nil
}

// begin claims both people for the length of the call and makes it durable.
func (p *Platform) begin(ctx context.Context, in *invite, c command) (*call, error) {
	agreed := (in.seconds + c.Seconds) / 2
	cl := &call{
		Call: Call{RoomID: in.id, Node: p.node, Incarnation: p.incarnation,
			Members: [2]UserID{in.caller.ID, in.callee.ID}, AgreedSeconds: agreed},
		sides: [2]side{{user: in.caller, socket: in.callerSocket, node: p.node}, {user: in.callee, socket: c.Socket, node: c.from}},
		bytes: callBytes, told: make(chan struct{}), done: make(chan struct{}),
	}
	busy := refuse(Busy, "one of you is in a call")
	ok, err := p.bus.Claim(ctx, in.id, cl.length()+p.rules.TakeOver+time.Minute, claimKey(in.caller.ID), claimKey(in.callee.ID))
	if err != nil {
		return nil, unavailable("the bus does not answer", err)
	}
	if !ok {
		return nil, busy
	}
	if err := p.reserve(callBytes); err != nil {
		return nil, err
	}
	cl.StartedAt, cl.begun = now(), time.Now()
	cl.EndsAt = cl.StartedAt.Add(cl.length())
	err = p.store.StartCall(ctx, cl.Call)
	p.mu.Lock()
	if in.unsure && errors.Is(err, ErrConflict) {
		err = nil // an earlier try was written, although its answer did not come
	}
	in.unsure = err != nil && !errors.Is(err, ErrBusy)
	p.mu.Unlock()
	switch {
	case errors.Is(err, ErrBusy):
		p.release(callBytes)
		return nil, busy
	case err != nil:
		p.release(callBytes)
		return nil, unavailable("the database does not answer", err)
	}
	return cl, nil
}

// undo removes the call of an invite that came to nothing, in case it was
// written after all: it would keep both from any other.
func (p *Platform) undo(in *invite) {
	e := EndedCall{Call: Call{RoomID: in.id, Members: [2]UserID{in.caller.ID, in.callee.ID}}}
	p.background(func() {
		_, _ = p.insist(in.id, func() (map[UserID]Totals, error) { return p.store.EndCall(p.life, e) })
	})
}

func (c *call) length() time.Duration { return time.Duration(c.AgreedSeconds) * time.Second }

// sideOf gives which of the two id is.
func (c *call) sideOf(id UserID) (int, error) {
	for i, m := range c.Members {
		if m == id {
			return i, nil
		}
	}
	return 0, refuse(Forbidden, "only its two members take part in a call")
}

// startLocked is what side i is told of the call.
func (c *call) startLocked(i int) CallStart {
	return CallStart{
		RoomID: c.RoomID, AgreedSeconds: c.AgreedSeconds, StartedAt: c.StartedAt, EndsAt: c.EndsAt,
		IsInitiator: i == 0, Peer: c.sides[1-i].user.card(), Socket: c.sides[i].socket,
	}
}

func (c *call) viewLocked(i int) *CallView {
	return &CallView{CallStart: c.startLocked(i), Chat: c.lastLinesLocked(), Socials: append([]SocialShared(nil), c.socials...)}
}

// chatShown bounds the JSON of the lines that one who comes back is given: with
// the rest of the call it has to fit into what a socket may have waiting. All
// lines are in the history.
const chatShown = 16 << 10

// lastLinesLocked gives a copy of as many of the last lines as fit.
func (c *call) lastLinesLocked() []ChatLine {
	from, size := len(c.chat), 0
	for from > 0 {
		line, err := json.Marshal(c.chat[from-1])
		if size += len(line) + len(","); err != nil || size > chatShown {
			break
		}
		from--
	}
	return append([]ChatLine{}, c.chat[from:]...)
}

// callLocked gives a call that goes on, for one of its two.
func (p *Platform) callLocked(id string, by UserID) (*call, int, error) {
	c := p.calls[id]
	if c == nil || c.reason != "" {
		return nil, 0, refuse(NotFound, "this call is over")
	}
	if c.moving != nil {
		return nil, 0, errMoving
	}
	i, err := c.sideOf(by)
	return c, i, err
}

// Current gives what a person who connects is in the middle of, for hello: nil,
// nil when nothing.
func (p *Platform) Current(ctx context.Context, id UserID) (*CallView, *InviteView, error) {
	holder, err := p.bus.Holder(ctx, claimKey(id))
	if err != nil {
		return nil, nil, unavailable("the bus does not answer", err)
	}
	if holder == "" {
		return nil, nil, nil
	}
	a, err := p.send(ctx, command{Verb: verbLook, User: id, ID: holder})
	if errors.Is(err, ErrNoNode) { // its node died: nobody else will give this back soon
		_ = p.bus.Release(ctx, holder, claimKey(id)) // a call of it the store still knows
	}
	if CodeOf(err) == NotFound { // it ended meanwhile, or its node is gone
		return nil, nil, nil
	}
	return a.Call, a.Invite, err
}

// look is carried out on the node of the invite or call.
func (p *Platform) look(c command) (*CallView, *InviteView, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in := p.invites[c.ID]; in != nil && (in.caller.ID == c.User || in.callee.ID == c.User) {
		v := in.viewLocked(c.User)
		return nil, &v, nil
	}
	cl, i, err := p.callLocked(c.ID, c.User)
	if err != nil {
		return nil, nil, err
	}
	v := cl.viewLocked(i)
	v.Socket = ""
	return v, nil, nil
}

// Resume makes socket the one of its user in the call; the other gets peer:back
// with restart. NotFound, Forbidden.
func (p *Platform) Resume(ctx context.Context, id UserID, socketID, roomID string) (CallView, error) {
	p.mu.Lock()
	_, err := p.socketLocked(id, socketID)
	p.mu.Unlock()
	if err != nil {
		return CallView{}, err
	}
	a, err := p.send(ctx, command{Verb: verbResume, User: id, Socket: socketID, ID: roomID})
	if err != nil || a.Call == nil {
		return CallView{}, err
	}
	return *a.Call, nil
}

func (p *Platform) resume(c command) (*CallView, error) {
	p.mu.Lock()
	cl, i, err := p.callLocked(c.ID, c.User)
	if err != nil {
		p.mu.Unlock()
		return nil, err
	}
	me, other := &cl.sides[i], &cl.sides[1-i]
	old := me.socket
	me.socket, me.node, me.away = c.Socket, c.from, false
	me.stopWaiting()
	if old != c.Socket { // another tab had the call: it is told that it has not
		start := cl.startLocked(i)
		p.emitLocked(c.User, old, CallStartKind, &start)
	}
	p.emitLocked(other.user.ID, other.socket, PeerBackKind, &PeerState{RoomID: cl.RoomID, Restart: true})
	v := cl.viewLocked(i)
	v.Here, v.Socket = true, ""
	p.mu.Unlock()
	p.flush()
	return v, nil
}

// cut and back tell the other side of a socket that was cut or came back.
func (p *Platform) cut(c command)  { p.setAway(c, true) }
func (p *Platform) back(c command) { p.setAway(c, false) }

func (p *Platform) setAway(c command, away bool) {
	p.mu.Lock()
	cl, i, err := p.callLocked(c.ID, c.User)
	if err == nil && cl.sides[i].socket == c.Socket && cl.sides[i].away != away {
		me, other := &cl.sides[i], &cl.sides[1-i]
		me.away = away
		kind := PeerAwayKind
		if !away {
			kind = PeerBackKind
			me.stopWaiting()
		}
		p.emitLocked(other.user.ID, other.socket, kind, &PeerState{RoomID: cl.RoomID})
	}
	p.mu.Unlock()
	p.flush()
}

// lost is for a tab that is gone for good while its user has others: they may
// take the call over for a while.
func (p *Platform) lost(c command) {
	p.setAway(c, true)
	p.mu.Lock()
	defer p.mu.Unlock()
	cl, i, err := p.callLocked(c.ID, c.User)
	if err != nil || cl.sides[i].socket != c.Socket || cl.sides[i].wait != nil {
		return
	}
	p.waitLocked(cl, i)
}

// waitLocked gives side i the time to come back.
func (p *Platform) waitLocked(cl *call, i int) {
	me := &cl.sides[i]
	var wait *time.Timer
	wait = time.AfterFunc(p.rules.TakeOver, func() {
		p.mu.Lock()
		still := me.wait == wait
		p.mu.Unlock()
		if still {
			p.leave(cl, command{User: cl.Members[i]})
		}
	})
	me.wait = wait
}

func (s *side) stopWaiting() {
	if s.wait != nil {
		s.wait.Stop()
		s.wait = nil
	}
}
