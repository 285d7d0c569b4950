package dating

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	verbAway    verb = "away" // the socket was cut
	verbBack    verb = "back" // and is back
	verbLost    verb = "lost" // and is gone, but its user has others
	verbGone    verb = "gone" // and was its user's last
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
	if node == p.node {
		return p.carryOut(ctx, c)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return answer{}, err
	}
	b, err = p.bus.Request(ctx, p.node, node, b)
	if errors.Is(err, ErrNoNode) {
		return answer{}, refuse(NotFound, "no such invitation or call")
	}
	if err != nil {
		return answer{}, unavailable("the other server does not answer", err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return answer{}, unavailable("the other server's answer", err)
	}
	if a.Code != "" {
		return answer{}, refuse(a.Code, a.Message)
	}
	return a, nil
}

// asked answers a command of another node.
func (p *Platform) asked(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	var c command
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("dating: command: %w", err)
	}
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
	default:
		err = refuse(Invalid, "no such command")
	}
	return a, err
}

// notify is send for what needs no answer and must not wait: it is carried out
// at once here, and in order on another node.
func (p *Platform) notify(c command) {
	node, _, _ := strings.Cut(c.ID, ".")
	if node == p.node {
		_, _ = p.carryOut(p.life, c)
		return
	}
	select {
	case p.notices <- c:
	default:
		p.stats.dropped.Add(1)
		p.log.Warn("another server is not told", "what", c.Verb, "id", c.ID)
	}
}

// courier brings notices to other nodes, until ctx ends; those that wait then
// have a second.
func (p *Platform) courier(ctx context.Context) {
	bring := func(ctx context.Context, c command) {
		if _, err := p.send(ctx, c); err != nil && CodeOf(err) != NotFound {
			p.log.Warn("another server was not told", "what", c.Verb, "id", c.ID, "err", err)
		}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case c := <-p.notices:
			bring(ctx, c)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for {
		select {
		case c := <-p.notices:
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
	}
	return nil
}
