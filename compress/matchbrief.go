package compress

import "unsafe"

const (
	briefBytes = 2 << 10 // the longest body that is brief's
	briefBits  = 11      // so much of the table stays in the fastest cache
	leastGain  = 48      // a copy that saves less is not worth the time
)

func hash4(v uint64) uint64 { return uint64(uint32(v)*0x9e3779b1) >> (32 - briefBits) }

// brief is matches for bodies so short that little in them repeats. It takes
// copies of four bytes. Words, of which text and names consist, it looks up in
// brotli's dictionary, if there is one, and does not look into.
func (m *matchFinder) brief(dst []command, start, end int) ([]command, int) {
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	emitted, repeat := start, 1
	limit := end - 9
	for s := max(start, 1); s < limit; {
		v := load64(base, s)
		entry := m.enter(s, v)
		letters := 0
		if m.words != nil {
			letters = smallLetters(v)
		}
		if uint32(entry) != uint32(v)+m.salt && uint32(load64(base, s-repeat)^v) != 0 && letters < minWord {
			s += max(letters, 1)
			continue
		}
		best := m.glance(base, entry, s, repeat, end)
		if letters >= minWord {
			best = m.word(best, s, v, letters, end)
		}
		if best.score < leastGain {
			s += max(letters, 1)
			continue
		}
		dst = append(dst, m.command(best, emitted))
		s = best.at + best.length
		emitted = s
		if best.distance>>wordShift == 0 {
			repeat = best.distance
		}
		for i := best.at + 2; i < min(s, limit); i += 4 {
			m.enter(i, load64(base, i))
		}
	}
	return m.rest(dst, emitted, end)
}

// enter remembers place s, where v is, and returns the one before it.
func (m *matchFinder) enter(s int, v uint64) (entry uint64) {
	e := &m.table[hash4(v)]
	entry = *e
	*e = uint64(s)<<32 | uint64(uint32(v)+m.salt)
	return entry
}

// glance returns the best copy at s: of what entry says or from repeat back.
func (m *matchFinder) glance(base unsafe.Pointer, entry uint64, s, repeat, end int) (best match) {
	best.at = s
	v := load64(base, s)
	if same := load64(base, s-repeat) ^ v; uint32(same) == 0 {
		best.repeated(m.extent(same, s-repeat, s, end), repeat, &m.price)
	}
	if at := int(entry >> 32); uint32(entry) == uint32(v)+m.salt && uint(s-at-1) < m.price.reach {
		if same := load64(base, at) ^ v; uint32(same) == 0 {
			best.improve(m.extent(same, at, s, end), s-at, &m.price)
		}
	}
	return best
}
