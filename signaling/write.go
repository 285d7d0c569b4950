package signaling

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// batchBytes is how much of a queue goes out in one write. A larger message
// is written alone.
const batchBytes = 32 << 10

// writer puts batches together.
type writer struct {
	buf []byte

	// The latest batch of several frames and what it was made of: what was
	// broadcast within a tick is joined once for all its receivers.
	joined  []byte
	of      []*Frame
	deflate bool

	held *Frame // whose bytes are being written
}

// hold keeps the bytes of f, which is in a queue, until the next letGo.
func (w *writer) hold(f *Frame) {
	f.refs.Add(1)
	w.held = f
}

func (w *writer) letGo(h *Hub) {
	if w.held != nil {
		w.held.drop(h)
		w.held = nil
	}
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// hasWorkLocked reports whether there is anything to write.
func (s *socket) hasWorkLocked() bool {
	if s.closeSent {
		return false
	}
	return len(s.first) > 0 || s.pong != nil || s.wantPing || s.closing || s.peer.out.waiting() > 0
}

// beginUnlock writes what waits, by a goroutine of its own if writing may have
// to wait. The caller has locked the peer and set writing.
func (s *socket) beginUnlock() {
	if s.parked {
		s.pumpUnlock()
		return
	}
	s.peer.mu.Unlock()
	s.peer.hub.running.Go(s.pump)
}

// pump writes until nothing waits or the kernel takes no more. The caller has
// set writing.
func (s *socket) pump() {
	s.peer.mu.Lock()
	s.pumpUnlock()
}

// pumpUnlock is pump for a caller that has locked the peer.
func (s *socket) pumpUnlock() {
	p := s.peer
	w := writers.Get().(*writer)
	defer w.release(p.hub)
	for {
		if s.dead {
			p.mu.Unlock()
			return
		}
		if s.end != nil && s.end.bye != nil {
			p.mu.Unlock()
			s.sayBye()
			return
		}
		if !s.hasWorkLocked() {
			s.writing = false
			p.mu.Unlock()
			return
		}
		b := s.batchLocked(w)
		p.mu.Unlock()
		n, err := s.write(b)
		if err != nil {
			s.lost(CloseInfo{Code: 1006, Reason: "connection lost"})
			return
		}
		if n < len(b) {
			if s.stall(b[n:]) {
				s.awaitWritable()
			} else {
				p.hub.stats.shed.Add(1)
				s.lost(CloseInfo{Code: 1006, Reason: "no memory for what it does not read"})
			}
			return
		}
		w.letGo(p.hub)
		p.mu.Lock()
		s.wroteLocked()
	}
}

// release gives a writer back that has not grown beyond what is usual.
func (w *writer) release(h *Hub) {
	w.letGo(h)
	if cap(w.buf)+cap(w.joined) <= 4*batchBytes {
		writers.Put(w)
	}
}

// stall keeps what the kernel did not take. It reports false if the budget has
// no room for it.
func (s *socket) stall(rest []byte) bool {
	p, h := s.peer, s.peer.hub
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.dead {
		return true
	}
	if !h.budget.reserve(int64(len(rest))) {
		return false
	}
	s.rest, s.restHeld = append(make([]byte, 0, len(rest)), rest...), int32(len(rest))
	s.stalled = h.now()
	h.wheel.set(p, s.stalled+h.opt.WriteTimeout)
	return true
}

// writable goes on after the kernel has room again.
func (s *socket) writable() {
	p := s.peer
	p.mu.Lock()
	rest := s.rest
	if s.dead || rest == nil {
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	n, err := s.write(rest)
	if err != nil {
		s.lost(CloseInfo{Code: 1006, Reason: "connection lost"})
		return
	}
	p.mu.Lock()
	if s.dead {
		p.mu.Unlock()
		return
	}
	s.rest = rest[n:]
	if n > 0 {
		s.stalled = p.hub.now()
	}
	if n == len(rest) {
		p.hub.budget.release(int64(s.restHeld))
		s.rest, s.restHeld, s.stalled = nil, 0, 0
	}
	p.mu.Unlock()
	if n < len(rest) {
		s.awaitWritable()
		return
	}
	p.mu.Lock()
	s.wroteLocked()
	s.pumpUnlock()
}

// wroteLocked books what was written.
func (s *socket) wroteLocked() {
	p, h := s.peer, s.peer.hub
	if s.dead {
		return
	}
	h.stats.messagesOut.Add(int64(p.out.count(p.out.frames[p.out.sent : p.out.sent+p.out.flying])))
	p.out.written()
	if h.opt.ResumeFor < 0 {
		p.out.trim(h, 0, 0)
	} else {
		p.out.trim(h, h.opt.QueueMessages, min(h.opt.ResumeBytes, max(h.opt.QueueBytes, h.opt.ResumeBytes)-int(p.out.queued)))
		s.wantAckLocked()
	}
	if s.closeSent {
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite() // the client need not wait for our end of the handshake
		}
	}
}

// When this much is kept for a resume, a ping goes out with the next message,
// or after ackAfter: its pong says that everything before it has arrived. A
// bundle counts as one of ackFrames: its bytes are shared, and what a peer has
// of it is a pointer, which is less than the pong costs.
const (
	ackBytes  = 512
	ackFrames = 32
	ackAfter  = 2 * time.Second
)

// wantAckLocked sees to it that what is kept does not stay for long.
func (s *socket) wantAckLocked() {
	if s.ackAt == 0 && !s.pinged && !s.closing && s.peer.hub.opt.ResumeFor >= 0 &&
		(s.peer.out.own >= ackBytes || s.peer.out.sent >= ackFrames) {
		s.askLocked()
	}
}

// askLocked brings the next ping forward.
func (s *socket) askLocked() {
	h := s.peer.hub
	s.ackAt = h.now() + min(ackAfter, h.opt.PingEvery)
	h.wheel.set(s.peer, s.ackAt)
}

// batchLocked returns what goes out next: frames of the socket itself, then
// messages up to batchBytes, then, when all is out, the close frame. It is good
// until w is used again.
func (s *socket) batchLocked(w *writer) []byte {
	p, h := s.peer, s.peer.hub
	h.stats.writes.Add(1)
	if s.closing && s.dropQueue {
		p.out.clear(h)
	}
	messages := s.messagesLocked(w)
	if len(messages) > 0 && !s.pinged && p.out.sent+p.out.flying >= ackFrames {
		s.wantPing = true
	}
	last := s.closing && p.out.waiting() == 0
	if len(s.first) == 0 && s.pong == nil && !s.wantPing && !last {
		return messages // as they are: most often they are others' as well
	}
	b := append(w.buf[:0], s.first...)
	s.first = nil
	if s.pong != nil {
		b = appendControl(b, opPong, *s.pong)
		s.pong = nil
	}
	b = append(b, messages...)
	if s.wantPing && !s.closing {
		s.wantPing, s.pinged = false, true
		s.pingAt, s.pingMark, s.ackAt = h.now(), p.out.next(), 0
		s.pingSeq++
		var seq [4]byte
		binary.BigEndian.PutUint32(seq[:], s.pingSeq)
		b = appendControl(b, opPing, seq[:])
		h.wheel.set(p, s.pingAt+min(h.opt.PongTimeout, h.opt.PingEvery))
	}
	if last {
		s.closeSent = true
		b = appendClose(b, s.end.code, s.end.reason)
	}
	w.buf = b
	return b
}

// messagesLocked takes waiting messages: several as one array, so that a
// browser wakes up once. With compression each keeps its own frame, which may
// have been compressed for many receivers.
func (s *socket) messagesLocked(w *writer) []byte {
	p := s.peer
	wait := p.out.frames[p.out.sent+p.out.flying:]
	n, size := 0, 0
	for n < len(wait) && (n == 0 || size+wait[n].Len() <= batchBytes) {
		size += wait[n].Len()
		n++
	}
	if n == 0 {
		return nil
	}
	p.out.take(n)
	p.hub.stats.plainOut.Add(int64(size))
	wait = wait[:n]
	if n == 1 && wait[0].bundle == nil {
		if wait[0].block != nil {
			w.hold(wait[0])
		}
		return s.wireOf(wait[0])
	}
	if s.deflate != w.deflate || !slices.Equal(wait, w.of) {
		w.deflate, w.of = s.deflate, append(w.of[:0], wait...)
		w.joined = s.join(w.joined[:0], flat(wait))
	}
	return w.joined
}

// wireOf returns f as this socket's client wants it.
func (s *socket) wireOf(f *Frame) []byte {
	if s.deflate {
		if d := f.deflate(s.peer.hub); d != nil {
			return d
		}
	}
	return f.wire
}

// join appends frames to b.
func (s *socket) join(b []byte, frames []*Frame) []byte {
	if s.deflate {
		for _, f := range frames {
			b = append(b, s.wireOf(f)...)
		}
		return b
	}
	payload := len(frames) + 1 // brackets and commas
	for _, f := range frames {
		payload += len(f.JSON())
	}
	var head [maxHeader]byte
	k := putHeader(head[:], finBit|opText, payload)
	b = append(b, head[maxHeader-k:]...)
	for i, f := range frames {
		b = append(b, "[,"[min(i, 1)])
		b = append(b, f.JSON()...)
	}
	return append(b, ']')
}

// write writes b: at once and as much as goes in the parked mode, all of it or
// an error in the portable one.
func (s *socket) write(b []byte) (n int, err error) {
	if s.parked {
		n, err = s.writeNow(b)
	} else {
		s.conn.SetWriteDeadline(time.Now().Add(s.peer.hub.opt.WriteTimeout))
		n, err = s.conn.Write(b)
	}
	s.peer.hub.stats.bytesOut.Add(int64(n))
	return n, err
}

// sayBye answers the client's close frame.
func (s *socket) sayBye() {
	bye := *s.end.bye
	echo := bye.Code
	if echo == websocket.CloseNoStatusReceived {
		echo = websocket.CloseNormalClosure
	}
	s.write(appendClose(nil, echo, ""))
	s.lost(bye)
}
