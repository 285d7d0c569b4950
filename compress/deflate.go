package compress

import "math/bits"

// deflatePrices: copies reach 32 KiB back, RFC 1951, section 2.
var deflatePrices = prices{copy: 40, bit: 10, again: 10, lazy: 16, reach: 32 << 10}

// deflate appends buf[start:] as blocks of deflate, RFC 1951, that may copy
// from all of buf. The last one says so if last is set.
//
// It exists beside klauspost/compress/flate because finding copies is most of
// the work, and that is done here already: gzip takes little more than half
// of the time, no memory of its own, and no table for each WebSocket message.
func (e *blockEncoder) deflate(w *bitWriter, buf []byte, start int, last bool) {
	e.find.begin(buf, start, 0, &deflatePrices)
	if last && start == len(buf) {
		w.write(10, 1|deflateFixed<<1) // nothing but the end
	}
	for start < len(buf) {
		var end int
		e.commands, end = e.find.matches(e.commands[:0], start, min(start+blockBytes, len(buf)))
		e.deflateBlock(w, buf[start:end], last && end == len(buf))
		start = end
	}
}

// deflateFlush brings what was deflated to a byte boundary with an empty
// stored block; its length and the complement, 00 00 ff ff, are not appended.
func deflateFlush(w *bitWriter) {
	w.write(3, 0)
	w.align()
}

// The three kinds of blocks, and the symbol that ends the latter two.
const (
	deflateStored, deflateFixed, deflateOwn = 0, 1, 2

	endOfBlock = 256
)

// deflateBlock writes src as one block of the commands found in it, of the
// kind that takes least.
func (e *blockEncoder) deflateBlock(w *bitWriter, src []byte, last bool) {
	first := uint64(0)
	if last {
		first = 1
	}
	extra, fixed := e.countDeflate(src)
	start := *w
	w.write(3, first|deflateOwn<<1)
	size := extra + e.storeDeflate(w)
	symbols, distances := (*[288]uint32)(e.literal.codes[:]), (*[32]uint32)(e.distance.codes[:])
	own := 8*(len(w.out)-len(start.out)) + int(w.n) - int(start.n) + size
	if fixed <= own { // what was written does not count: begin again
		*w = start
		w.write(3, first|deflateFixed<<1)
		symbols, distances = &fixedSymbols, &fixedDistances
		size, own = fixed, fixed
	}
	if 8*len(src)+64 < own {
		*w = start
		deflateStore(w, src, first)
		return
	}
	writeDeflate(w, src, e.commands, symbols, distances, size)
}

// deflateStore appends src as it is, and no last block without first.
func deflateStore(w *bitWriter, src []byte, last uint64) {
	for len(src) > 0 {
		n := min(len(src), 0xffff)
		if n < len(src) {
			w.write(3, 0)
		} else {
			w.write(3, last)
		}
		w.align()
		w.out = append(w.out, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
		w.out = append(w.out, src[:n]...)
		src = src[n:]
	}
}

// countDeflate counts the symbols of the commands. It returns the bits that
// they need besides, and what all takes with the fixed codes.
func (e *blockEncoder) countDeflate(src []byte) (extra, fixed int) {
	pos, copies := 0, 0
	for _, c := range e.commands {
		e.tally(src, pos, int(c.insert))
		pos += int(c.insert + c.length)
		if c.length == 0 {
			continue
		}
		symbol, width := distanceSymbol(c.distance)
		for n, length := uint32(0), c.length; length > 0; length -= n {
			n = nextPiece(length)
			l := lengthSymbols[n-minPiece]
			e.symbols[l.symbol]++
			e.distances[symbol&31]++
			extra += int(l.width) + int(width)
			copies++
		}
	}
	e.tallyRest()
	e.symbols[endOfBlock] = 1
	for symbol, n := range e.symbols {
		fixed += int(n) * int(fixedSymbols[symbol]>>16)
	}
	return extra, 3 + fixed + 5*copies + extra
}

// A copy is of 3 to 258 bytes, so a longer one goes in pieces.
const minPiece, maxPiece = 3, 258

func nextPiece(length uint32) uint32 {
	if length > maxPiece && length < maxPiece+minPiece {
		return length - minPiece
	}
	return min(length, maxPiece)
}

// The order in which the lengths of the code for lengths are stored.
var deflateOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// storeDeflate builds the two codes of a block, writes them, RFC 1951, 3.2.7,
// and returns the bits that the symbols will take. Counts are zero then.
func (e *blockEncoder) storeDeflate(w *bitWriter) (size int) {
	var depths [288 + 32]uint8
	s := &e.prefix
	e.literal.build(s, e.symbols[:], literalBits)
	literals := e.literal.depths(s, depths[:], endOfBlock+1)
	size = e.literal.number(s, e.symbols[:])
	e.distance.build(s, e.distances[:32], 15)
	distances := e.distance.depths(s, depths[literals:], 1)
	size += e.distance.number(s, e.distances[:32])

	s.runs = appendDepths(s.runs[:0], depths[:literals+distances])
	var counts [19]uint32
	for _, r := range s.runs {
		counts[r.symbol]++
	}
	var lengths lengthCode
	lengths.build(counts[:], 7)
	stored := len(deflateOrder)
	for stored > 4 && lengths.depth[deflateOrder[stored-1]] == 0 {
		stored--
	}
	w.write(14, uint64(literals-257)|uint64(distances-1)<<5|uint64(stored-4)<<10)
	for _, symbol := range deflateOrder[:stored] {
		w.write(3, uint64(lengths.depth[symbol]))
	}
	extra := [19]uint8{16: 2, 17: 3, 18: 7}
	r := w.room(len(s.runs) * 14)
	for _, l := range s.runs {
		r = r.add(lengths.codes[l.symbol]).bits(uint(extra[l.symbol]), uint64(l.extra)).flush()
	}
	w.end(r)
	return size
}

// depths writes the depth of each symbol to dst, and returns how many of them
// there are up to the last one in use, at least least.
func (pc *prefixCode) depths(s *prefixScratch, dst []uint8, least int) int {
	for _, symbol := range s.used {
		dst[symbol] = pc.depth[symbol]
		least = max(least, int(symbol)+1)
	}
	return least
}

// appendDepths writes depths as code lengths and repetitions of them.
func appendDepths(runs []lengthRun, depths []uint8) []lengthRun {
	for i := 0; i < len(depths); {
		d, n := depths[i], 1
		for i+n < len(depths) && depths[i+n] == d {
			n++
		}
		i += n
		if d > 0 {
			runs = append(runs, lengthRun{symbol: d})
			n--
		}
		for n > 0 {
			most, least, symbol := 6, 3, uint8(16)
			switch {
			case d == 0 && n > 10:
				most, least, symbol = 138, 11, 18
			case d == 0:
				most, symbol = 10, 17
			}
			if n < least {
				runs = append(runs, lengthRun{symbol: d})
				n--
				continue
			}
			m := min(n, most)
			runs = append(runs, lengthRun{symbol, uint8(m - least)})
			n -= m
		}
	}
	return runs
}

// writeDeflate appends the commands and the literals of src, which take size
// bits, and the end of the block.
func writeDeflate(w *bitWriter, src []byte, commands []command, symbols *[288]uint32, distances *[32]uint32, size int) {
	r := w.room(size)
	from := 0
	for _, c := range commands {
		if c.insert > 0 {
			r = r.literals(src, from, int(c.insert), (*[256]uint32)(symbols[:256]))
		}
		from += int(c.insert + c.length)
		if c.length == 0 {
			continue
		}
		symbol, width := distanceSymbol(c.distance)
		code, far := distances[symbol&31], uint64(c.distance-1)&(1<<width-1)
		for n, length := uint32(0), c.length; length > 0; length -= n {
			n = nextPiece(length)
			l := lengthSymbols[n-minPiece]
			r = r.add(symbols[l.symbol]).bits(uint(l.width), uint64(l.extra)).add(code).bits(width, far).flush()
		}
	}
	w.end(r.add(symbols[endOfBlock]).flush())
}

// distanceSymbol is the symbol of a distance and the width of its extra bits,
// which are the low ones of distance-1.
func distanceSymbol(distance uint32) (symbol, width uint) {
	d := uint(distance - 1)
	if d < 4 {
		return d, 0
	}
	width = uint(bits.Len(d)) - 2
	return 2*width + d>>width, width
}

// A lengthSymbol is the length of a copy: a symbol and extra bits.
type lengthSymbol struct {
	symbol       uint16
	width, extra uint8
}

// lengthSymbols has the lengths from minPiece on.
var lengthSymbols = func() (all [maxPiece - minPiece + 1]lengthSymbol) {
	n := 0
	for symbol, width := endOfBlock+1, 0; symbol < endOfBlock+29; symbol++ {
		if symbol >= 265 && (symbol-265)%4 == 0 {
			width++
		}
		for extra := 0; extra < 1<<width && n < len(all); extra++ {
			all[n] = lengthSymbol{uint16(symbol), uint8(width), uint8(extra)}
			n++
		}
	}
	all[len(all)-1] = lengthSymbol{symbol: endOfBlock + 29}
	return all
}()

// The fixed codes, RFC 1951, 3.2.6, as width<<16 | bits.
var fixedSymbols, fixedDistances = func() (symbols [288]uint32, distances [32]uint32) {
	for symbol := range symbols {
		c, width := 0x30+symbol, 8
		switch {
		case symbol >= 280:
			c = 0xc0 + symbol - 280
		case symbol >= 256:
			c, width = symbol-256, 7
		case symbol >= 144:
			c, width = 0x190+symbol-144, 9
		}
		symbols[symbol] = uint32(width)<<16 | uint32(bits.Reverse16(uint16(c))>>(16-width))
	}
	for symbol := range distances {
		distances[symbol] = 5<<16 | uint32(bits.Reverse8(uint8(symbol))>>3)
	}
	return symbols, distances
}()
