package signaling

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync/atomic"
)

// Class orders the messages that wait for a peer: a higher class overtakes the
// lower ones, within a class order is kept.
type Class uint8

// The classes, lowest first.
const (
	// Data is everything an application sends.
	Data Class = iota
	// Candidate is for ICE candidates.
	Candidate
	// SDP is for session descriptions.
	SDP
	// Control is for what steers a session or a call.
	Control
)

// Frame is a message encoded once for any number of peers. It must not change
// after its first use: call Latest and Droppable right after NewFrame.
type Frame struct {
	class     Class
	droppable bool
	private   bool
	head      uint8 // bytes of WebSocket header in wire
	key       string
	wire      []byte  // header and JSON as they go out uncompressed
	block     *block  // what wire lies in, if that is used again
	bundle    *bundle // in place of wire, if this frame stands for several
	deflated  atomic.Pointer[[]byte]
	refs      atomic.Int64
	hub       atomic.Pointer[Hub] // whose budget the bytes are counted in
}

type outgoing struct {
	Type string          `json:"type"`
	ID   json.RawMessage `json:"id,omitempty"`
	Data any             `json:"data,omitempty"`
}

// NewFrame encodes {"type": typ, "data": data}. A nil data is left out. The
// error is that of encoding data as JSON.
func NewFrame(class Class, typ string, data any) (*Frame, error) {
	return encodeFrame(class, outgoing{Type: typ, Data: data})
}

func encodeFrame(class Class, m outgoing) (*Frame, error) {
	var buf bytes.Buffer
	buf.Write(make([]byte, maxHeader))
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("signaling: encode %q: %w", m.Type, err)
	}
	b := bytes.Clone(buf.Bytes()[:buf.Len()-1]) // without the newline; no spare room kept
	return frameOf(class, b), nil
}

// frameOf makes a frame of a message that has room for a header before it.
func frameOf(class Class, b []byte) *Frame {
	n := putHeader(b[:maxHeader], opText|finBit, len(b)-maxHeader)
	return &Frame{class: class, head: uint8(n), wire: b[maxHeader-n:]}
}

// Latest lets this frame replace an unsent one with the same key instead of
// waiting behind it, and makes it droppable. It returns f.
func (f *Frame) Latest(key string) *Frame {
	f.key, f.droppable = key, true
	return f
}

// Droppable allows the hub to drop f when a peer's queue is full. It returns f.
func (f *Frame) Droppable() *Frame {
	f.droppable = true
	return f
}

// Len returns the bytes that f counts for in a queue.
func (f *Frame) Len() int {
	if f.bundle != nil {
		return f.bundle.bytes
	}
	return len(f.wire)
}

// size is Len as queues count it: [New] keeps their bounds below 2 GiB.
func (f *Frame) size() int32 { return int32(f.Len()) }

// JSON returns the encoded message. It must not be changed.
func (f *Frame) JSON() []byte { return f.wire[f.head:] }

// hold counts one more queue that f is in; with the first, its bytes are taken
// from the hub's budget. A frame that another hub accounts for is copied; a
// bundle that nobody holds any more is over.
func (f *Frame) hold(h *Hub) (*Frame, bool) {
	if f.bundle != nil {
		for n := f.refs.Load(); n > 0; n = f.refs.Load() {
			if f.refs.CompareAndSwap(n, n+1) {
				return f, true
			}
		}
		return f, false
	}
	if !f.hub.CompareAndSwap(nil, h) && f.hub.Load() != h {
		f = &Frame{class: f.class, droppable: f.droppable, key: f.key, head: f.head, wire: f.wire}
		f.hub.Store(h)
	}
	for {
		n := f.refs.Load()
		if n > 0 {
			if f.refs.CompareAndSwap(n, n+1) {
				return f, true
			}
			continue
		}
		if !h.budget.reserve(int64(len(f.wire))) {
			return f, false
		}
		if f.refs.CompareAndSwap(0, 1) {
			return f, true
		}
		h.budget.release(int64(len(f.wire))) // somebody else paid meanwhile
	}
}

// drop counts one queue less and returns the bytes that this freed. A frame in a
// block is over with the last.
func (f *Frame) drop(h *Hub) int64 {
	if f.refs.Add(-1) != 0 {
		return 0
	}
	if f.bundle != nil {
		return f.bundle.drop(h)
	}
	n := int64(len(f.wire))
	h.budget.release(n)
	if b := f.block; b != nil {
		f.wire, f.block = nil, nil
		b.free()
	}
	return n
}

// deflate returns f as a compressed WebSocket frame, or nil if that does not
// pay. The work is done once.
func (f *Frame) deflate(h *Hub) []byte {
	limit := h.opt.CompressShared
	if f.private {
		limit = h.opt.CompressPrivate
	}
	if len(f.wire) < limit {
		return nil
	}
	if p := f.deflated.Load(); p != nil {
		return *p
	}
	out := h.deflater.frame(f.JSON())
	if len(out) >= len(f.wire) {
		out = nil
	}
	f.deflated.Store(&out)
	return out
}

// RFC 6455's framing.
const (
	maxHeader = 10
	finBit    = 1 << 7
	rsv1Bit   = 1 << 6
	rsv23Bits = 3 << 4
	maskBit   = 1 << 7

	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// putHeader writes the header of an unmasked frame so that it ends where b
// does, and returns its size.
func putHeader(b []byte, first byte, payload int) int {
	switch {
	case payload <= 125:
		b = b[len(b)-2:]
		b[1] = byte(payload)
	case payload < 1<<16:
		b = b[len(b)-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(payload))
	default:
		b = b[len(b)-10:]
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(payload))
	}
	b[0] = first
	return len(b)
}

// unmask takes a client's mask off b.
func unmask(b, key []byte) {
	k := binary.LittleEndian.Uint32(key)
	for twice := uint64(k)<<32 | uint64(k); len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^twice)
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
}

// appendControl appends a control frame.
func appendControl(dst []byte, op byte, payload []byte) []byte {
	return append(append(dst, finBit|op, byte(len(payload))), payload...)
}

// appendClose appends a close frame; a reason that does not fit is cut at a
// rune's end.
func appendClose(dst []byte, code int, reason string) []byte {
	if len(reason) > 123 {
		n := 123
		for n > 0 && reason[n]&0xc0 == 0x80 {
			n--
		}
		reason = reason[:n]
	}
	p := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reason)), uint16(code))
	return appendControl(dst, opClose, append(p, reason...))
}
