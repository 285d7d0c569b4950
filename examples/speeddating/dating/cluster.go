package dating

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// verb says what a command asks of the node that owns an invite or a call.
type verb string

const (
	verbAccept  verb = "accept"
	verbDecline verb = "decline"
	verbExtend  verb = "extend"
	verbRescind verb = "rescind"
	verbLook    verb = "look"
	verbResume  verb = "resume"
	verbChat    verb = "chat"
	verbSocial  verb = "social"
	verbEnd     verb = "end"
	verbAway    verb = "away"  // the socket was cut
	verbBack    verb = "back"  // and is back
	verbLost    verb = "lost"  // and is gone, but its user has others
	verbGone    verb = "gone"  // and was its user's last
	verbAdopt   verb = "adopt" // calls of a node that stops
)

// command is about the invite or call ID, by User. It is carried out by the
// node that the ID names, here or over the bus.
type command struct {
	Verb    verb
	User    UserID
	ID      string
	Socket  string  `json:",omitempty"`
	Seconds int     `json:",omitempty"`
	Text    string  `json:",omitempty"`
	Socials Socials `json:",omitempty"`
	Reason  string  `json:",omitempty"`
	Once    uint64  `json:",omitempty"` // the same if it is sent again; see sayOnce

	Moved *movedCalls `json:",omitempty"`

	from string // the node that it came from
}

// answer is what came of a command.
type answer struct {
	Code    Code        `json:",omitempty"`
	Message string      `json:",omitempty"`
	Invite  *InviteView `json:",omitempty"`
	Start   *CallStart  `json:",omitempty"`
	Call    *CallView   `json:",omitempty"`
}

// send has a command carried out by the node that its ID names.
func (p *Platform) send(ctx context.Context, c command) (answer, error) {
	node, _, ok := strings.Cut(c.ID, ".")
	if !ok || len(c.ID) > 64 {
		return answer{}, refuse(NotFound, "no such invitation or call")
	}
	if p.isHome(node) {
		c.from = p.node
		return p.carryOut(ctx, c)
	}
	a, err := p.ask(ctx, node, c)
	if !errors.Is(err, ErrNoNode) {
		return a, err
	}
	// It has left. Somebody may have taken over its calls.
	heir, err := p.bus.Holder(ctx, homeKey(node))
	switch {
	case err != nil:
		return answer{}, unavailable("the bus does not answer", err)
	case heir == p.node:
		c.from = p.node
		return p.carryOut(ctx, c)
	case heir != "":
		a, err = p.ask(ctx, heir, c)
		if !errors.Is(err, ErrNoNode) {
			return a, err
		}
	}
	return answer{}, &Error{Code: NotFound, Message: "no such invitation or call", cause: ErrNoNode}
}

// isHome reports whether this node answers for node: itself, or one that has
// stopped.
func (p *Platform) isHome(node string) bool {
	if node == p.node {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.homes[node] != nil
}

// asked answers a command of another node.
func (p *Platform) asked(ctx context.Context, from string, payload []byte) ([]byte, error) {
	var c command
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("dating: command: %w", err)
	}
	c.from = from
	a, err := p.carryOut(ctx, c)
	if err != nil {
		a = answer{Code: CodeOf(err), Message: "the server has a problem"}
		if e, ok := errors.AsType[*Error](err); ok {
			a.Message = e.Message
		}
	}
	return json.Marshal(a)
}

// carryOut does what a command asks, on the node that owns its subject.
func (p *Platform) carryOut(ctx context.Context, c command) (a answer, err error) {
	for {
		if a, err = p.carryOutHere(ctx, c); !errors.Is(err, errMoving) {
			return a, err
		}
	}
}

func (p *Platform) carryOutHere(ctx context.Context, c command) (a answer, err error) {
	if to, err := p.elsewhereNow(ctx, c.ID); err != nil || to != "" {
		if err == nil {
			a, err = p.ask(ctx, to, c)
		}
		if errors.Is(err, ErrNoNode) {
			err = refuse(NotFound, "no such invitation or call")
		}
		return a, err
	}
	switch c.Verb {
	case verbAccept:
		a.Start, err = p.accept(ctx, c)
	case verbDecline:
		err = p.decline(ctx, c)
	case verbExtend:
		a.Invite, err = p.extend(c)
	case verbRescind:
		err = p.rescind(ctx, c)
	case verbLook:
		a.Call, a.Invite, err = p.look(c)
	case verbResume:
		a.Call, err = p.resume(c)
	case verbChat:
		err = p.chat(c)
	case verbSocial:
		err = p.social(c)
	case verbEnd:
		err = p.hangUp(ctx, c)
	case verbAway:
		p.cut(c)
	case verbBack:
		p.back(c)
	case verbLost:
		p.lost(c)
	case verbGone:
		p.gone(c)
	case verbAdopt:
		err = p.adopt(ctx, c.from, c.Moved)
	default:
		err = refuse(Invalid, "no such command")
	}
	return a, err
}

// notify is send for what needs no answer and must not wait: it is carried out
// at once here, and in order on another node.
func (p *Platform) notify(c command) {
	node, _, _ := strings.Cut(c.ID, ".")
	if p.isHome(node) && !p.movesAway(c.ID) {
		c.from = p.node
		_, _ = p.carryOut(p.life, c)
		return
	}
	h := fnv.New32a()
	h.Write([]byte(c.User))
	select {
	case p.notices[h.Sum32()%couriers] <- c:
	default:
		p.stats.dropped.Add(1)
		p.log.Warn("another server is not told", "what", c.Verb, "id", c.ID)
	}
}

// movesAway reports whether a call is on its way to another node, or there.
func (p *Platform) movesAway(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[id]
	return c != nil && c.moving != nil || p.moves[id] != ""
}

// couriers is how many notices are on their way at once: one of each person.
const couriers = 16

// courier brings notices to other nodes, until ctx ends; those that wait then
// have a second.
func (p *Platform) courier(ctx context.Context, notices <-chan command) {
	bring := func(ctx context.Context, c command) {
		if _, err := p.send(ctx, c); err != nil && CodeOf(err) != NotFound {
			p.log.Warn("another server was not told", "what", c.Verb, "id", c.ID, "err", err)
		}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-notices:
			bring(ctx, c)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for {
		select {
		case c := <-notices:
			bring(ctx, c)
		default:
			return
		}
	}
}

// message is what nodes tell each other: an event for somebody's browsers, or
// a change that concerns caches.
type message struct {
	To     UserID          `json:",omitempty"`
	Socket string          `json:",omitempty"`
	Kind   string          `json:",omitempty"`
	Data   json.RawMessage `json:",omitempty"`

	Sessions *endedSessions `json:",omitempty"`
	Relation *relation      `json:",omitempty"`
	Forget   UserID         `json:",omitempty"`
	Total    UserID         `json:",omitempty"`
	Totals   *Totals        `json:",omitempty"`
}

// publish hands an event to the other nodes that have its person; a review also
// to those where they are just connecting.
func (p *Platform) publish(e Event) {
	data, err := json.Marshal(e.Data)
	if err == nil {
		data, err = json.Marshal(message{To: e.To, Socket: e.Socket, Kind: e.Kind, Data: data})
	}
	if err != nil {
		p.log.Error("an event cannot be written", "kind", e.Kind, "err", err)
		return
	}
	if e.Kind == AccountReviewKind {
		p.bus.Broadcast(p.node, data)
		return
	}
	p.bus.Publish(p.node, e.To, data)
}

func (p *Platform) broadcast(m message) {
	data, err := json.Marshal(m)
	if err != nil {
		p.log.Error("a message cannot be written", "err", err)
		return
	}
	p.bus.Broadcast(p.node, data)
}

// heard takes what another node tells.
func (p *Platform) heard(from string, payload []byte) {
	var m message
	if err := json.Unmarshal(payload, &m); err != nil {
		p.log.Error("a message cannot be read", "from", from, "err", err)
		return
	}
	switch {
	case m.Kind != "":
		data := dataOf(m.Kind)
		if data == nil {
			p.log.Error("a message of an unknown kind", "from", from, "kind", m.Kind)
			return
		}
		if err := json.Unmarshal(m.Data, data); err != nil {
			p.log.Error("a message cannot be read", "from", from, "kind", m.Kind, "err", err)
			return
		}
		p.receive(Event{To: m.To, Socket: m.Socket, Kind: m.Kind, Data: data})
	case m.Sessions != nil:
		p.endSessions(*m.Sessions)
	case m.Relation != nil:
		p.related(*m.Relation)
	case m.Forget != "":
		p.users.Delete(m.Forget)
	case m.Totals != nil:
		p.total(m.Total, *m.Totals)
	}
}

// dataOf gives a new value of what an event of this kind carries.
func dataOf(kind string) any {
	switch kind {
	case CallNotifyKind:
		return new(CallNotify)
	case CallDeclinedKind, CallRescindedKind, CallExpiredKind, CallWaitExtendedKind:
		return new(InviteOutcome)
	case CallStartKind:
		return new(CallStart)
	case ChatKind:
		return new(ChatLine)
	case SocialSharedKind:
		return new(SocialShared)
	case PeerAwayKind, PeerBackKind, PeerDisconnectedKind:
		return new(PeerState)
	case SessionFinalizedKind:
		return new(Finalized)
	case MetricsUpdateKind:
		return new(Metrics)
	case AccountReviewKind:
		return new(Review)
	case inviteOpenedKind:
		return new(openedInvite)
	case wishKind:
		return new(wish)
	case cardChangedKind:
		return new(changedCard)
	case RelayedKind:
		return new(Relayed)
	}
	return nil
}
