package signaling

import (
	"encoding/json"
	"strings"
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
	if !ok {
		return h.relayedAs(ErrInvalidMessage)
	}
	return h.relayedAs(h.forward(p, m, to))
}

func (h *Hub) forward(p *Peer, m Message, to address) *Error {
	if reserved(m.Type) || strings.HasPrefix(m.Type, "rtc:") {
		return ErrInvalidMessage
	}
	r := h.Room(to.Room)
	if r == nil {
		return ErrNotInRoom
	}
	var few [2]delivery
	sent, away := few[:0], []string(nil)
	r.mu.Lock()
	from := r.members[p.user]
	if r.closed || from == nil || from.peer != p {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	if to.User != "" && (r.members[to.User] == nil || to.User == from.user) {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	f := frameOf(Data, appendForward(m, p.user))
	f.private = to.User != "" || len(r.members) == 2
	for _, member := range r.order {
		switch {
		case member == from || to.User != "" && to.User != member.user:
		case member.peer != nil:
			sent = append(sent, member.peer.deliver(f))
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
		err = h.relayedAs(h.forward(p, m.Message, m.to))
	default:
		err = h.Forward(p, m.Message)
	}
	if e, bad := err.(*Error); bad {
		p.ReplyError(m.ID, e.Code, e.Message)
	} else {
		p.Reply(m.ID, nil)
	}
}

// address says whom a message is for.
type address struct {
	Room string `json:"roomId"`
	User string `json:"to"`
}

// parseAddress reads the address in a message's data.
func parseAddress(data []byte) (a address, ok bool) {
	s := scanner{b: data, depth: 32}
	if a = s.address(); s.done() {
		return a, true
	}
	a = address{}
	return a, json.Unmarshal(data, &a) == nil
}

// appendForward returns the message that brings m, behind room for a header.
func appendForward(m Message, from string) []byte {
	b := make([]byte, maxHeader, maxHeader+len(`{"type":"","from":"","data":}`)+len(m.Type)+len(from)+len(m.Data))
	b = appendString(append(b, `{"type":`...), m.Type)
	b = appendString(append(b, `,"from":`...), from)
	b = append(append(b, `,"data":`...), m.Data...)
	return append(b, '}')
}
