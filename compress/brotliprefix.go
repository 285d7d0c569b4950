package compress

import (
	"math/bits"
	"slices"
)

// prefixCode is a prefix code in the sense of RFC 7932, section 3.
type prefixCode struct {
	depth [704]uint8
	code  [704]uint16
}

// prefixScratch is the working memory for building and storing codes.
type prefixScratch struct {
	keys  []uint64 // count<<16 | symbol, sorted
	nodes [2 * 704]struct {
		count       uint32
		left, right int16
	}
	runs []lengthRun
}

type lengthRun struct{ symbol, extra uint8 }

// build computes the code for the counts of an alphabet, no code longer than
// limit bits, and returns the number of symbols in use.
func (pc *prefixCode) build(s *prefixScratch, counts []uint32, limit int) (used int) {
	clear(pc.depth[:len(counts)])
	s.keys = s.keys[:0]
	for sym, n := range counts {
		if n > 0 {
			s.keys = append(s.keys, uint64(n)<<16|uint64(sym))
		}
	}
	used = len(s.keys)
	if used == 0 {
		return 0
	}
	if used == 1 {
		pc.depth[s.keys[0]&0xffff] = 1
		return 1
	}
	slices.Sort(s.keys)
	for floor := uint32(1); ; floor *= 2 {
		if pc.assign(s, floor) <= limit {
			break
		}
	}
	return used
}

// assign gives each symbol its depth in a Huffman tree in which no count is
// taken as less than floor, and returns the greatest depth.
func (pc *prefixCode) assign(s *prefixScratch, floor uint32) int {
	n := len(s.keys)
	for i, k := range s.keys {
		s.nodes[i].count = max(uint32(k>>16), floor)
		s.nodes[i].left = -1
		s.nodes[i].right = int16(k & 0xffff)
	}
	// Leaves and inner nodes each come in order of their counts, so the two
	// smallest are always at the front of one of the two rows.
	leaf, inner := 0, n
	for next := n; next < 2*n-1; next++ {
		var pick [2]int16
		for j := range pick {
			if leaf < n && (inner >= next || s.nodes[leaf].count <= s.nodes[inner].count) {
				pick[j] = int16(leaf)
				leaf++
			} else {
				pick[j] = int16(inner)
				inner++
			}
		}
		s.nodes[next].count = s.nodes[pick[0]].count + s.nodes[pick[1]].count
		s.nodes[next].left, s.nodes[next].right = pick[0], pick[1]
	}
	// Walk down from the root; an inner node's count becomes its depth.
	deepest := 0
	s.nodes[2*n-2].count = 0
	for i := 2*n - 2; i >= n; i-- {
		d := s.nodes[i].count + 1
		deepest = max(deepest, int(d))
		s.nodes[s.nodes[i].left].count = d
		s.nodes[s.nodes[i].right].count = d
	}
	for i := range n {
		pc.depth[s.nodes[i].right] = uint8(min(s.nodes[i].count, 255))
	}
	return deepest
}

// number assigns the canonical codes for the depths, bits reversed as they
// are written.
func (pc *prefixCode) number(alphabet int) {
	var count, next [17]uint16
	for _, d := range pc.depth[:alphabet] {
		count[d]++
	}
	code := uint16(0)
	count[0] = 0
	for d := 1; d < len(next); d++ {
		code = (code + count[d-1]) << 1
		next[d] = code
	}
	for sym, d := range pc.depth[:alphabet] {
		if d > 0 {
			pc.code[sym] = bits.Reverse16(next[d]) >> (16 - d)
			next[d]++
		}
	}
}

// store builds the code for counts and writes it, RFC 7932, sections 3.4 and 3.5.
func (pc *prefixCode) store(w *bitWriter, s *prefixScratch, counts []uint32) {
	used := pc.build(s, counts, 15)
	width := uint(bits.Len(uint(len(counts) - 1)))
	if used <= 4 {
		pc.storeSimple(w, s, used, width)
	} else {
		pc.storeComplex(w, s, len(counts))
	}
	pc.number(len(counts))
	if used == 1 {
		pc.depth[s.keys[0]&0xffff] = 0 // one symbol needs no bits
	}
}

func (pc *prefixCode) storeSimple(w *bitWriter, s *prefixScratch, used int, width uint) {
	w.write(2, 1)
	w.write(2, uint64(max(used, 1)-1))
	if used == 0 {
		w.write(width, 0)
		return
	}
	symbols := s.keys[:used]
	for i, k := range symbols {
		sym := k & 0xffff
		symbols[i] = uint64(pc.depth[sym])<<16 | sym
	}
	slices.Sort(symbols)
	for _, k := range symbols {
		w.write(width, k&0xffff)
	}
	if used == 4 {
		if symbols[0]>>16 == 1 {
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

func (pc *prefixCode) storeComplex(w *bitWriter, s *prefixScratch, alphabet int) {
	s.runs = appendRuns(s.runs[:0], pc.depth[:alphabet])
	var counts [18]uint32
	for _, r := range s.runs {
		counts[r.symbol]++
	}
	var lengths prefixCode18
	kinds := lengths.build(counts[:])

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
	for _, r := range s.runs {
		if kinds > 1 {
			w.write(uint(lengths.depth[r.symbol]), uint64(lengths.code[r.symbol]))
		}
		switch r.symbol {
		case 16:
			w.write(2, uint64(r.extra))
		case 17:
			w.write(3, uint64(r.extra))
		}
	}
}

// prefixCode18 is the code of the code lengths: small enough for the stack.
type prefixCode18 struct {
	depth [18]uint8
	code  [18]uint8
}

// build makes a code of at most 5 bits for 18 symbols.
func (pc *prefixCode18) build(counts []uint32) (used int) {
	var order [18]uint8
	for sym, n := range counts {
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
		pc.depth[order[0]] = 1
		return 1
	}
	for floor := uint32(1); ; floor *= 2 {
		var weight [35]uint32
		var parent [35]uint8
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
		var depth [35]uint8
		deepest := uint8(0)
		for i := root - 1; i >= 0; i-- {
			depth[i] = depth[parent[i]] + 1
			deepest = max(deepest, depth[i])
		}
		if deepest > 5 {
			continue
		}
		for i := range used {
			pc.depth[order[i]] = depth[i]
		}
		break
	}
	code := uint8(0)
	for d := uint8(1); d <= 5; d++ {
		code <<= 1
		for sym := range pc.depth {
			if pc.depth[sym] == d {
				pc.code[sym] = bits.Reverse8(code) >> (8 - d)
				code++
			}
		}
	}
	return used
}

// appendRuns writes depths as code lengths and repetitions of them.
func appendRuns(runs []lengthRun, depths []uint8) []lengthRun {
	for len(depths) > 0 && depths[len(depths)-1] == 0 {
		depths = depths[:len(depths)-1]
	}
	previous := uint8(8)
	for len(depths) > 0 {
		d, n := depths[0], 1
		for n < len(depths) && depths[n] == d {
			n++
		}
		depths = depths[n:]
		symbol, shift, awkward := uint8(16), 2, 7
		if d == 0 {
			symbol, shift, awkward = 17, 3, 11
		} else if d != previous {
			runs = append(runs, lengthRun{symbol: d})
			previous = d
			n--
		}
		if n == awkward { // one literal and one repetition instead of two
			runs = append(runs, lengthRun{symbol: d})
			n--
		}
		if n < 3 {
			for range n {
				runs = append(runs, lengthRun{symbol: d})
			}
			continue
		}
		start := len(runs)
		for n -= 3; ; n-- {
			runs = append(runs, lengthRun{symbol, uint8(n & (1<<shift - 1))})
			if n >>= shift; n == 0 {
				break
			}
		}
		slices.Reverse(runs[start:])
	}
	return runs
}
