package compress

import "unsafe"

// Hashes of thorough: five bytes, and eight.
func hash5(v uint64) uint64 { return (v << 24) * 889523592379 >> (64 - tableBits) }
func hash8(v uint64) uint64 { return v * 0x9e3779b185ebca87 >> (64 - tableBits) }

// thorough goes on where matches stopped, for text whose repetitions are
// short and many: it looks at each place, knows besides the latest place with
// a hash the latest one with a long repetition, and tries whether a copy is
// better begun a byte later.
func (m *matchFinder) thorough(dst []command, emitted, repeat, end int) ([]command, int) {
	m.short = true
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	wordy := 0
	if m.words != nil {
		wordy = briefBytes // after which a text mostly repeats its own
	}
	limit := end - 9
	for s := max(emitted, 1); s < limit && len(dst) < maxCommands; {
		best := m.look(base, s, repeat, end)
		if s < wordy {
			best = m.wordAt(best, s, end)
		}
		if best.score <= 0 {
			s += 1 + (s-emitted)>>5
			continue
		}
		isWord := best.distance>>wordShift > 0
		if best.length < textMatch && !isWord && s+1 < limit {
			if next := m.look(base, s+1, repeat, end); next.score > best.score+m.price.lazy {
				best = next
			}
		}
		dst = append(dst, m.command(best, emitted))
		s = best.at + best.length
		for i := best.at + 2; i < min(s, limit); {
			v := load64(base, i)
			here := uint64(i)<<32 | uint64(uint32(v)+m.salt)
			m.table[hash5(v)], m.long[hash8(v)] = here, here
			if s-i > 8 {
				i += 16 // the next copy will begin where this one ends, or before
			} else {
				i += m.price.step
			}
		}
		if emitted = s; !isWord {
			repeat = best.distance
		}
	}
	return m.rest(dst, emitted, end)
}

// look returns the best match at s and enters s into both tables.
func (m *matchFinder) look(base unsafe.Pointer, s, repeat, end int) (best match) {
	v := load64(base, s)
	tag := uint32(v) + m.salt
	e, e8 := &m.table[hash5(v)], &m.long[hash8(v)]
	entry, entry8 := *e, *e8
	here := uint64(s)<<32 | uint64(tag)
	*e, *e8 = here, here
	same := load64(base, s-repeat) ^ v
	if uint32(same) != 0 && uint32(entry) != tag && uint32(entry8) != tag {
		return best
	}
	best.at = s
	if uint32(same) == 0 {
		best.repeated(m.extent(same, s-repeat, s, end), repeat, &m.price)
	}
	if at := int(entry8 >> 32); uint32(entry8) == tag && uint(s-at-1) < m.price.reach && load64(base, at) == v {
		best.improve(m.length(at, s, end), s-at, &m.price)
		return best
	}
	if at := int(entry >> 32); uint32(entry) == tag && uint(s-at-1) < m.price.reach {
		if same := load64(base, at) ^ v; uint32(same) == 0 {
			best.improve(m.extent(same, at, s, end), s-at, &m.price)
		}
	}
	return best
}
