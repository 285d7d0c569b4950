package signaling

import (
	"bytes"
	"encoding/json"
	"math/bits"
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
