package compress

import (
	"math/bits"
	"slices"
)

// prefixCode is a prefix code in the sense of RFC 7932, section 3.
type prefixCode struct {
	depth [704]uint8
	// codes are depth<<16 | code, bits reversed as they are written. Only
	// those of symbols in use are set.
	codes [704]uint32
}

// prefixScratch is the working memory for building and storing codes.
type prefixScratch struct {
	used []uint16 // the symbols in use, in order
	keys []uint32 // count<<10 | symbol, sorted
	runs []lengthRun

	// The nodes of a tree: leaves, one that is none, inner ones.
	counts  [maxNodes]uint32
	parents [maxNodes]uint16
}

const maxNodes = 2048 // more than 2 * 704, and a power of two

type lengthRun struct{ symbol, extra uint8 }

// build computes the code for the counts of an alphabet, no code longer than
// limit bits.
func (pc *prefixCode) build(s *prefixScratch, counts []uint32, limit int) {
	s.used = s.used[:0]
	for i := 0; i+8 <= len(counts); i += 8 {
		c := counts[i : i+8 : i+8]
		if c[0]|c[1]|c[2]|c[3]|c[4]|c[5]|c[6]|c[7] == 0 {
			continue
		}
		for j, n := range c {
			if n > 0 {
				s.used = append(s.used, uint16(i+j))
			}
		}
	}
	if len(s.used) <= 1 {
		for _, sym := range s.used {
			pc.depth[sym] = 1
		}
		return
	}
	s.sort(counts)
	for floor := uint32(1); ; floor *= 2 {
		if pc.assign(s, floor) <= limit {
			break
		}
	}
}

// sort fills keys: small counts go straight to their places, and the few large
// ones are put in order behind them.
func (s *prefixScratch) sort(counts []uint32) {
	const small = 64
	n := len(s.used)
	s.keys = slices.Grow(s.keys[:0], n)[:n]
	var at [small]uint16
	for _, sym := range s.used {
		if c := counts[sym]; c < small {
			at[c]++
		}
	}
	sum := uint16(0)
	for c, n := range at {
		at[c] = sum
		sum += n
	}
	first := int(sum)
	end := first
	for _, sym := range s.used {
		c := counts[sym]
		if c < small {
			s.keys[at[c]] = c<<10 | uint32(sym)
			at[c]++
			continue
		}
		s.keys[end] = c<<10 | uint32(sym)
		end++
	}
	slices.Sort(s.keys[first:])
}

// assign gives each symbol its depth in a Huffman tree in which no count is
// taken as less than floor, and returns the greatest depth.
func (pc *prefixCode) assign(s *prefixScratch, floor uint32) int {
	const never = 1<<32 - 1
	n := len(s.keys)
	counts, parents := &s.counts, &s.parents
	for i, k := range s.keys {
		counts[i&(maxNodes-1)] = max(k>>10, floor)
	}
	counts[n&(maxNodes-1)] = never
	// Leaves and inner nodes each come in order of their counts, so the two
	// smallest are always at the front of one of the two rows. Which one is
	// hard to foretell, so that nothing here branches on it.
	leaf, inner, root := 0, n+1, 2*n-1
	for next := n + 1; next <= root; next++ {
		counts[next&(maxNodes-1)] = never
		sum := uint32(0)
		for range 2 {
			a, b := counts[leaf&(maxNodes-1)], counts[inner&(maxNodes-1)]
			less := int((uint64(b) - uint64(a)) >> 63) // 1 if it is the inner one
			parents[(leaf+less*(inner-leaf))&(maxNodes-1)] = uint16(next)
			leaf, inner = leaf+1-less, inner+less
			sum += min(a, b)
		}
		counts[next&(maxNodes-1)] = sum
	}
	// Walk down from the root; a node's count becomes its depth.
	counts[root&(maxNodes-1)] = 0
	for i := root - 1; i > n; i-- {
		counts[i&(maxNodes-1)] = counts[parents[i&(maxNodes-1)]&(maxNodes-1)] + 1
	}
	for i, k := range s.keys {
		pc.depth[k&0x3ff] = uint8(min(counts[parents[i&(maxNodes-1)]&(maxNodes-1)]+1, 255))
	}
	return int(counts[parents[0]&(maxNodes-1)]) + 1 // the rarest is the deepest
}

// number assigns the canonical codes for the depths, returns the bits that
// all symbols take together, and sets the counts to zero.
func (pc *prefixCode) number(s *prefixScratch, counts []uint32) (total int) {
	var at, next [16]uint16
	for _, sym := range s.used {
		d := pc.depth[sym] & 15
		at[d]++
		total += int(d) * int(counts[sym])
		counts[sym] = 0
	}
	code := uint16(0)
	for d := 1; d < len(next); d++ {
		code = (code + at[d-1]) << 1
		next[d] = code
	}
	for _, sym := range s.used {
		d := pc.depth[sym] & 15
		pc.codes[sym] = uint32(d)<<16 | uint32(bits.Reverse16(next[d])>>(16-d))
		next[d]++
	}
	return total
}

// store builds the code for counts, no longer than limit bits, writes it, RFC 7932, sections 3.4 and
// 3.5, and returns the bits that the symbols will take. Counts are zero then.
func (pc *prefixCode) store(w *bitWriter, s *prefixScratch, counts []uint32, limit int) (total int) {
	pc.build(s, counts, limit)
	if len(s.used) <= 4 {
		pc.storeSimple(w, s, uint(bits.Len(uint(len(counts)-1))))
	} else {
		pc.storeComplex(w, s)
	}
	total = pc.number(s, counts)
	if len(s.used) == 1 {
		pc.codes[s.used[0]] = 0 // one symbol needs no bits
	}
	return total
}

func (pc *prefixCode) storeSimple(w *bitWriter, s *prefixScratch, width uint) {
	used := len(s.used)
	w.write(2, 1)
	w.write(2, uint64(max(used, 1)-1))
	if used == 0 {
		w.write(width, 0)
		return
	}
	symbols := s.keys[:0]
	for _, sym := range s.used {
		symbols = append(symbols, uint32(pc.depth[sym])<<10|uint32(sym))
	}
	slices.Sort(symbols)
	for _, k := range symbols {
		w.write(width, uint64(k&0x3ff))
	}
	if used == 4 {
		if symbols[0]>>10 == 1 {
			w.write(1, 1)
		} else {
			w.write(1, 0)
		}
	}
}

// The order in which code length code lengths are stored, and the fixed
// prefix code for them.
var (
	lengthOrder = [18]uint8{1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	lengthBits  = [6]uint8{0, 7, 3, 2, 1, 15}
	lengthWidth = [6]uint8{2, 4, 3, 2, 2, 4}
)

func (pc *prefixCode) storeComplex(w *bitWriter, s *prefixScratch) {
	s.runs = pc.appendRuns(s.runs[:0], s.used)
	var counts [18]uint32
	for _, r := range s.runs {
		counts[r.symbol]++
	}
	var lengths lengthCode
	kinds := lengths.build(counts[:], 5)

	stored := len(lengthOrder)
	if kinds > 1 {
		for lengths.depth[lengthOrder[stored-1]] == 0 {
			stored--
		}
	}
	skip := 0
	if lengths.depth[1] == 0 && lengths.depth[2] == 0 {
		skip = 2
		if lengths.depth[3] == 0 {
			skip = 3
		}
	}
	w.write(2, uint64(skip))
	for _, sym := range lengthOrder[skip:stored] {
		d := lengths.depth[sym]
		w.write(uint(lengthWidth[d]), uint64(lengthBits[d]))
	}
	if kinds == 1 {
		clear(lengths.codes[:]) // one symbol needs no bits
	}
	extra := [18]uint8{16: 2, 17: 3}
	r := w.room(len(s.runs) * 8)
	for _, l := range s.runs {
		r = r.add(lengths.codes[l.symbol]).bits(uint(extra[l.symbol]), uint64(l.extra)).flush()
	}
	w.end(r)
}

// appendRuns writes depths as code lengths and repetitions of them.
func (pc *prefixCode) appendRuns(runs []lengthRun, used []uint16) []lengthRun {
	next, previous := 0, uint8(8)
	for len(used) > 0 {
		sym := int(used[0])
		if gap := sym - next; gap > 0 {
			runs = appendRun(runs, 0, gap, 17, 3, 11)
		}
		d, n := pc.depth[sym], 1
		for n < len(used) && int(used[n]) == sym+n && pc.depth[used[n]] == d {
			n++
		}
		used = used[n:]
		next = sym + n
		if d != previous {
			runs = append(runs, lengthRun{symbol: d})
			previous = d
			n--
		}
		if n > 0 {
			runs = appendRun(runs, d, n, 16, 2, 7)
		}
	}
	return runs
}

// appendRun writes n lengths d, where symbol repeats them with shift bits.
func appendRun(runs []lengthRun, d uint8, n int, symbol uint8, shift uint, awkward int) []lengthRun {
	if n == awkward { // one literal and one repetition instead of two
		runs = append(runs, lengthRun{symbol: d})
		n--
	}
	if n < 3 {
		for range n {
			runs = append(runs, lengthRun{symbol: d})
		}
		return runs
	}
	start := len(runs)
	for n -= 3; ; n-- {
		runs = append(runs, lengthRun{symbol, uint8(n & (1<<shift - 1))})
		if n >>= shift; n == 0 {
			break
		}
	}
	slices.Reverse(runs[start:])
	return runs
}

// lengthCode is the code of the code lengths: small enough for the stack.
type lengthCode struct {
	depth [19]uint8
	codes [19]uint32 // as in prefixCode
}

// build makes a code of at most limit bits, 7 or less, for up to 19 symbols.
// One symbol alone has depth 1.
func (lc *lengthCode) build(counts []uint32, limit uint8) (used int) {
	var order [19]uint8
	total := uint32(0)
	for sym, n := range counts {
		total += n
		if n == 0 {
			continue
		}
		i := used
		for ; i > 0 && counts[order[i-1]] > n; i-- {
			order[i] = order[i-1]
		}
		order[i] = uint8(sym)
		used++
	}
	if used == 1 {
		lc.depth[order[0]] = 1
		lc.codes[order[0]] = 1 << 16
		return 1
	}
	for floor := max(total>>(limit+1), 1); ; floor *= 2 {
		var weight [37]uint32
		var parent [37]uint8
		for i := range used {
			weight[i] = max(counts[order[i]], floor)
		}
		leaf, inner, root := 0, used, 2*used-2
		for next := used; next <= root; next++ {
			for range 2 {
				var pick int
				if leaf < used && (inner >= next || weight[leaf] <= weight[inner]) {
					pick = leaf
					leaf++
				} else {
					pick = inner
					inner++
				}
				weight[next] += weight[pick]
				parent[pick] = uint8(next)
			}
		}
		var depth [37]uint8
		deepest := uint8(0)
		for i := root - 1; i >= 0; i-- {
			depth[i] = depth[parent[i]] + 1
			deepest = max(deepest, depth[i])
		}
		if deepest > limit {
			continue
		}
		for i := range used {
			lc.depth[order[i]] = depth[i]
		}
		break
	}
	var next [8]uint8
	for _, d := range lc.depth {
		next[d&7]++
	}
	next[0] = 0
	code, before := uint8(0), uint8(0)
	for d := 1; d < len(next); d++ {
		code = (code + before) << 1
		before, next[d] = next[d], code
	}
	for sym, d := range lc.depth {
		if d > 0 {
			lc.codes[sym] = uint32(d)<<16 | uint32(bits.Reverse8(next[d&7])>>(8-d))
			next[d&7]++
		}
	}
	return used
}
