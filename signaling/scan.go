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
// the scanner is not sure: that says nothing about the input. From then on it
// stands at the end and finds nothing more, so that it is enough to ask at the
// end whether it was sure of all.
type scanner struct {
	b      []byte
	i      int
	depth  int  // how much deeper values may nest
	wide   bool // some string held what is not ASCII, UTF-8 or not
	unsure bool
}

func (s *scanner) fail() { s.i, s.unsure = len(s.b), true }

// done reports whether nothing follows and the scanner was sure of all.
func (s *scanner) done() bool { return s.next() == 0 && s.i == len(s.b) && !s.unsure }

// next skips space and returns the byte that the scanner then stands at, 0 at
// the end.
func (s *scanner) next() byte {
	for ; s.i < len(s.b); s.i++ {
		if c := s.b[s.i]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// value skips one value and returns its bytes.
func (s *scanner) value() []byte {
	c := s.next()
	first := s.i
	switch c {
	case '"':
		s.str()
	case '{':
		for n := s.open(c); s.more(n, '}'); n++ {
			s.key()
			s.value()
		}
	case '[':
		for n := s.open(c); s.more(n, ']'); n++ {
			s.value()
		}
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
	return s.b[first:s.i]
}

// open goes into an object or an array, and says that it has seen none of it.
func (s *scanner) open(c byte) int {
	if s.depth--; s.depth < 0 || s.next() != c {
		s.fail()
	} else {
		s.i++
	}
	return 0
}

// more reports whether there is more than the first n values before end. It
// goes to the next, or out of the object or the array.
func (s *scanner) more(n int, end byte) bool {
	switch c := s.next(); {
	case c == end:
		s.i++
		s.depth++
		return false
	case n == 0:
		return !s.unsure
	case c == ',':
		s.i++
		return true
	}
	s.fail()
	return false
}

// key reads a key up to its value and returns it without its quotes. The
// scanner is not sure of keys that are not plain ASCII.
func (s *scanner) key() []byte {
	if key, ok := s.bare(); ok && s.next() == ':' {
		s.i++
		return key
	}
	s.fail()
	return nil
}

// bare reads a string that is what stands between its quotes. If there is
// none, it leaves the scanner where it is.
func (s *scanner) bare() ([]byte, bool) {
	if s.next() == '"' {
		first := s.i + 1
		if end := first + plain(s.b[first:]); end < len(s.b) && s.b[end] == '"' {
			s.i = end + 1
			return s.b[first:end], true
		}
	}
	return nil, false
}

func (s *scanner) word(w string) {
	if end := s.i + len(w); end <= len(s.b) && string(s.b[s.i:end]) == w {
		s.i = end
	} else {
		s.fail()
	}
}

// str skips a string, at whose first quote it stands.
func (s *scanner) str() {
	for i := s.i + 1; ; i++ {
		if i += plain(s.b[i:]); i == len(s.b) {
			break
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return
		case c >= utf8.RuneSelf:
			s.wide = true
		case c == '\\':
			if i++; i == len(s.b) || escapes[s.b[i]] == 0 {
				s.fail()
				return
			}
		case c < ' ':
			s.fail()
			return
		}
	}
	s.fail()
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

// number skips a number; it is not one if no digit is where one must be.
func (s *scanner) number() {
	i := s.i
	if i < len(s.b) && s.b[i] == '-' {
		i++
	}
	first := i
	i = digits(s.b, i)
	if i == first || s.b[first] == '0' && i > first+1 {
		s.fail()
		return
	}
	if i < len(s.b) && s.b[i] == '.' {
		first = i + 1
		if i = digits(s.b, first); i == first {
			s.fail()
			return
		}
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		if i++; i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		first = i
		if i = digits(s.b, first); i == first {
			s.fail()
			return
		}
	}
	s.i = i
}

// digits returns where the digits end that may begin at b[i].
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// name is text without a copy, if that can be.
func (s *scanner) name() []byte {
	if b, ok := s.bare(); ok {
		return b
	}
	return []byte(s.text())
}

// text reads a string and returns what it says.
func (s *scanner) text() string {
	if b, ok := s.bare(); ok {
		return string(b)
	}
	if s.next() != '"' {
		s.fail()
		return ""
	}
	i := s.i + 1
	var text strings.Builder
	text.Grow(max(plain(s.b[i:]), bytes.IndexByte(s.b[i:], '"'))) // all of it, unless it quotes
	for {
		n := plain(s.b[i:])
		text.Write(s.b[i : i+n])
		if i += n; i == len(s.b) {
			break
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return text.String()
		case c == '\\':
			if i++; i == len(s.b) || escapes[s.b[i]] == 0 {
				s.fail()
				return ""
			}
			text.WriteByte(escapes[s.b[i]])
			i++
		case c < ' ':
			s.fail()
			return ""
		default:
			r, size := utf8.DecodeRune(s.b[i:])
			if r == utf8.RuneError && size == 1 {
				s.fail()
				return ""
			}
			text.Write(s.b[i : i+size])
			i += size
		}
	}
	s.fail()
	return ""
}

// escapes are the characters behind a backslash and what they stand for; \u is
// left to encoding/json.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// other skips the value of a field that is none of names. The scanner is not
// sure if encoding/json takes key, which is ASCII, for one of them, though it is
// written otherwise.
func (s *scanner) other(key []byte, names ...string) {
	for _, name := range names {
		if len(key) == len(name) && strings.EqualFold(string(key), name) {
			s.fail()
		}
	}
	s.value()
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
	for n := in.open('{'); in.more(n, '}'); n++ {
		var err error
		switch key := in.key(); string(key) {
		case "roomId":
			s.RoomID = in.text()
		case "to":
			s.To = in.text()
		case "description":
			if s.Description == nil {
				s.Description = new(Description)
			}
			in.description(&s)
		case "offer":
			s.Offer, err = strconv.ParseUint(string(in.value()), 10, 64)
		case "candidate":
			err = json.Unmarshal(in.value(), &s.Candidate)
		case "candidates":
			err = json.Unmarshal(in.value(), &s.Candidates)
		default:
			in.other(key, "roomId", "from", "at", "to", "offer", "description", "candidate", "candidates")
		}
		if err != nil {
			in.fail()
		}
	}
	return s, in.done()
}

// description reads the description of a signal.
func (s *scanner) description(of *signal) {
	for n := s.open('{'); s.more(n, '}'); n++ {
		switch key := s.key(); string(key) {
		case "type":
			of.Description.Type = s.text()
		case "sdp":
			s.next()
			first := s.i
			of.Description.SDP = s.text()
			of.sdp = s.b[first:s.i]
		default:
			s.other(key, "type", "sdp")
		}
	}
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
