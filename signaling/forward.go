package signaling

import (
	"encoding/json"
	"strings"
	"time"
)

// Forward passes on what one client has for others: to all who have joined the
// room that the data of m names as "roomId", or to the one whom its "to" names
// there. They get {"type", "from", "data"}: from is the user of p, the data as
// it came. For types that need no look of the application's there is
// Options.Forward.
//
// Errors are of type *Error: ErrNotInRoom if p has not joined such a room or
// "to" is no other member of it, ErrInvalidMessage, also for types that are the
// hub's own or that Relay is for, ErrUnreachable. A member who has not joined
// gets nothing, and that is no error.
func (h *Hub) Forward(p *Peer, m Message) error {
	to, ok := parseAddress(m.Data)
	if !ok || reserved(m.Type) || strings.HasPrefix(m.Type, "rtc:") {
		return h.relayedAs(ErrInvalidMessage)
	}
	return h.relayedAs(h.forward(p, m, to, h.now()))
}

// forward is Forward for what is known to be valid and came at the given time.
func (h *Hub) forward(p *Peer, m Message, to address, at time.Duration) *Error {
	r := p.room(to.room)
	if r == nil {
		return ErrNotInRoom
	}
	var few [2]delivery
	sent, away := few[:0], []string(nil)
	r.mu.Lock()
	joined, known := false, len(to.user) == 0
	for _, member := range r.order {
		if member.peer == p {
			joined = true
		} else if string(to.user) == member.user {
			known = true
		}
	}
	if r.closed || !joined || !known {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	f := forwarded(m, p.user, len(to.user) > 0 || len(r.order) == 2)
	for _, member := range r.order {
		switch {
		case member.peer == p || len(to.user) > 0 && string(to.user) != member.user:
		case member.peer != nil:
			sent = append(sent, member.peer.deliver(f, at))
		case r.opt.Remote != nil || h.opt.Bus != nil:
			away = append(away, member.user)
		}
	}
	r.mu.Unlock()
	for _, d := range sent {
		d.done(f)
	}
	for _, user := range away {
		if err := r.across(crossing{Node: h.node, To: user, Frame: f.JSON()}); err != nil {
			return err
		}
	}
	return nil
}

// reserved reports whether the meaning of a type is the hub's.
func reserved(typ string) bool {
	switch typ {
	case "", "hello", "ok", "error", "ping":
		return true
	}
	return false
}

// pass passes m on for the application.
func (h *Hub) pass(p *Peer, m envelope) {
	var err error
	switch {
	case strings.HasPrefix(m.Type, "rtc:"):
		err = h.Relay(p, m.Message)
	case m.addressed:
		err = h.relayedAs(h.forward(p, m.Message, m.to, m.at))
	default:
		err = h.Forward(p, m.Message)
	}
	if e, bad := err.(*Error); bad {
		p.ReplyError(m.ID, e.Code, e.Message)
	} else {
		p.Reply(m.ID, nil)
	}
}

// address says whom a message is for: all in a room, or one.
type address struct{ room, user []byte }

// parseAddress reads the address in a message's data, of which it may be a part.
func parseAddress(data []byte) (a address, ok bool) {
	s := scanner{b: data, depth: 32}
	if a = s.address(); s.done() {
		return a, true
	}
	var m struct {
		Room string `json:"roomId"`
		User string `json:"to"`
	}
	ok = json.Unmarshal(data, &m) == nil
	return address{[]byte(m.Room), []byte(m.User)}, ok
}

// forwarded returns the message that brings m. If it is private, only one peer
// gets it, and nobody else.
func forwarded(m Message, from string, private bool) *Frame {
	size := maxHeader + len(`{"type":"","from":"","data":}`) + len(m.Type) + len(from) + len(m.Data)
	var b []byte
	var in *block
	if private {
		b, in = blank(size)
	} else {
		b = make([]byte, maxHeader, size)
	}
	b = appendString(append(b, `{"type":`...), m.Type)
	b = appendString(append(b, `,"from":`...), from)
	b = append(append(b, `,"data":`...), m.Data...)
	f := frameOf(Data, append(b, '}'))
	f.private, f.block = private, in
	return f
}
