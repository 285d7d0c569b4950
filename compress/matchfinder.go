package compress

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// matchFinder finds repetitions in one buffer at a time. Its tables are never
// cleared: what an entry says of the bytes at its place is salted anew for
// each buffer, so that those of earlier buffers do not look like any of this
// one. An entry that is mistaken for one costs a comparison.
type matchFinder struct {
	table [1 << tableBits]uint64 // place<<32 | the four bytes there, salted
	long  [1 << tableBits]uint64 // the same; see thorough
	salt  uint32
	buf   []byte
	fence int
	price prices
	short bool       // what matches found last were short copies, as in text
	words *wordIndex // brotli's dictionary, if copies may be from it
}

const (
	tableBits = 14
	minMatch  = 4
	// maxCommands bounds the memory that a block takes in an encoder.
	maxCommands = 6 << 10
)

// hash6 is for rows of one shape: shorter repetitions are mostly chance there.
func hash6(v uint64) uint64 { return (v << 16) * 889523592379 >> (64 - tableBits) }

// begin takes up buf and enters buf[:start], its history, into the table.
func (m *matchFinder) begin(buf []byte, start, fence int, price *prices) {
	m.salt += 0x9e3779b1
	m.buf, m.fence, m.price = buf, fence, *price
	base := unsafe.Pointer(unsafe.SliceData(buf))
	for i := 0; i < start && i+8 <= len(buf); i++ {
		v := load64(base, i)
		m.table[hash6(v)] = uint64(i)<<32 | uint64(uint32(v)+m.salt)
	}
}

// prices are what a copy costs in a coding, in about 1/8 of a bit.
type prices struct {
	copy  int // any
	bit   int // for each bit of its distance
	again int // for each bit of a distance that is that of the copy before
	lazy  int // what it must be better by to start a byte later
	reach uint
}

const (
	byteScore = 44 // what a byte copied saves
	goodMatch = 24 // a copy of this length is taken at once
)

// matches appends commands for buf[start:end], at most maxCommands, and
// returns how far they reach; history is all before.
//
// It looks at two places at a time and remembers the latest one with a hash.
// That is all that lists of rows need. Where copies turn out to be short, as
// they are in prose, it leaves the rest to thorough.
func (m *matchFinder) matches(dst []command, start, end int) ([]command, int) {
	if start == 0 && end <= briefBytes {
		return m.brief(dst, start, end)
	}
	m.short = false
	const soon, short = 16, 20 // of so many copies in a row, so many bytes each
	copied := 0
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	table, salt := &m.table, m.salt
	emitted, repeat := start, 1
	limit := end - 9
	s := max(start, 1)
	for s < limit && len(dst) < maxCommands {
		v := load64(base, s)
		w := v >> 8
		same := v ^ load64(base, s-repeat)
		tag, tag1 := uint32(v)+salt, uint32(w)+salt
		e := &table[hash6(v)]
		entry := *e
		*e = uint64(s)<<32 | uint64(tag)
		e1 := &table[hash6(w)]
		entry1 := *e1
		*e1 = uint64(s+1)<<32 | uint64(tag1)
		if uint32(entry) != tag && uint32(entry1) != tag1 && uint32(same) != 0 && uint32(same>>8) != 0 {
			s += 2 + (s-emitted)>>5
			continue
		}
		best := match{at: s}
		if uint32(same) == 0 {
			best.repeated(m.length(s-repeat, s, end), repeat, &m.price)
		}
		if at := int(entry >> 32); uint32(entry) == tag && uint(s-at-1) < m.price.reach && load32(base, at) == uint32(v) {
			best.improve(m.length(at, s, end), s-at, &m.price)
		}
		if best.length < goodMatch {
			next := match{at: s + 1}
			if uint32(same>>8) == 0 {
				next.repeated(m.length(s+1-repeat, s+1, end), repeat, &m.price)
			}
			if at := int(entry1 >> 32); uint32(entry1) == tag1 && uint(s-at) < m.price.reach && load32(base, at) == uint32(w) {
				next.improve(m.length(at, s+1, end), s+1-at, &m.price)
			}
			if next.score > best.score+m.price.lazy {
				best = next
			}
		}
		if best.score <= 0 {
			s += 2 + (s-emitted)>>5
			continue
		}
		dst = append(dst, m.command(best, emitted))
		to := best.at + best.length
		for i := best.at + 2; i < min(to, limit); i += 8 {
			v := load64(base, i)
			table[hash6(v)] = uint64(i)<<32 | uint64(uint32(v)+salt)
		}
		s, emitted, repeat = to, to, best.distance
		copied += best.length
		if len(dst)%soon == 0 {
			switch {
			case copied >= soon*short:
				copied = 0
			case len(dst) == soon: // no further yet: begin again
				return m.thorough(dst[:0], start, 1, end)
			default:
				return m.thorough(dst, emitted, repeat, end)
			}
		}
	}
	return m.rest(dst, emitted, end)
}

// rest appends what is left of a block, all literals, if it ends here.
func (m *matchFinder) rest(dst []command, emitted, end int) ([]command, int) {
	if len(dst) == maxCommands || emitted == end {
		return dst, emitted
	}
	return append(dst, command{insert: uint32(end - emitted)}), end
}

// A match is a possible copy, with what it saves. At first it saves nothing.
type match struct{ at, length, distance, score int }

// repeated makes f a copy from the distance of the one before.
func (f *match) repeated(length, distance int, p *prices) {
	f.length, f.distance, f.score = length, distance, length*byteScore-p.copy-p.again*bits.Len(uint(distance))
}

// improve makes f a copy from distance if that saves more.
func (f *match) improve(length, distance int, p *prices) {
	if score := length*byteScore - p.copy - p.bit*bits.Len(uint(distance)); score > f.score {
		f.length, f.distance, f.score = length, distance, score
	}
}

// command is the match with the literals before it, from emitted on, and
// reaches back over those that are equal.
func (m *matchFinder) command(f match, emitted int) command {
	s := f.at
	for s > emitted && s-f.distance > 0 && m.buf[s-1] == m.buf[s-f.distance-1] && s-f.distance != m.fence {
		s--
	}
	return command{uint32(s - emitted), uint32(f.at + f.length - s), uint32(f.distance)}
}

// extent is length where the difference of the first eight bytes is known: in
// prose it mostly says all.
func (m *matchFinder) extent(difference uint64, a, b, end int) int {
	if difference != 0 && a >= m.fence {
		return bits.TrailingZeros64(difference) >> 3
	}
	return m.length(a, b, end)
}

// length returns how many bytes from a and from b, a < b, are equal, up to
// end. The first four are. A copy that starts before the fence ends there; it
// has none that is shorter than minMatch.
func (m *matchFinder) length(a, b, end int) int {
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	n, back := b+minMatch, b-a
	for n+8 <= end {
		if x := load64(base, n-back) ^ load64(base, n); x != 0 {
			return m.fenced(a, n-b+bits.TrailingZeros64(x)>>3)
		}
		n += 8
	}
	for n < end && m.buf[n] == m.buf[n-back] {
		n++
	}
	return m.fenced(a, n-b)
}

func (m *matchFinder) fenced(a, n int) int {
	if a < m.fence {
		if n = min(n, m.fence-a); n < minMatch {
			return 0
		}
	}
	return n
}

// load64 and load32 read from base+i, and put64 writes there. Nothing checks
// that this is inside of what base points to.
func load64(base unsafe.Pointer, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(base, i))[:])
}

func load32(base unsafe.Pointer, i int) uint32 {
	return binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(base, i))[:])
}

func put64(base unsafe.Pointer, i int, v uint64) {
	binary.LittleEndian.PutUint64((*[8]byte)(unsafe.Add(base, i))[:], v)
}
