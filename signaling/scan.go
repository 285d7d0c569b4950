package signaling

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner walks over JSON and checks it on the way. It reads what clients
// usually send several times as fast as encoding/json, which is asked whenever
// the scanner is not sure: ok is then false and says nothing about the input.
type scanner struct {
	b     []byte
	i     int
	depth int  // how much deeper values may nest
	wide  bool // some string held what is not ASCII, UTF-8 or not
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// eat skips space and then c, if it is next.
func (s *scanner) eat(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// value skips one value and returns its bytes.
func (s *scanner) value() (v []byte, ok bool) {
	s.space()
	first := s.i
	if s.i == len(s.b) {
		return nil, false
	}
	switch c := s.b[s.i]; {
	case c == '"':
		ok = s.str()
	case c == '{':
		ok = s.object(func([]byte) bool {
			_, ok := s.value()
			return ok
		})
	case c == '[':
		ok = s.array()
	case c == 't':
		ok = s.word("true")
	case c == 'f':
		ok = s.word("false")
	case c == 'n':
		ok = s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		ok = s.number()
	}
	return s.b[first:s.i], ok
}

func (s *scanner) word(w string) bool {
	ok := len(s.b)-s.i >= len(w) && string(s.b[s.i:s.i+len(w)]) == w
	s.i += len(w)
	s.i = min(s.i, len(s.b))
	return ok
}

// str skips a string, at whose first quote it stands.
func (s *scanner) str() bool {
	for i := s.i + 1; ; {
		i += plain(s.b[i:])
		if i == len(s.b) {
			return false
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			s.wide = true
		case c == '\\':
			if i++; i == len(s.b) {
				return false
			}
			if escapes[s.b[i]] == 0 {
				return false
			}
		}
		i++
	}
}

// plain is how many bytes b begins with that stand for themselves in a JSON
// string and are ASCII without DEL. It looks at eight at a time.
func plain[T string | []byte](b T) (n int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 {
		c := b[n : n+8]
		v := uint64(c[0]) | uint64(c[1])<<8 | uint64(c[2])<<16 | uint64(c[3])<<24 |
			uint64(c[4])<<32 | uint64(c[5])<<40 | uint64(c[6])<<48 | uint64(c[7])<<56
		quote, slash := v^ones*'"', v^ones*'\\'
		// The lowest top bit that is set is that of the first byte that is less
		// than a space, or one of the two, or DEL, or not ASCII: a borrow or a
		// carry changes only what is above it.
		if odd := ((v - ones*' ') | (quote - ones) | (slash - ones) | (v + ones) | v) & tops; odd != 0 {
			return n + bits.TrailingZeros64(odd)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

func (s *scanner) number() bool {
	digits := func() bool {
		first := s.i
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > first
	}
	if s.b[s.i] == '-' {
		s.i++
	}
	first := s.i
	if !digits() || s.b[first] == '0' && s.i > first+1 {
		return false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !digits() {
			return false
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		if s.i++; s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		return digits()
	}
	return true
}

func (s *scanner) array() bool {
	if s.depth--; s.depth < 0 {
		return false
	}
	s.i++
	if !s.eat(']') {
		for {
			if _, ok := s.value(); !ok {
				return false
			}
			if s.eat(']') {
				break
			}
			if !s.eat(',') {
				return false
			}
		}
	}
	s.depth++
	return true
}

// object walks over an object. It calls field with each key, without its
// quotes, and field reads the value. It is not sure of keys that are not plain
// ASCII.
func (s *scanner) object(field func(key []byte) bool) bool {
	if s.depth--; s.depth < 0 || !s.eat('{') {
		return false
	}
	if !s.eat('}') {
		for {
			s.space()
			first := s.i
			if s.i == len(s.b) || s.b[s.i] != '"' || !s.str() {
				return false
			}
			key := s.b[first+1 : s.i-1]
			if plain(key) < len(key) || !s.eat(':') || !field(key) {
				return false
			}
			if s.eat('}') {
				break
			}
			if !s.eat(',') {
				return false
			}
		}
	}
	s.depth++
	return true
}

// end reports whether nothing follows.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// text reads a string and returns what it says.
func (s *scanner) text() (string, bool) {
	s.space()
	if s.i == len(s.b) || s.b[s.i] != '"' {
		return "", false
	}
	i := s.i + 1
	n := plain(s.b[i:])
	if end := i + n; end < len(s.b) && s.b[end] == '"' {
		s.i = end + 1
		return string(s.b[i:end]), true
	}
	var text strings.Builder
	text.Grow(max(n, bytes.IndexByte(s.b[i:], '"'))) // all of it, unless it quotes
	for {
		n := plain(s.b[i:])
		text.Write(s.b[i : i+n])
		if i += n; i == len(s.b) {
			return "", false
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return text.String(), true
		case c == '\\':
			if i++; i == len(s.b) || escapes[s.b[i]] == 0 {
				return "", false
			}
			text.WriteByte(escapes[s.b[i]])
			i++
		case c < ' ':
			return "", false
		default:
			r, size := utf8.DecodeRune(s.b[i:])
			if r == utf8.RuneError && size == 1 {
				return "", false
			}
			text.Write(s.b[i : i+size])
			i += size
		}
	}
}

// escapes are the characters behind a backslash and what they stand for; \u is
// left to encoding/json.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// anyCase reports whether encoding/json takes key, which is ASCII, for one of
// names, though it is written otherwise.
func anyCase(key []byte, names ...string) bool {
	for _, name := range names {
		if len(key) == len(name) && strings.EqualFold(string(key), name) {
			return true
		}
	}
	return false
}

// scanMessage reads an envelope, of whose bytes it has parts. ok is false if
// parseMessage must look itself.
func scanMessage(b []byte, maxDepth int) (m envelope, ok bool) {
	var id, data []byte
	s := scanner{b: b, depth: maxDepth}
	ok = s.object(func(key []byte) (ok bool) {
		switch string(key) {
		case "type":
			m.Type, ok = s.text()
		case "id":
			id, ok = s.value()
		case "data":
			s.space()
			first := s.i
			if m.addressed = s.i < len(b) && b[s.i] == '{'; m.addressed {
				m.to, ok = s.address()
			} else {
				_, ok = s.value()
			}
			data = b[first:s.i]
		default:
			_, ok = s.value()
			ok = ok && !anyCase(key, "type", "id", "data")
		}
		return ok
	})
	if !ok || !s.end() || m.Type == "" || len(m.Type) > 64 || len(id) > 128 {
		return envelope{}, false
	}
	if string(id) != "null" && len(id) > 0 {
		m.ID = id
	}
	if string(data) != "null" && len(data) > 0 {
		m.Data = data
	}
	m.valid = !s.wide
	return m, true
}

// address reads the address in an object.
func (s *scanner) address() (a address, ok bool) {
	ok = s.object(func(key []byte) (ok bool) {
		switch string(key) {
		case "roomId":
			a.Room, ok = s.text()
		case "to":
			a.User, ok = s.text()
		default:
			_, ok = s.value()
			ok = ok && !anyCase(key, "roomId", "to")
		}
		return ok
	})
	return a, ok
}

// parseSignal reads the data of a signal.
func parseSignal(b []byte) (signal, bool) {
	if s, ok := scanSignal(b); ok {
		return s, true
	}
	var s signal
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

func scanSignal(b []byte) (s signal, ok bool) {
	in := scanner{b: b, depth: 8}
	ok = in.object(func(key []byte) (ok bool) {
		switch string(key) {
		case "roomId":
			s.RoomID, ok = in.text()
		case "to":
			s.To, ok = in.text()
		case "description":
			if s.Description == nil {
				s.Description = new(Description)
			}
			ok = in.object(func(key []byte) (ok bool) {
				switch string(key) {
				case "type":
					s.Description.Type, ok = in.text()
				case "sdp":
					in.space()
					first := in.i
					s.Description.SDP, ok = in.text()
					s.sdp = b[first:in.i]
				default:
					_, ok = in.value()
					ok = ok && !anyCase(key, "type", "sdp")
				}
				return ok
			})
		default:
			var v []byte
			if v, ok = in.value(); !ok {
				return false
			}
			switch string(key) {
			case "offer":
				n, err := strconv.ParseUint(string(v), 10, 64)
				s.Offer, ok = n, err == nil
			case "candidate":
				ok = json.Unmarshal(v, &s.Candidate) == nil
			case "candidates":
				ok = json.Unmarshal(v, &s.Candidates) == nil
			default:
				ok = !anyCase(key, "roomId", "from", "at", "to", "offer", "description", "candidate", "candidates")
			}
		}
		return ok
	})
	return s, ok && in.end()
}

// appendSignal appends the message that brings s.
func appendSignal(b []byte, typ string, s *signal) ([]byte, error) {
	b = appendString(append(b, `{"type":`...), typ)
	b = appendString(append(b, `,"data":{"roomId":`...), s.RoomID)
	b = appendString(append(b, `,"from":`...), s.From)
	b = append(s.At.AppendFormat(append(b, `,"at":"`...), "2006-01-02T15:04:05.999999999Z07:00"), '"')
	if s.Offer > 0 {
		b = strconv.AppendUint(append(b, `,"offer":`...), s.Offer, 10)
	}
	if s.Description != nil {
		b = appendString(append(b, `,"description":{"type":`...), s.Description.Type)
		b = append(b, `,"sdp":`...)
		if s.sdp != nil {
			b = append(b, s.sdp...)
		} else {
			b = appendString(b, s.Description.SDP)
		}
		b = append(b, '}')
	}
	for _, c := range []struct {
		name string
		v    any
		have bool
	}{{"candidate", s.Candidate, s.Candidate != nil}, {"candidates", s.Candidates, len(s.Candidates) > 0}} {
		if !c.have {
			continue
		}
		v, err := json.Marshal(c.v)
		if err != nil {
			return nil, err
		}
		b = append(append(append(append(b, `,"`...), c.name...), `":`...), v...)
	}
	return append(b, "}}"...), nil
}

// appendString appends s as JSON.
func appendString(b []byte, s string) []byte {
	first := len(b)
	b = append(b, '"')
	for rest := s; ; {
		n := plain(rest)
		b = append(b, rest[:n]...)
		if n == len(rest) {
			return append(b, '"')
		}
		switch c := rest[n]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			quoted, _ := json.Marshal(s)
			return append(b[:first], quoted...)
		}
		rest = rest[n+1:]
	}
}
