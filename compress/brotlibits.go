package compress

import "encoding/binary"

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

// align fills up the last byte with zeros and hands it over.
func (w *bitWriter) align() {
	for w.n > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
		w.n -= min(w.n, 8)
	}
	w.acc = 0
}
