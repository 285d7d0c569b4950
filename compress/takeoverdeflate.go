package compress

import (
	"math/bits"
	"unsafe"
)

// takeoverWindow is what one client has inflated lately, and a table of the
// places in it. Small messages are deflated (RFC 1951) with the fixed codes:
// their own would take more room than they save. The table is kept from
// message to message, as to fill it again costs more than the message.
type takeoverWindow struct {
	most  int    // bytes that are kept at least
	buf   []byte // the window, with room for messages behind it
	base  uint32 // how many bytes were dropped from its front
	table *[1 << windowBits]windowPlaces
}

// windowPlaces are the latest places with a hash, the latest in the low bits.
type windowPlaces [2]uint64

const (
	windowBits = 9
	windowWays = 8 // places in windowPlaces
	// windowRoom is how many bytes may come before the window moves, and more
	// than takeoverSmall.
	windowRoom = 3 << 10
	// windowBytes is what a window takes besides its history.
	windowBytes = windowRoom + 2*windowWays<<windowBits
)

// hashWindow is of the first three bytes.
func hashWindow(v uint32) uint32 { return v << 8 * 0x9e3779b1 >> (32 - windowBits) }

// enter puts the places from start on into the table, and those before it
// that too little followed until now.
func (t *takeoverWindow) enter(start int) {
	for i := max(start-minPiece+1, 0); i < len(t.buf); i++ {
		t.put(i)
	}
}

// enterCopy puts the places of a copy into the table, of a long one some.
func (t *takeoverWindow) enterCopy(from, to int) {
	step := 1
	if to-from > 64 {
		step = 4
	}
	for ; from < to; from += step {
		t.put(from)
	}
}

func (t *takeoverWindow) put(i int) {
	if i+minPiece > len(t.buf) {
		return
	}
	e := &t.table[hashWindow(load32(unsafe.Pointer(unsafe.SliceData(t.buf)), i))]
	e[1] = e[1]<<16 | e[0]>>48
	e[0] = e[0]<<16 | uint64(uint16(t.base+uint32(i)))
}

// append makes p the end of the window and returns where it starts there.
func (t *takeoverWindow) append(p []byte) (start int) {
	if t.buf == nil {
		t.buf, t.table = make([]byte, 0, t.most+windowRoom+1), new([1 << windowBits]windowPlaces)
	}
	drop := len(t.buf) + len(p) - t.most - windowRoom
	switch {
	case len(p) > t.most: // all that was is out of reach, and the front of p
		t.base += uint32(len(t.buf) + len(p) - t.most)
		t.buf, p = t.buf[:0], p[len(p)-t.most:]
	case drop > 0:
		drop = max(drop, len(t.buf)-t.most)
		t.buf = t.buf[:copy(t.buf, t.buf[drop:])]
		t.base += uint32(drop)
	}
	start = len(t.buf)
	t.buf = append(t.buf, p...)
	return start
}

// forget takes the last n bytes back, which the client did not get. What the
// table says of them is found out to be wrong when it is looked at.
func (t *takeoverWindow) forget(n int) { t.buf = t.buf[:len(t.buf)-n] }

// history is what a message may repeat.
func (t *takeoverWindow) history() []byte { return t.buf[max(0, len(t.buf)-t.most):] }

// add makes payload the end of the window and returns where it starts there.
func (t *takeoverWindow) add(payload []byte) (start int) {
	start = t.append(payload)
	for i := max(start-minPiece+1, 0); i < start; i++ {
		t.put(i) // too little followed until now
	}
	return start
}

// deflate appends payload, at most takeoverSmall bytes, as one block with the
// fixed codes and what flushes it, without the 00 00 ff ff at the end.
func (t *takeoverWindow) deflate(dst, payload []byte) []byte {
	var room [takeoverSmall/minPiece + 1]command
	commands := t.copies(room[:0], t.add(payload), 8)
	w := bitWriter{out: dst}
	w.write(3, deflateFixed<<1)
	writeDeflate(&w, payload, commands, &fixedSymbols, &fixedDistances, 9*len(payload)+16)
	deflateFlush(&w)
	return w.out
}

// copies appends commands for all from i on, where a byte takes so many bits,
// and puts its places into the table.
func (t *takeoverWindow) copies(dst []command, i, bits int) []command {
	emitted := i
	for at := t.find(i, bits); i < len(t.buf); {
		t.put(i)
		var next windowMatch
		if at.gain <= 0 || at.length < 32 {
			next = t.find(i+1, bits)
		}
		if at.gain <= 0 || next.gain > at.gain { // a literal
			i, at = i+1, next
			continue
		}
		dst = append(dst, command{uint32(i - emitted), uint32(at.length), uint32(at.distance)})
		t.enterCopy(i+1, i+at.length)
		i += at.length
		at, emitted = t.find(i, bits), i
	}
	if emitted < i {
		dst = append(dst, command{insert: uint32(i - emitted)})
	}
	return dst
}

// sameLength is how many bytes, at most most, are the same from a and from b
// on. The first four are.
func sameLength(base unsafe.Pointer, a, b, most int) int {
	n := 4
	for ; n+8 <= most; n += 8 {
		if x := load64(base, a+n) ^ load64(base, b+n); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
	}
	for n < most && *(*byte)(unsafe.Add(base, a+n)) == *(*byte)(unsafe.Add(base, b+n)) {
		n++
	}
	return n
}

// A windowMatch is a possible copy and the bits that it saves.
type windowMatch struct{ length, distance, gain int }

// find looks for the copy that saves most at i. There is a byte behind the
// window that may be read.
func (t *takeoverWindow) find(i, bits int) (best windowMatch) {
	buf := t.buf
	if i+minPiece > len(buf) {
		return best
	}
	base := unsafe.Pointer(unsafe.SliceData(buf))
	v := load32(base, i)
	here := uint16(t.base + uint32(i))
	most := min(maxPiece, len(buf)-i)
	for _, places := range t.table[hashWindow(v)] {
		for range windowWays / 2 {
			d := int(here - uint16(places))
			places >>= 16
			if d == 0 || d > i {
				continue
			}
			other := load32(base, i-d) ^ v
			if other<<8 != 0 || best.length == most || best.length > minPiece && buf[i-d+best.length] != buf[i+best.length] {
				continue // no longer, and mostly farther
			}
			n := minPiece
			if other == 0 && most > minPiece {
				n = sameLength(base, i-d, i, most)
			}
			_, width := distanceSymbol(uint32(d))
			if g := bits*n - int(fixedLengths[n]) - 5 - int(width); g > best.gain {
				best = windowMatch{n, d, g}
			}
		}
	}
	return best
}

// fixedLengths is how many bits a length takes with the fixed codes.
var fixedLengths = func() (widths [maxPiece + 1]uint8) {
	for i, l := range lengthSymbols {
		widths[minPiece+i] = uint8(fixedSymbols[l.symbol]>>16) + l.width
	}
	return widths
}()
