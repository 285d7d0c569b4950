package signaling

import (
	"encoding/json"
	"fmt"
	"time"
)

// Message is what a client sent. Its bytes belong to the receiver.
type Message struct {
	// Type names the message. Never empty.
	Type string `json:"type"`
	// ID is what the answer must repeat; nil if the client wants none.
	ID json.RawMessage `json:"id"`
	// Data is the payload, nil if there is none.
	Data json.RawMessage `json:"data"`
}

// Decode reads the payload into v. Absent data leaves v as it is.
func (m Message) Decode(v any) error {
	if len(m.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		return &Error{"invalid_message", fmt.Sprintf("data of %q does not have the right form", m.Type)}
	}
	return nil
}

var errNotJSON = &Error{"not_json", "not JSON"}

// clone returns m with bytes of its own.
func (m Message) clone() Message {
	own := append(append(make([]byte, 0, len(m.ID)+len(m.Data)), m.ID...), m.Data...)
	if m.ID != nil {
		m.ID = own[:len(m.ID):len(m.ID)]
	}
	if m.Data != nil {
		m.Data = own[len(m.ID):]
	}
	return m
}

// envelope is a message as it was read, when, and whom it is for if that was
// seen on the way.
type envelope struct {
	Message
	at        time.Duration // since the hub's start
	to        address
	addressed bool
	valid     bool // it is known to be UTF-8
}

// parseMessage reads an envelope, which may have parts of b. errNotJSON means that the bytes are no JSON
// at all; with any other error the ID may still be there to answer to.
func parseMessage(b []byte, maxDepth int) (envelope, error) {
	if m, ok := scanMessage(b, maxDepth); ok {
		return m, nil
	}
	m, err := readMessage(b, maxDepth)
	return envelope{Message: m}, err
}

// scanMessage reads an envelope, of whose bytes it has parts. ok is false if
// parseMessage must look itself.
func scanMessage(b []byte, maxDepth int) (m envelope, ok bool) {
	s := scanner{b: b, depth: maxDepth}
	for n := s.open('{'); s.more(n, '}'); n++ {
		switch key := s.key(); string(key) {
		case "type":
			m.Type = s.text()
		case "id":
			m.ID = s.value()
		case "data":
			m.addressed = s.next() == '{'
			first := s.i
			if m.addressed {
				m.to = s.address()
			} else {
				s.value()
			}
			m.Data = b[first:s.i]
		default:
			s.other(key, "type", "id", "data")
		}
	}
	if !s.done() || m.Type == "" || len(m.Type) > 64 || len(m.ID) > 128 {
		return envelope{}, false
	}
	if string(m.ID) == "null" {
		m.ID = nil
	}
	if string(m.Data) == "null" {
		m.Data = nil
	}
	m.valid = !s.wide
	return m, true
}

// address reads the address in an object.
func (s *scanner) address() (a address) {
	for n := s.open('{'); s.more(n, '}'); n++ {
		switch key := s.key(); string(key) {
		case "roomId":
			a.room = s.name()
		case "to":
			a.user = s.name()
		default:
			s.other(key, "roomId", "to")
		}
	}
	return a
}

// readMessage is parseMessage for what is not as usual.
func readMessage(b []byte, maxDepth int) (Message, error) {
	if !depthWithin(b, maxDepth) {
		if !json.Valid(b) {
			return Message{}, errNotJSON
		}
		return Message{}, &Error{"invalid_message", "nested too deeply"}
	}
	var m struct {
		Type any             `json:"type"`
		ID   json.RawMessage `json:"id"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		if _, bad := err.(*json.SyntaxError); bad {
			return Message{}, errNotJSON
		}
		return Message{}, &Error{"invalid_message", "want one object with a type"}
	}
	out := Message{ID: m.ID, Data: m.Data}
	if string(out.ID) == "null" {
		out.ID = nil
	}
	if string(out.Data) == "null" {
		out.Data = nil
	}
	if len(out.ID) > 128 {
		out.ID = nil
		return out, &Error{"invalid_message", "id longer than 128 bytes"}
	}
	typ, ok := m.Type.(string)
	if !ok || typ == "" || len(typ) > 64 {
		return out, &Error{"invalid_message", "type must be a string of 1 to 64 bytes"}
	}
	out.Type = typ
	return out, nil
}

// depthWithin reports whether b nests at most limit deep. It assumes nothing
// about b.
func depthWithin(b []byte, limit int) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case inString:
			if c == '\\' {
				escaped = true
			} else if c == '"' {
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
