package compress

import (
	"encoding/binary"
	"math/bits"
)

// matchFinder finds repetitions in one buffer at a time. Its table is never
// cleared: entries count from an origin that moves past each buffer, so those
// of earlier buffers are recognised as too old. A small body costs little.
type matchFinder struct {
	table  [1 << tableBits][2]uint32 // the two latest places with a hash
	origin uint32
	buf    []byte
	fence  int
}

const (
	tableBits = 14
	minMatch  = 4
)

func hashOf(v uint64) uint32 {
	return uint32((v << 24) * 889523592379 >> (64 - tableBits))
}

// begin takes up buf and enters buf[:start], its history, into the table.
func (m *matchFinder) begin(buf []byte, start, fence int) {
	if m.origin == 0 || int64(m.origin)+int64(len(m.buf))+int64(len(buf)) > 1<<31-1 {
		clear(m.table[:])
		m.origin = 1
	} else {
		m.origin += uint32(len(m.buf))
	}
	m.buf, m.fence = buf, fence
	for i := 0; i < start && i+8 <= len(buf); i++ {
		m.enter(binary.LittleEndian.Uint64(buf[i:]), i)
	}
}

func (m *matchFinder) enter(v uint64, at int) {
	e := &m.table[hashOf(v)]
	e[0], e[1] = m.origin+uint32(at), e[0]
}

// A match is a possible copy, with what it saves in about 1/8 of a bit.
type match struct {
	length, distance int
	score            int
}

// matches appends the commands for buf[start:end]; history is all before.
func (m *matchFinder) matches(dst []command, start, end int) []command {
	buf := m.buf[:end]
	emitted, repeat := start, 0
	limit := end - 8
	for s := start; s < limit; {
		best := m.best(buf, s, repeat)
		if best.score < 0 {
			s += 1 + (s-emitted)>>5
			continue
		}
		// A better one may start at the next byte.
		for range 3 {
			if s+1 >= limit || best.length >= 24 {
				break
			}
			next := m.best(buf, s+1, repeat)
			if next.score < best.score+lazyScore {
				break
			}
			s, best = s+1, next
		}
		// Reach back over literals not yet written.
		distance := best.distance
		end := s + best.length
		for s > emitted && s-distance > 0 && buf[s-1] == buf[s-distance-1] && s-distance != m.fence {
			s--
		}
		dst = append(dst, command{uint32(s - emitted), uint32(end - s), uint32(distance)})
		for i := s + 2; i < min(end, limit); i += 2 {
			m.enter(binary.LittleEndian.Uint64(buf[i:]), i)
		}
		s, emitted, repeat = end, end, distance
	}
	if emitted < end {
		dst = append(dst, command{insert: uint32(end - emitted)})
	}
	return dst
}

const (
	byteScore = 44 // what a byte copied saves
	baseScore = 36 // what a copy costs
	bitScore  = 8  // what a bit of distance costs
	lazyScore = 40
)

// best returns the best match at s, or one with a score below 0, and enters
// s into the table.
func (m *matchFinder) best(buf []byte, s, repeat int) match {
	v := binary.LittleEndian.Uint64(buf[s:])
	best := match{score: -1}
	if repeat > 0 && s >= repeat && uint32(v) == binary.LittleEndian.Uint32(buf[s-repeat:]) {
		n := m.length(buf, s-repeat, s)
		if score := n*byteScore - baseScore; n >= minMatch && score > best.score {
			best = match{n, repeat, score}
		}
	}
	e := &m.table[hashOf(v)]
	for _, entry := range e {
		if entry < m.origin {
			break
		}
		at := int(entry - m.origin)
		if at >= s || binary.LittleEndian.Uint32(buf[at:]) != uint32(v) {
			continue
		}
		n := m.length(buf, at, s)
		if score := n*byteScore - baseScore - bitScore*bits.Len(uint(s-at)); n >= minMatch && score > best.score {
			best = match{n, s - at, score}
		}
	}
	if e[0] != m.origin+uint32(s) {
		e[0], e[1] = m.origin+uint32(s), e[0]
	}
	return best
}

// length returns how many bytes from a and from b, a < b, are equal. A copy
// that starts before the fence ends there.
func (m *matchFinder) length(buf []byte, a, b int) int {
	most := len(buf) - b
	if a < m.fence {
		most = min(most, m.fence-a)
	}
	n := 0
	for n+8 <= most {
		if x := binary.LittleEndian.Uint64(buf[a+n:]) ^ binary.LittleEndian.Uint64(buf[b+n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < most && buf[a+n] == buf[b+n] {
		n++
	}
	return n
}
