package compress

import (
	"math/bits"
	"slices"
)

// brotliPrices: the latest distance costs nothing to say again. Copies reach
// as far back as the largest window.
var brotliPrices = prices{copy: 36, bit: 12, lazy: 40, reach: 1<<24 - 16}

// brotliState is what a stream carries from block to block.
type brotliState struct {
	recent [4]uint32 // distances, the latest first
}

// commandCode is a command in the symbols of RFC 7932, sections 4 and 5.
type commandCode struct {
	extra         uint64 // of the lengths
	distanceExtra uint32
	symbol        uint16 // of the lengths
	extraBits     uint8
	distance      uint8 // the symbol, or noDistance
}

const noDistance = 255

// distanceBits is how many extra bits a distance symbol has.
func distanceBits(symbol uint8) uint { return uint(max(int(symbol)>>1-7, 0)) }

// header starts a stream with a window of 1<<lgwin bytes, 16 to 24.
func (st *brotliState) header(w *bitWriter, lgwin uint) {
	st.recent = [4]uint32{4, 11, 15, 16}
	switch lgwin {
	case 16:
		w.write(1, 0)
	case 17:
		w.write(7, 1)
	default:
		w.write(4, uint64(lgwin-17)<<1|1)
	}
}

// window returns the smallest window in which n bytes reach each other.
func window(n int) uint { return min(max(uint(bits.Len(uint(n+16))), 16), 24) }

// brotli appends buf[start:] as meta-blocks that may copy from all of buf,
// but across buf[fence] in one copy only if fence is 0. With last they end the
// stream.
func (e *blockEncoder) brotli(w *bitWriter, st *brotliState, buf []byte, start, fence int, last bool) {
	if last && start == len(buf) {
		finish(w)
	}
	e.find.begin(buf, start, fence, &brotliPrices)
	for start < len(buf) {
		end := min(start+blockBytes, len(buf))
		e.commands, end = e.find.matches(e.commands[:0], start, end)
		e.brotliBlock(w, st, buf, start, end, last && end == len(buf))
		start = end
	}
}

// brotliBlock writes buf[start:end] as one meta-block of the commands found in
// it. Three prefix codes serve all of it, or more where literals are
// inContext.
func (e *blockEncoder) brotliBlock(w *bitWriter, st *brotliState, buf []byte, start, end int, last bool) {
	inContext := e.inContext()
	size := e.countBrotli(st, buf, start, inContext)
	blockHeader(w, end-start, last, 0)
	if inContext {
		size += e.storeContexts(w)
	} else {
		w.write(13, 0) // one block type of each kind, plain distances, one context
		size += e.literal.store(w, &e.prefix, e.symbols[:256], literalBits)
	}
	if n, ok := fixedBrotli.serves(e.codes); ok {
		w.append(&fixedBrotli.header)
		e.forget()
		e.writeBrotli(w, buf, start, size+n, inContext, &fixedBrotli.insert, &fixedBrotli.distance)
		return
	}
	size += e.insert.store(w, &e.prefix, e.inserts[:], 15)
	size += e.distance.store(w, &e.prefix, e.distances[:], 15)
	e.writeBrotli(w, buf, start, size, inContext, &e.insert, &e.distance)
}

// forget sets the counts of commands to zero.
func (e *blockEncoder) forget() {
	for i := range e.codes {
		e.inserts[e.codes[i].symbol] = 0
		e.distances[e.codes[i].distance&63] = 0
	}
}

// countBrotli turns the commands into symbols and counts those. It returns how
// many bits they need besides.
func (e *blockEncoder) countBrotli(st *brotliState, buf []byte, pos int, inContext bool) (extra int) {
	e.codes = slices.Grow(e.codes[:0], len(e.commands))[:len(e.commands)]
	codes := e.codes
	for i, c := range e.commands {
		if inContext {
			if c.insert > 0 {
				e.context.add(buf, pos, int(c.insert))
			}
		} else {
			e.tally(buf, pos, int(c.insert))
		}
		pos += int(c.insert + c.length)
		code := &codes[i]
		st.code(code, c)
		e.inserts[code.symbol]++
		extra += int(code.extraBits)
		if code.distance != noDistance {
			e.distances[code.distance&63]++
			extra += int(distanceBits(code.distance))
		}
	}
	if !inContext {
		e.tallyRest()
	}
	return extra
}

// writeBrotli appends the commands and the literals of buf from pos on, which
// take size bits.
func (e *blockEncoder) writeBrotli(w *bitWriter, buf []byte, pos, size int, inContext bool, insert, distance *prefixCode) {
	inserts, distances, literals := &insert.codes, &distance.codes, (*[256]uint32)(e.literal.codes[:])
	r := w.room(size)
	commands, literal := e.commands, 0
	for i := range e.codes {
		code, c := &e.codes[i], commands[i]
		r = r.add(inserts[code.symbol])
		if code.extraBits > 40 {
			r = r.flush()
		}
		r = r.bits(uint(code.extraBits), code.extra).flush()
		if c.insert > 0 {
			if inContext {
				r = r.inContext(&e.context, literal, int(c.insert))
				literal += int(c.insert)
			} else {
				r = r.literals(buf, pos, int(c.insert), literals)
			}
		}
		pos += int(c.insert + c.length)
		if code.distance != noDistance {
			r = r.add(distances[code.distance&63]).bits(distanceBits(code.distance), uint64(code.distanceExtra)).flush()
		}
	}
	w.end(r)
}

// blockHeader starts a meta-block of n bytes; one that is plain is not the
// last one.
func blockHeader(w *bitWriter, n int, last bool, plain uint64) {
	if last {
		w.write(2, 1) // and not empty
	} else {
		w.write(1, 0)
	}
	nibbles := max((bits.Len(uint(n-1))+3)/4, 4)
	w.write(2, uint64(nibbles-4))
	w.write(uint(4*nibbles), uint64(n-1))
	if !last {
		w.write(1, plain)
	}
}

// storedBlocks appends src as it is: valid brotli that needs no encoder.
func storedBlocks(w *bitWriter, src []byte) {
	for len(src) > 0 {
		n := min(len(src), 1<<20)
		blockHeader(w, n, false, 1)
		w.align()
		w.out = append(w.out, src[:n]...)
		src = src[n:]
	}
}

// metadata appends an empty or padding meta-block, after which the stream is
// at a byte boundary: this is how brotli is flushed. len(pad) <= 65536.
func metadata(w *bitWriter, pad []byte) {
	w.write(4, 3<<1) // not last, no nibbles, reserved
	if len(pad) == 0 {
		w.write(2, 0)
		w.align()
		return
	}
	size := uint(1)
	if len(pad) > 256 {
		size = 2
	}
	w.write(2, uint64(size))
	w.write(8*size, uint64(len(pad)-1))
	w.align()
	w.out = append(w.out, pad...)
}

// finish ends the stream with an empty last meta-block.
func finish(w *bitWriter) {
	w.write(2, 3)
	w.align()
}

// code puts c into symbols and moves the recent distances on.
func (st *brotliState) code(to *commandCode, c command) {
	length, word := c.length, c.distance>>wordShift
	if word > 0 {
		length = word
		c.distance &= 1<<wordShift - 1
	}
	ic, cc := insertCode(c.insert), copyCode(length)
	r := &st.recent
	last := c.length == 0 || c.distance == r[0]
	*to = commandCode{symbol: combine(ic, cc, last), extraBits: insertExtra[ic] + copyExtra[cc], extra: uint64(c.insert - insertBase[ic])}
	if c.length > 0 {
		to.extra |= uint64(length-copyBase[cc]) << insertExtra[ic]
	}
	if last {
		if c.length == 0 || to.symbol < 128 {
			to.distance = noDistance
		}
		return
	}
	d := c.distance
	if word > 0 {
		to.far(d) // than any copy
		return
	}
	if near := d - r[0] + 3; near < uint32(len(nearCodes)) {
		to.distance = nearCodes[near]
	} else if d == r[1] {
		to.distance = 1
	} else if d == r[2] {
		to.distance = 2
	} else if d == r[3] {
		to.distance = 3
	} else {
		to.far(d)
	}
	r[3], r[2], r[1], r[0] = r[2], r[1], r[0], d
}

// far sets the distance, which is none of the recent ones.
func (c *commandCode) far(d uint32) {
	d += 3
	n := uint(bits.Len32(d)-2) & 31
	prefix := (d >> n) & 1
	c.distance = uint8(2*(n-1) + uint(prefix) + 16)
	c.distanceExtra = d - (2+prefix)<<n
}

var (
	insertBase  = [24]uint32{0, 1, 2, 3, 4, 5, 6, 8, 10, 14, 18, 26, 34, 50, 66, 98, 130, 194, 322, 578, 1090, 2114, 6210, 22594}
	insertExtra = [24]uint8{0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 14, 24}
	copyBase    = [24]uint32{2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 18, 22, 30, 38, 54, 70, 102, 134, 198, 326, 582, 1094, 2118}
	copyExtra   = [24]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 24}
)

// nearCodes are the symbols for a distance of the last one and -3 to 3.
var nearCodes = [7]uint8{8, 6, 4, 0, 5, 7, 9}

// The codes of small lengths.
var insertCodes, copyCodes = smallCodes()

func smallCodes() (inserts, copies [256]uint8) {
	for n := range uint32(256) {
		inserts[n], copies[n] = uint8(insertCodeOf(n)), uint8(copyCodeOf(n))
	}
	return inserts, copies
}

func insertCode(n uint32) uint {
	if n < uint32(len(insertCodes)) {
		return uint(insertCodes[n])
	}
	return insertCodeOf(n)
}

func copyCode(n uint32) uint {
	if n < uint32(len(copyCodes)) {
		return uint(copyCodes[n])
	}
	return copyCodeOf(n)
}

func insertCodeOf(n uint32) uint {
	switch {
	case n < 6:
		return uint(n)
	case n < 130:
		b := uint(bits.Len32(n-2)) - 2
		return b<<1 + uint((n-2)>>b) + 2
	case n < 2114:
		return uint(bits.Len32(n-66)) + 9
	case n < 6210:
		return 21
	case n < 22594:
		return 22
	}
	return 23
}

func copyCodeOf(n uint32) uint {
	switch {
	case n == 0:
		return 2 // a block that ends in literals; the length is not read
	case n < 10:
		return uint(n) - 2
	case n < 134:
		b := uint(bits.Len32(n-6)) - 2
		return b<<1 + uint((n-6)>>b) + 4
	case n < 2118:
		return uint(bits.Len32(n-70)) + 11
	}
	return 23
}

// combine makes the symbol for an insert and a copy code. With last, the
// distance is the previous one, and short codes leave it out altogether.
func combine(ic, cc uint, last bool) uint16 {
	low := uint16(cc&7 | (ic&7)<<3)
	if last && ic < 8 && cc < 16 {
		if cc < 8 {
			return low
		}
		return low | 64
	}
	cell := 2 * (cc>>3 + 3*(ic>>3))
	return uint16(cell<<5+0x40+(0x520D40>>cell)&0xC0) | low
}
