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

// writeAll appends the code of each byte; codes are depth<<16 | code.
func (w *bitWriter) writeAll(p []byte, codes *[256]uint32) {
	out, acc, n := w.out, w.acc, w.n
	for _, b := range p {
		c := codes[b]
		acc |= uint64(c&0xffff) << n
		if n += uint(c >> 16); n >= 32 {
			out = binary.LittleEndian.AppendUint32(out, uint32(acc))
			acc >>= 32
			n -= 32
		}
	}
	w.out, w.acc, w.n = out, acc, n
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
