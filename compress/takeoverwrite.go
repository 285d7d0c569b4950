package compress

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Bounds of messages that are compressed.
const (
	takeoverLeast = 16
	takeoverMost  = 64 << 10
	// takeoverSmall is the length up to which the codes of a message would
	// take more room than they save.
	takeoverSmall = 512
)

// Write takes plain frames from the library and sends them compressed.
func (t *takeoverConn) Write(p []byte) (int, error) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if t.answer != "" {
		return t.handshake(p)
	}
	in := p
	if len(t.pending) > 0 {
		t.pending = append(t.pending, p...)
		in = t.pending
	}
	var out []byte
	for len(in) > 0 {
		if t.passing > 0 {
			n := int(min(t.passing, uint64(len(in))))
			out = append(out, in[:n]...)
			t.passing -= uint64(n)
			in = in[n:]
			continue
		}
		header, length, ok := frameHeader(in, false)
		if !ok {
			break
		}
		first := in[0]
		whole := first&0x80 != 0 && first&0x70 == 0 && (first&15 == 1 || first&15 == 2)
		if !whole || length < takeoverLeast || length > takeoverMost {
			t.passing = uint64(header) + length
			continue
		}
		if uint64(len(in)-header) < length {
			break
		}
		out = t.compress(out, first, in[:header], in[header:header+int(length)])
		in = in[header+int(length):]
	}
	if len(in) == 0 {
		t.pending = nil
	} else {
		t.pending = bytes.Clone(in)
	}
	if len(out) > 0 {
		if _, err := t.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// handshake adds the answer to the offer to the library's 101.
func (t *takeoverConn) handshake(p []byte) (int, error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 || !bytes.HasPrefix(p, []byte("HTTP/1.1 101")) {
		return t.Conn.Write(p)
	}
	out := append([]byte(nil), p[:end+2]...)
	out = append(append(out, "Sec-WebSocket-Extensions: "...), t.answer...)
	out = append(append(out, "\r\n"...), p[end+2:]...)
	t.answer = ""
	if _, err := t.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// compress appends the frame compressed, or as it is where that is shorter.
// Only what was sent compressed is part of the client's window, so as long
// as there is room a first message of a kind may cost some bytes more.
func (t *takeoverConn) compress(out []byte, first byte, header, payload []byte) []byte {
	start := time.Now()
	before := len(out)
	out = append(out, 0, 0, 0, 0)
	window := &t.window
	kept := len(payload) <= window.most // in one piece
	seed := len(window.buf)+len(payload) <= window.most/2
	if kept && len(payload) <= takeoverSmall {
		out = window.deflate(out, payload)
	} else if e := t.c.engines.acquire(messageCoding); e != nil {
		out = e.message(out, window, payload)
		e.release()
	} else {
		t.c.count.refusedBusy.Add(1)
		return append(append(out[:before], header...), payload...)
	}
	n := len(out) - before - 4
	if n >= len(payload) && !seed {
		if kept {
			window.forget(len(payload))
		}
		return append(append(out[:before], header...), payload...)
	}
	if n < 126 {
		out[before+2], out[before+3] = first|0x40, byte(n)
		out = append(out[:before], out[before+2:]...)
	} else {
		out[before], out[before+1] = first|0x40, 126
		binary.BigEndian.PutUint16(out[before+2:], uint16(n))
	}
	if !kept && window.most > 0 {
		window.enter(window.append(payload))
	}
	t.c.count.encoded(messageCoding, len(payload), n, time.Since(start))
	return out
}

// message appends payload deflated, without the 00 00 ff ff at the end. It may
// copy from the window, of which it is a part then if it is not longer.
func (e *engine) message(dst []byte, window *takeoverWindow, payload []byte) []byte {
	w := bitWriter{out: dst}
	if len(payload) <= window.most {
		e.blocks.commands = window.copies(e.blocks.commands[:0], window.add(payload), 6)
		e.blocks.deflateBlock(&w, payload, false)
	} else {
		history := window.history()
		e.join = append(append(e.join[:0], history...), payload...)
		e.blocks.deflate(&w, e.join, len(history), false)
	}
	deflateFlush(&w)
	return w.out
}

// frameHeader reads the header of a frame, RFC 6455, section 5.2: its size
// with the mask, and the length of the payload.
func frameHeader(b []byte, masked bool) (size int, length uint64, ok bool) {
	if len(b) < 2 {
		return 0, 0, false
	}
	size, length = 2, uint64(b[1]&0x7f)
	switch {
	case length == 126 && len(b) >= 4:
		size, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127 && len(b) >= 10:
		size, length = 10, binary.BigEndian.Uint64(b[2:])
	case length >= 126:
		return 0, 0, false
	}
	if masked {
		size += 4
	}
	return size, length, len(b) >= size
}
