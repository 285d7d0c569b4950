package signaling

import "sync"

// outbox holds a peer's messages in the order of their numbers: first those
// that were sent and are kept for a resume, then those that are being written,
// then those that wait. A bundle is one frame and as many messages as it has
// parts. It is guarded by the peer's mutex.
type outbox struct {
	frames  []*Frame
	base    uint64 // how many messages came before frames[0]
	sent    int32  // frames[:sent] were written to a socket
	flying  int32  // frames[sent:sent+flying] are being written
	fixed   int32  // frames[:fixed] were given to some socket once: their numbers are fixed
	kept    int32  // bytes of frames[:sent]
	queued  int32  // bytes of the others
	own     int32  // bytes of frames[:sent] that no other peer shares
	bundled bool   // there may be bundles in frames
	prompt  uint32 // when a message last went out without waiting for the tick, µs
}

// next is the number of messages that were given to a socket so far.
func (o *outbox) next() uint64 { return o.base + uint64(o.count(o.frames[:o.sent+o.flying])) }

// waiting is the number of frames not yet given to a socket.
func (o *outbox) waiting() int { return len(o.frames) - int(o.sent+o.flying) }

// pending is the number of messages not yet written.
func (o *outbox) pending() int { return o.count(o.frames[o.sent:]) }

// array is room for what a peer that keeps up has in its outbox: what is kept
// until a ping is due, and some that wait. Thousands of peers need one in the
// same moment and then no more, and what each of them threw away would be as
// much again: they go from one to the next.
type array [ackFrames + 16]*Frame

var arrays = sync.Pool{New: func() any { return new(array) }}

// grow makes room for n more.
func (o *outbox) grow(n int) {
	want := len(o.frames) + n
	if want <= cap(o.frames) || want <= 4 {
		return
	}
	old := o.frames
	if want <= len(array{}) {
		o.frames = append(arrays.Get().(*array)[:0], old...)
	} else {
		o.frames = append(make([]*Frame, 0, max(want, 2*cap(old))), old...)
	}
	recycle(old)
}

// recycle gives the array behind frames to the next who needs one.
func recycle(frames []*Frame) {
	if cap(frames) == len(array{}) {
		clear(frames)
		arrays.Put((*array)(frames[:cap(frames)]))
	}
}

// insert puts f behind everything of its class and higher.
func (o *outbox) insert(f *Frame) {
	o.grow(1)
	i := len(o.frames)
	o.frames = append(o.frames, f)
	for ; i > int(o.fixed) && o.frames[i-1].class < f.class; i-- {
		o.frames[i] = o.frames[i-1]
	}
	o.frames[i] = f
	o.queued += f.size()
	o.bundled = o.bundled || f.bundle != nil
}

// replace puts f in the place of a waiting frame with the same key.
func (o *outbox) replace(f *Frame) (old *Frame) {
	for i := int(o.fixed); i < len(o.frames); i++ {
		if old = o.frames[i]; old.key == f.key && old.class == f.class {
			o.frames[i] = f
			o.queued += f.size() - old.size()
			return old
		}
	}
	return nil
}

// sacrifice removes the oldest waiting frame that may be dropped.
func (o *outbox) sacrifice() *Frame {
	for i := int(o.fixed); i < len(o.frames); i++ {
		if f := o.frames[i]; f.droppable {
			copy(o.frames[i:], o.frames[i+1:])
			o.shrink(len(o.frames) - 1)
			o.queued -= f.size()
			return f
		}
	}
	return nil
}

// dropDroppable removes waiting frames that may be dropped, the oldest first,
// until want bytes are free. It returns how many frames and bytes.
func (o *outbox) dropDroppable(h *Hub, want int64) (n int, freed int64) {
	rest := o.frames[:o.fixed]
	for _, f := range o.frames[o.fixed:] {
		if f.droppable && freed < want {
			o.queued -= f.size()
			freed += f.drop(h)
			n++
		} else {
			rest = append(rest, f)
		}
	}
	o.shrink(len(rest))
	return n, freed
}

// take gives the next n frames to a socket.
func (o *outbox) take(n int) {
	o.flying += int32(n)
	o.fixed = max(o.fixed, o.sent+o.flying)
}

// written says that the flying frames are out.
func (o *outbox) written() {
	for ; o.flying > 0; o.flying-- {
		f := o.frames[o.sent]
		o.queued -= f.size()
		o.kept += f.size()
		if f.private {
			o.own += f.size()
		}
		o.sent++
	}
}

// forget removes the n oldest sent frames.
func (o *outbox) forget(h *Hub, n int) {
	if n <= 0 {
		return
	}
	for _, f := range o.frames[:n] {
		o.kept -= f.size()
		if f.private {
			o.own -= f.size()
		}
	}
	o.sent -= int32(n)
	o.cut(h, n)
}

// cut drops the first n frames.
func (o *outbox) cut(h *Hub, n int) {
	o.base += uint64(o.count(o.frames[:n]))
	for _, f := range o.frames[:n] {
		f.drop(h)
	}
	copy(o.frames, o.frames[n:])
	o.shrink(len(o.frames) - n)
	o.fixed = max(o.fixed-int32(n), 0)
}

// acked says that the client has the first n messages of its session.
func (o *outbox) acked(h *Hub, n uint64) {
	if n > o.base {
		i, _ := o.find(n)
		o.forget(h, min(i, int(o.sent)))
	}
}

// find returns the frame that the message after the first n is in, and how many
// messages of that frame are before it.
func (o *outbox) find(n uint64) (i, within int) {
	if !o.bundled {
		return int(min(n-o.base, uint64(len(o.frames)))), 0
	}
	for at := o.base; i < len(o.frames); i++ {
		next := at + uint64(o.count(o.frames[i:i+1]))
		if n < next {
			return i, int(n - at)
		}
		at = next
	}
	return i, 0
}

// trim keeps what was sent within its bounds.
func (o *outbox) trim(h *Hub, messages, bytes int) {
	n, count, kept := 0, o.count(o.frames[:o.sent]), int(o.kept)
	for n < int(o.sent) && (count > messages || kept > bytes) {
		count -= o.count(o.frames[n : n+1])
		kept -= o.frames[n].Len()
		n++
	}
	o.forget(h, n)
}

// rewind makes everything after the client's first n messages wait again. It
// reports false if some of it is no longer here, or n was never reached.
func (o *outbox) rewind(h *Hub, n uint64) bool {
	o.written()
	if n < o.base || n > o.base+uint64(o.count(o.frames[:o.fixed])) {
		return false
	}
	o.queued += o.kept
	o.sent, o.kept, o.own = 0, 0, 0
	have, within := o.find(n)
	if within > 0 {
		o.unpack(h, have)
		have += within
	}
	for _, f := range o.frames[:have] {
		o.queued -= f.size()
	}
	o.cut(h, have)
	return true
}

// clear drops everything and returns the bytes that this freed.
func (o *outbox) clear(h *Hub) (freed int64) {
	for _, f := range o.frames {
		freed += f.drop(h)
	}
	base := o.base + uint64(o.count(o.frames))
	recycle(o.frames)
	*o = outbox{base: base}
	return freed
}

// shrink cuts frames to n and lets a large array go when it is empty.
func (o *outbox) shrink(n int) {
	clear(o.frames[n:])
	o.frames = o.frames[:n]
	o.bundled = o.bundled && n > 0
	if n == 0 && cap(o.frames) > len(array{}) {
		o.frames = nil
	}
}

// rest lets the array go that is kept while there is traffic.
func (o *outbox) rest() {
	if len(o.frames) == 0 {
		recycle(o.frames)
		o.frames = nil
	}
}
