package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// Read gives the library plain frames.
func (t *takeoverConn) Read(p []byte) (int, error) {
	for {
		if len(t.ready) > 0 {
			n := copy(p, t.ready)
			if t.ready = t.ready[n:]; len(t.ready) == 0 {
				t.ready = nil
			}
			return n, nil
		}
		if t.through > 0 && len(t.raw) > 0 {
			n := copy(p, t.raw[:min(uint64(len(t.raw)), t.through)])
			t.raw = t.raw[n:]
			t.through -= uint64(n)
			return n, nil
		}
		again, err := t.translate()
		if err != nil {
			return 0, err
		}
		if again {
			continue
		}
		var more [2 << 10]byte
		n, err := t.Conn.Read(more[:])
		if n == 0 && err != nil {
			return 0, err
		}
		t.raw = append(t.raw, more[:n]...)
	}
}

var (
	errTooBig  = errors.New("compress: WebSocket message too large")
	errDeflate = errors.New("compress: WebSocket message is corrupt")
	errFrame   = errors.New("compress: WebSocket frame out of order")
)

// translate looks at the next frame of t.raw, and reports whether it got on.
func (t *takeoverConn) translate() (bool, error) {
	size, length, ok := frameHeader(t.raw, true)
	if !ok {
		return false, nil
	}
	first := t.raw[0]
	opcode := first & 15
	compressed := first&0x70 == 0x40 && (opcode == 1 || opcode == 2)
	if t.inside && opcode < 8 && (opcode != 0 || first&0x70 != 0) { // which the library could not know
		t.close(1002)
		return false, errFrame
	}
	if t.raw[1]&0x80 == 0 || !compressed && !(opcode == 0 && t.inside) {
		t.through = uint64(size) + length // not ours: the library judges it
		return true, nil
	}
	if length > uint64(t.opts.MaxMessageBytes) || len(t.message)+int(length) > t.opts.MaxMessageBytes {
		t.close(1009)
		return false, errTooBig
	}
	if uint64(len(t.raw)-size) < length {
		return false, nil
	}
	mask, payload := t.raw[size-4:size], t.raw[size:size+int(length)]
	from := len(t.message)
	t.message = append(t.message, payload...)
	for i := range payload {
		t.message[from+i] ^= mask[i&3]
	}
	if t.raw = t.raw[size+int(length):]; len(t.raw) == 0 {
		t.raw = nil
	}
	if compressed {
		t.opcode = opcode
	}
	t.inside = first&0x80 == 0
	if t.inside {
		return true, nil
	}
	return true, t.inflate()
}

// maxFinal is how many final blocks a message may have. Senders that use them
// at all use one; after each of them flate begins anew.
const maxFinal = 100

// inflate makes a plain frame of the message that is complete. Any part of it may
// end with a final block (RFC 7692, 7.2.3.4), at which flate stops.
func (t *takeoverConn) inflate() error {
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff" // what senders leave out, and a final block
	in := bytes.NewReader(append(t.message, tail...))
	t.message = nil
	zr := flate.NewReader(in)
	defer zr.Close()
	var plain []byte
	for n := 1; ; n++ {
		more, err := io.ReadAll(io.LimitReader(zr, int64(t.opts.MaxMessageBytes-len(plain)+1)))
		plain = append(plain, more...)
		if len(plain) > t.opts.MaxMessageBytes {
			t.close(1009)
			return errTooBig
		}
		if err != nil || n > maxFinal {
			t.close(1007)
			return errDeflate
		}
		if in.Len() <= len(tail) {
			break
		}
		zr.(flate.Resetter).Reset(in, plain[max(0, len(plain)-32<<10):])
	}
	frame := []byte{0x80 | t.opcode}
	switch n := len(plain); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	frame = append(frame, 0, 0, 0, 0) // a mask that changes nothing
	t.ready = append(frame, plain...)
	return nil
}
