package compress

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// A stream is the state of one encoded body between its blocks: some bytes,
// whatever the coding. The engine that encodes a block keeps nothing of it.
type stream struct {
	coding  coding
	started bool
	crc     uint32
	size    uint32
	brotli  brotliState
	pad     int  // bytes of padding to add at the end
	lgwin   uint // the window of a brotli stream; 0: streamWindow
}

// historyBytes is how much of the plain body a stream keeps to copy from.
const historyBytes = 8 << 10

// whole appends the encoding of a complete body to dst.
func (e *engine) whole(dst []byte, s *stream, body []byte) []byte {
	switch s.coding {
	case zstdCoding:
		return appendSkippable(e.zstd.EncodeAll(body, dst), s.pad)
	case brCoding:
		w := bitWriter{out: dst}
		s.brotli.header(&w, window(len(body)))
		e.blocks.find.words = words() // which only a body that is complete can reach
		e.blocks.brotli(&w, &s.brotli, body, 0, 0, s.pad == 0)
		e.blocks.find.words = nil
		return s.finishBrotli(&w)
	}
	w := bitWriter{out: appendGzipHeader(dst, s.pad)}
	e.blocks.deflate(&w, body, 0, true)
	w.align()
	return s.appendGzipTrailer(w.out, body)
}

// finishBrotli ends a whole body, whose last block ended it already if there
// is no padding.
func (s *stream) finishBrotli(w *bitWriter) []byte {
	if s.pad > 0 {
		metadata(w, padding(s.pad))
		finish(w)
	}
	w.align()
	return w.out
}

// block appends buf[start:] to the stream, flushed, so that the client can
// decode all of it. buf[:start] is what the client had last.
func (e *engine) block(dst []byte, s *stream, buf []byte, start int) []byte {
	switch s.coding {
	case zstdCoding:
		return e.zstd.EncodeAll(buf[start:], dst) // a frame of its own
	case brCoding:
		w := bitWriter{out: dst}
		if !s.started {
			s.brotli.header(&w, cmp.Or(s.lgwin, streamWindow))
		}
		e.blocks.brotli(&w, &s.brotli, buf, start, 0, false)
		metadata(&w, nil)
		s.started = true
		return w.out
	}
	if !s.started {
		dst = appendGzipHeader(dst, s.pad)
		s.started = true
	}
	s.sum(buf[start:])
	w := bitWriter{out: dst}
	e.blocks.deflate(&w, buf, start, false)
	deflateFlush(&w)
	return append(w.out, 0, 0, 0xff, 0xff)
}

// streamWindow lets a block of the largest size reach all of its history.
const streamWindow uint = 21

// stored appends body uncompressed but well formed: what a stream that has
// begun sends when no engine is free.
func (s *stream) stored(dst, body []byte) []byte {
	switch s.coding {
	case zstdCoding:
		for len(body) > 0 {
			n := min(len(body), 128<<10)
			dst = append(dst, zstdMagic...)
			dst = append(dst, 0xa0) // single segment, 4 bytes of content size
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
			dst = append(dst, byte(n<<3|1), byte(n>>5), byte(n>>13)) // last block, raw
			dst = append(dst, body[:n]...)
			body = body[n:]
		}
		return dst
	case brCoding:
		w := bitWriter{out: dst}
		if !s.started {
			s.brotli.header(&w, cmp.Or(s.lgwin, streamWindow))
		}
		storedBlocks(&w, body)
		metadata(&w, nil)
		s.started = true
		return w.out
	}
	if !s.started {
		dst = appendGzipHeader(dst, s.pad)
		s.started = true
	}
	s.sum(body)
	w := bitWriter{out: dst}
	deflateStore(&w, body, 0)
	deflateFlush(&w)
	return append(w.out, 0, 0, 0xff, 0xff)
}

// end appends what completes the stream.
func (s *stream) end(dst []byte) []byte {
	switch s.coding {
	case zstdCoding:
		return appendSkippable(dst, s.pad)
	case brCoding:
		w := bitWriter{out: dst}
		if !s.started {
			s.brotli.header(&w, 16)
		}
		if s.pad > 0 {
			metadata(&w, padding(s.pad))
		}
		finish(&w)
		return w.out
	}
	if !s.started {
		dst = appendGzipHeader(dst, s.pad)
	}
	return s.appendGzipTrailer(append(dst, 3, 0), nil)
}

func (s *stream) sum(body []byte) {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, body)
	s.size += uint32(len(body))
}

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// appendGzipHeader starts a gzip member, RFC 1952. Padding is an extra field:
// a comment may be as long, but not for Go's reader.
func appendGzipHeader(dst []byte, pad int) []byte {
	if pad == 0 {
		return append(dst, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	}
	dst = append(dst, 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255)
	dst = append(dst, byte(pad+4), byte((pad+4)>>8), 'p', 'p', byte(pad), byte(pad>>8))
	return append(dst, padding(pad)...)
}

func (s *stream) appendGzipTrailer(dst, body []byte) []byte {
	s.sum(body)
	dst = binary.LittleEndian.AppendUint32(dst, s.crc)
	return binary.LittleEndian.AppendUint32(dst, s.size)
}

// appendSkippable appends a skippable zstd frame of n bytes, RFC 8878, 3.1.2.
func appendSkippable(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, 0x50, 0x2a, 0x4d, 0x18)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	return append(dst, padding(n)...)
}

// padding returns n bytes that are not zero.
func padding(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'p'
	}
	return p
}

// randomPad draws the length of the padding, 1 to most, or 0 without any.
// The generator of math/rand/v2 is ChaCha8, seeded by the system.
func randomPad(most int) int {
	if most == 0 {
		return 0
	}
	return 1 + rand.IntN(most)
}
