package signaling

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Forward passes a message that one client has for others on to them: to all
// who have joined the room that its data names as "roomId", or to the one whom
// its "to" names there. They get {"type", "data"} with the sender's user as the
// data's "from". Nothing else about the data is looked at, so it is for the
// application to say which types its clients may send each other.
//
// Errors are of type *Error: ErrNotInRoom if p has not joined such a room or
// "to" is no member of it, ErrInvalidMessage, ErrUnreachable. A member who has
// not joined gets nothing, and that is no error.
func (h *Hub) Forward(p *Peer, m Message) error {
	return h.relayedAs(h.forward(p, m))
}

func (h *Hub) forward(p *Peer, m Message) *Error {
	switch m.Type {
	case "hello", "ok", "error": // the hub's own
		return ErrInvalidMessage
	}
	a, ok := parseAddress(m.Data)
	if !ok || strings.HasPrefix(m.Type, "rtc:") { // which Relay checks
		return ErrInvalidMessage
	}
	r := h.Room(a.room)
	if r == nil {
		return ErrNotInRoom
	}
	r.mu.Lock()
	from := r.members[p.user]
	if r.closed || from == nil || from.peer != p {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	if to := r.members[a.to]; a.to != "" && (to == nil || to == from) {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	f := frameOf(Data, appendForward(nil, m, p.user))
	f.private = len(r.members) == 2 || a.to != ""
	var away []string
	var sent [maxMembers]delivery
	n := 0
	for user, to := range r.members {
		switch {
		case to == from || a.to != "" && user != a.to:
		case to.peer != nil: // under the lock, which keeps a sender's order
			sent[n] = to.peer.deliver(f)
			n++
		case r.opt.Remote != nil || h.opt.Bus != nil:
			away = append(away, user)
		}
	}
	r.mu.Unlock()
	for _, d := range sent[:n] {
		d.done(f)
	}
	for _, user := range away {
		if err := r.across(crossing{Node: h.node, To: user, Frame: f.JSON()}); err != nil {
			return err
		}
	}
	return nil
}

// address is whom a message is for.
type address struct{ room, to string }

// parseAddress reads the address in a message's data. It reports false for data
// that is no object, or that claims to be from somebody.
func parseAddress(data []byte) (a address, ok bool) {
	if a, ok = scanAddress(data); ok {
		return a, true
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return address{}, false
	}
	for key := range m {
		if strings.EqualFold(key, "from") {
			return address{}, false
		}
	}
	if json.Unmarshal(m["roomId"], &a.room) != nil || m["to"] != nil && json.Unmarshal(m["to"], &a.to) != nil {
		return address{}, false
	}
	return a, true
}

func scanAddress(data []byte) (a address, ok bool) {
	s := scanner{b: data, depth: maxAddressDepth}
	ok = s.whole(func(key []byte) (ok bool) {
		switch string(key) {
		case "roomId":
			a.room, ok = s.text()
		case "to":
			a.to, ok = s.text()
		default:
			if _, ok = s.value(); anyCase(key, "from") {
				ok = false
			}
		}
		return ok
	})
	return a, ok
}

// maxAddressDepth is how deep data may nest that is not left to encoding/json.
const maxAddressDepth = 32

// appendForward appends m, whose data is an object with something in it, with
// from in the data.
func appendForward(b []byte, m Message, from string) []byte {
	data := bytes.TrimRight(m.Data, " \t\r\n")
	b = append(b, make([]byte, maxHeader)...)
	b = appendString(append(b, `{"type":`...), m.Type)
	b = append(append(b, `,"data":`...), data[:len(data)-1]...)
	b = appendString(append(b, `,"from":`...), from)
	return append(b, "}}"...)
}
