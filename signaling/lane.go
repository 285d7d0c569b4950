package signaling

import (
	"sync"
	"sync/atomic"
)

// lane holds what was broadcast until every session has taken it into its own
// queue: at its next flush, or before anything else is queued for it. So a
// broadcast costs its caller nothing a session, and what is broadcast within
// one tick costs each session one visit.
//
// It is bounded like a peer's queue: when it is full, who broadcasts next
// hands out what is in it first.
type lane struct {
	next atomic.Uint64 // broadcasts so far

	mu     sync.Mutex
	frames []*Frame // the latest of them; appended to, never changed in place
	bytes  int

	// The latest of them as bundles, made once for all who ask for the same: the
	// broadcasts after the first from until the first to.
	packed   []*Frame
	from, to uint64
}

// put appends f, for which the caller has taken a hold. It reports false, and
// does nothing, if the lane is full.
func (l *lane) put(f *Frame, messages, bytes int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.frames) > 0 && (len(l.frames) >= messages || l.bytes+f.Len() > bytes) {
		return false
	}
	l.frames = append(l.frames, f)
	l.bytes += f.Len()
	l.next.Add(1)
	return true
}

// after returns the broadcasts after the nth, in bundles of up to most bytes,
// and how many there were by then.
func (l *lane) after(h *Hub, n uint64, most int) ([]*Frame, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.next.Load()
	frames := l.frames[len(l.frames)-int(next-n):]
	if len(frames) == 1 {
		return frames, next
	}
	if l.packed == nil || l.from != n || l.to != next {
		for _, f := range l.unpackLocked() {
			f.drop(h) // frees nothing: the lane holds the parts
		}
		l.packed, l.from, l.to = pack(frames, most), n, next
	}
	return l.packed, next
}

// unpackLocked forgets what was packed and returns the bundles, which the lane
// holds.
func (l *lane) unpackLocked() (bundles []*Frame) {
	for _, f := range l.packed {
		if f.bundle != nil {
			bundles = append(bundles, f)
		}
	}
	l.packed = nil
	return bundles
}

// trim lets the first n broadcasts go: every session has taken them.
func (l *lane) trim(h *Hub, n uint64) {
	l.mu.Lock()
	first := l.next.Load() - uint64(len(l.frames))
	var old []*Frame
	if n > first {
		old = l.frames[:n-first]
		l.frames = append([]*Frame(nil), l.frames[n-first:]...)
		for _, f := range old {
			l.bytes -= f.Len()
		}
		old = append(l.unpackLocked(), old...)
	}
	l.mu.Unlock()
	for _, f := range old {
		f.drop(h)
	}
}

// Broadcast queues f for every session on this hub and returns how many there
// are. What becomes of it in a full queue is as with [Peer.SendFrame].
func (h *Hub) Broadcast(f *Frame) int {
	h.mu.Lock()
	n := len(h.list)
	h.mu.Unlock()
	if n == 0 || f.Len() > h.opt.QueueBytes {
		return 0
	}
	f, ok := f.hold(h)
	if !ok { // where every byte counts, what is kept for resumes gives way
		n = 0
		for _, p := range h.all() {
			if p.SendFrame(f) == nil {
				n++
			}
		}
		return n
	}
	for !h.lane.put(f, h.opt.QueueMessages/2, h.opt.QueueBytes/2) {
		h.handOut()
	}
	h.flusher.everyone()
	return n
}

// handOut has every session take what was broadcast so far.
func (h *Hub) handOut() {
	n := h.lane.next.Load()
	for _, p := range h.all() {
		p.mu.Lock()
		err := p.hearLocked()
		p.mu.Unlock()
		p.tooSlow(err)
	}
	h.lane.trim(h, n)
}

// hearLocked queues what was broadcast since p was here last. Its error is
// that of enqueueLocked.
func (p *Peer) hearLocked() error {
	l := &p.hub.lane
	if p.heard == l.next.Load() || p.state == peerClosed {
		return nil
	}
	o := &p.hub.opt
	var frames []*Frame
	frames, p.heard = l.after(p.hub, p.heard, min(batchBytes, o.ResumeBytes/4)) // what is kept is forgotten by the bundle
	if len(frames) > 1 {
		p.out.grow(len(frames))
	}
	for _, f := range frames {
		if f.bundle == nil {
			if err := p.enqueueLocked(f); err != nil {
				return err
			}
		} else if err := p.enqueueBundleLocked(f); err != nil {
			return err
		}
	}
	return nil
}

// enqueueBundleLocked queues a bundle, or its parts if there is no room for all
// of them.
func (p *Peer) enqueueBundleLocked(f *Frame) error {
	h, parts := p.hub, f.bundle.parts
	if p.out.pending()+len(parts) <= h.opt.QueueMessages && int(p.out.queued)+f.Len() <= h.opt.QueueBytes {
		if _, ok := f.hold(h); ok {
			p.acceptLocked(f)
			return nil
		}
	}
	for _, part := range parts {
		if err := p.enqueueLocked(part); err != nil {
			return err
		}
	}
	return nil
}
