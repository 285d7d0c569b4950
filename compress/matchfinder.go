package compress

import (
	"encoding/binary"
	"math/bits"
)

// matchFinder finds repetitions in one buffer at a time. Its table is never
// cleared: entries count from an origin that moves past each buffer, so those
// of earlier buffers are recognised as too old. A small body costs little.
type matchFinder struct {
	table  [1 << tableBits]uint32
	origin uint32
	buf    []byte
	fence  int
}

const (
	tableBits = 15
	minMatch  = 5
)

func hash5(v uint64) uint32 {
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
		m.table[hash5(binary.LittleEndian.Uint64(buf[i:]))] = m.origin + uint32(i)
	}
}

// matches appends the commands for buf[start:end]; history is all before.
func (m *matchFinder) matches(dst []command, start, end int) []command {
	buf, origin := m.buf[:end], m.origin
	emitted := start
	repeat := 0
	limit := end - 8
	for s := start; s < limit; {
		v := binary.LittleEndian.Uint64(buf[s:])
		length, distance := 0, 0
		if repeat > 0 && s >= repeat && uint32(v) == binary.LittleEndian.Uint32(buf[s-repeat:]) {
			length, distance = m.length(buf, s-repeat, s), repeat
		}
		h := hash5(v)
		entry := m.table[h]
		m.table[h] = origin + uint32(s)
		if entry >= origin && length < 16 {
			at := int(entry - origin)
			if binary.LittleEndian.Uint32(buf[at:]) == uint32(v) {
				if n := m.length(buf, at, s); n >= minMatch && n > length+1 {
					length, distance = n, s-at
				}
			}
		}
		if length < 4 {
			s += 1 + (s-emitted)>>6
			continue
		}
		// Reach back over literals not yet written.
		for s > emitted && s-distance > 0 && buf[s-1] == buf[s-distance-1] && s-distance != m.fence {
			s--
			length++
		}
		dst = append(dst, command{uint32(s - emitted), uint32(length), uint32(distance)})
		next := s + length
		for i := s + 1; i < min(next, limit); i += 2 {
			m.table[hash5(binary.LittleEndian.Uint64(buf[i:]))] = origin + uint32(i)
		}
		s, emitted, repeat = next, next, distance
	}
	if emitted < end {
		dst = append(dst, command{insert: uint32(end - emitted)})
	}
	return dst
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
