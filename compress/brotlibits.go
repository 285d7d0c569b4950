package compress

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// bitWriter appends bits to a slice, the least significant one first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint
}

// write appends the low n bits of v; n is at most 32 and v has no others.
func (w *bitWriter) write(n uint, v uint64) {
	w.acc |= v << w.n
	w.n += n
	if w.n >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.acc))
		w.acc >>= 32
		w.n -= 32
	}
}

// append appends what was written to from.
func (w *bitWriter) append(from *bitWriter) {
	for _, b := range from.out {
		w.write(8, uint64(b))
	}
	w.write(from.n, from.acc)
}

// align fills up the last byte with zeros and hands it over.
func (w *bitWriter) align() {
	for w.n > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
		w.n -= min(w.n, 8)
	}
	w.acc = 0
}

// A bitRun is a bitWriter with room for all that it is going to write: it
// stores without looking. It is passed by value, so that it stays in
// registers.
type bitRun struct {
	out unsafe.Pointer
	pos int
	acc uint64
	n   uint
}

// room starts a run of at most size bits, which end takes back.
func (w *bitWriter) room(size int) bitRun {
	w.out = slices.Grow(w.out, size/8+24)
	return bitRun{unsafe.Pointer(unsafe.SliceData(w.out)), len(w.out), w.acc, w.n}.flush()
}

func (w *bitWriter) end(r bitRun) { w.out, w.acc, w.n = w.out[:r.pos], r.acc, r.n }

// add appends a code, which is width<<16 | bits; after a flush there is room
// for three of them.
func (r bitRun) add(code uint32) bitRun { return r.bits(uint(code>>16), uint64(code&0xffff)) }

// bits appends the low n bits of v, which has no others.
func (r bitRun) bits(n uint, v uint64) bitRun {
	r.acc |= v << (r.n & 63)
	r.n += n
	return r
}

// flush stores the bytes that are complete; fewer than eight bits stay.
func (r bitRun) flush() bitRun {
	put64(r.out, r.pos, r.acc)
	r.pos += int(r.n >> 3)
	r.acc >>= r.n & 56
	r.n &= 7
	return r
}

// literalBits is the longest code of a byte: four of them fit into a run.
const literalBits = 14

// literals appends the codes of n bytes of src from at on. Most commands have
// a few: of four codes those that are too many are made empty, as a branch
// would be hard to foretell. Inlined it is slower: the loop needs the registers.
//
//go:noinline
func (r bitRun) literals(src []byte, at, n int, codes *[256]uint32) bitRun {
	if n <= 4 && at+4 <= len(src) {
		p, left := (*[4]byte)(src[at:]), int32(-n)
		return r.add(codes[p[0]] & uint32(left>>31)).
			add(codes[p[1]] & uint32((left+1)>>31)).
			add(codes[p[2]] & uint32((left+2)>>31)).
			add(codes[p[3]] & uint32((left+3)>>31)).flush()
	}
	p := src[at : at+n]
	for len(p) >= 4 {
		r = r.add(codes[p[0]]).add(codes[p[1]]).add(codes[p[2]]).add(codes[p[3]]).flush()
		p = p[4:]
	}
	for _, b := range p {
		r = r.add(codes[b])
	}
	return r.flush()
}
