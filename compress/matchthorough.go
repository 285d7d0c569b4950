package compress

import (
	"math/bits"
	"unsafe"
)

const (
	weighed       = 16 // so many bytes of a copy are compared to choose one
	denseLiterals = 9  // after more, mostly in a key, every other place is passed over
	ending        = 7  // so many places are entered before the end of a copy
)

// hashes are of the first five bytes of v, and of all eight. To shift the
// product is the same as to shift v.
func hashes(v uint64) (of5, of8 uint64) {
	v *= 0x9e3779b185ebca87
	return v << 24 >> (64 - tableBits), v >> (64 - tableBits)
}

// thorough goes on where matches stopped, for text whose repetitions are
// short and many: it knows besides the latest place with a hash the latest one
// with a long repetition, and tries whether a copy is better begun a byte
// later.
func (m *matchFinder) thorough(dst []command, emitted, repeat, end int) ([]command, int) {
	m.short = true
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	wordy := 0
	if m.words != nil {
		wordy = briefBytes // after which a text mostly repeats its own
	}
	limit := end - weighed
	for s := max(emitted, m.fence+1); s < limit && len(dst) < maxCommands; {
		stop := limit
		if s < wordy {
			stop = s + 1
		}
		best := m.seek(base, s, emitted, repeat, stop)
		if best.at >= limit {
			break
		}
		if best.length == weighed || load32(base, best.at) == load32(base, best.at-repeat) {
			best = m.full(best, base, repeat, end)
		}
		if s < wordy {
			best = m.wordAt(best, s, end)
		}
		if best.score <= 0 {
			if s < wordy {
				s += 1 + (s-emitted)>>5
			} else {
				s = best.at + 1
			}
			continue
		}
		dst = append(dst, m.command(best, emitted))
		s = best.at + best.length
		emitted = s
		if best.distance>>wordShift == 0 {
			repeat = best.distance
		}
		if s < limit {
			m.enterEnding(base, s)
		}
	}
	return m.rest(dst, emitted, end)
}

// seek enters places from s on, up to limit, and returns the first copy that
// saves something, weighed against the one a byte later. It stops, too, where
// the one from repeat begins, and at the last place.
//
// Which table knows a copy, how long that is and which of two is better is hard
// to foretell, so that nothing branches on it: a branch that goes wrong takes
// as long as all of this.
//
//go:noinline
func (m *matchFinder) seek(base unsafe.Pointer, s, emitted, repeat, limit int) match {
	for s < limit {
		v := load64(base, s)
		tag := uint32(v) + m.salt
		of5, of8 := hashes(v)
		entry := exchange(&m.table[of5], &m.long[of8], uint64(s)<<32|uint64(tag))
		same := load32(base, s-repeat) ^ uint32(v)
		if uint32(entry) == tag || same == 0 {
			distance := 1 + (s-int(entry>>32)-1)&int(ifZero(uint32(entry)^tag))
			if uint(distance-1) >= m.price.reach || s-distance < m.fence {
				distance = 1
			}
			length := bits.TrailingZeros64(load64(base, s-distance)^v) >> 3
			length += bits.TrailingZeros64(load64(base, s-distance+8)^load64(base, s+8)) >> 3 & -(length >> 3)
			score := length*byteScore - m.price.bit*bits.Len32(uint32(distance))

			v = load64(base, s+1)
			tag = uint32(v) + m.salt
			of5, of8 = hashes(v)
			entry = exchange(&m.table[of5], &m.long[of8], uint64(s+1)<<32|uint64(tag))
			distance1 := 1 + (s-int(entry>>32))&int(ifZero(uint32(entry)^tag))
			if uint(distance1-1) >= m.price.reach || s+1-distance1 < m.fence {
				distance1 = 1
			}
			length1 := bits.TrailingZeros64(load64(base, s+1-distance1)^v) >> 3
			length1 += bits.TrailingZeros64(load64(base, s+9-distance1)^load64(base, s+9)) >> 3 & -(length1 >> 3)
			score1 := length1*byteScore - m.price.bit*bits.Len32(uint32(distance1)) - m.price.lazy

			later := (score - score1) >> (bits.UintSize - 1)
			length ^= (length ^ length1) & later
			distance ^= (distance ^ distance1) & later
			score ^= (score ^ score1) & later
			if length < minMatch {
				score = 0
			}
			if score > m.price.copy || same == 0 || s+1 == limit {
				return match{s - later, length, distance, score - m.price.copy}
			}
			s++
		}
		if s++; s-emitted > denseLiterals {
			s++
		}
	}
	return match{at: s}
}

// exchange sets both entries to here and returns what was there: of the long
// repetition, if it is one.
func exchange(e, e8 *uint64, here uint64) uint64 {
	entry, entry8 := *e, *e8
	*e, *e8 = here, here
	return entry ^ (entry^entry8)&ifZero(uint32(entry8^here))
}

// ifZero returns all ones if x is zero, and otherwise none.
func ifZero(x uint32) uint64 { return uint64(int64(uint64(x)-1) >> 63) }

// full returns best in its full length, or the copy there from repeat if that
// saves more.
func (m *matchFinder) full(best match, base unsafe.Pointer, repeat, end int) match {
	if best.length == weighed {
		f := match{at: best.at}
		f.improve(m.length(f.at-best.distance, f.at, end), best.distance, &m.price)
		best = f
	}
	if load32(base, best.at) == load32(base, best.at-repeat) {
		f := match{at: best.at}
		f.repeated(m.length(f.at-repeat, f.at, end), repeat, &m.price)
		if f.score > best.score {
			return f
		}
	}
	return best
}

// enterEnding enters the places before to, and not which of them are new: the
// next copy will begin there, or before.
//
//go:noinline
func (m *matchFinder) enterEnding(base unsafe.Pointer, to int) {
	salt := m.salt
	for i := max(to-ending, 0); i < to; i++ {
		v := load64(base, i)
		of5, of8 := hashes(v)
		here := uint64(i)<<32 | uint64(uint32(v)+salt)
		m.table[of5], m.long[of8] = here, here
	}
}
