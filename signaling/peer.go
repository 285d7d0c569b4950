package signaling

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Peer is one session of one user: a browser tab. Its socket may break and be
// replaced; the session goes on if that happens within Options.ResumeFor.
type Peer struct {
	hub      *Hub
	id, user string
	events   serial

	mu     sync.Mutex
	sock   *socket
	out    outbox
	heard  uint64 // broadcasts taken from the lane
	state  peerState
	dirty  bool   // in the flusher's list
	turn   uint16 // counts resumes
	tokens tokenRange
	at     int32 // in the hub's list; guarded by its mutex, here for the sake of size
	rate   bucket
	got    uint64        // messages of the client
	until  time.Duration // away: when the grace ends
	rooms  []*Room
	over   *CloseInfo // closed before its socket was attached

	slot, ix int32 // in the wheel; guarded by its mutex
	older    *Peer // session of the same user; guarded by the hub's mutex
}

type peerState uint8

const (
	peerNew    peerState = iota // not yet opened
	peerOpen                    // has a socket
	peerAway                    // lost it
	peerClosed                  // over; a socket may still be closing
)

func newPeer(h *Hub, user string) *Peer {
	var b [10]byte
	rand.Read(b[:])
	// The name may be a part of a request's header, all of which it would keep.
	return &Peer{hub: h, user: strings.Clone(user), id: base64.RawURLEncoding.EncodeToString(b[:]), slot: -1}
}

// ID returns the session's id. It is no secret.
func (p *Peer) ID() string { return p.id }

// User returns the user whose session this is.
func (p *Peer) User() string { return p.user }

// Away reports whether the peer has lost its socket.
func (p *Peer) Away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == peerAway
}

// Send encodes {"type": typ, "data": data} and queues it. The errors are those
// of NewFrame and SendFrame.
func (p *Peer) Send(class Class, typ string, data any) error {
	f, err := NewFrame(class, typ, data)
	if err != nil {
		return err
	}
	f.private = true
	return p.SendFrame(f)
}

// Reply answers the message with the given id. Without an id it does nothing.
func (p *Peer) Reply(id json.RawMessage, data any) error {
	if len(id) == 0 {
		return nil
	}
	return p.answer(outgoing{Type: "ok", ID: id, Data: data})
}

// ReplyError answers the message with the given id with an error, or tells the
// client of the error without one.
func (p *Peer) ReplyError(id json.RawMessage, code, message string) error {
	return p.answer(outgoing{Type: "error", ID: id, Data: map[string]string{"code": code, "message": message}})
}

func (p *Peer) answer(m outgoing) error {
	f, err := encodeFrame(Data, m)
	if err != nil {
		return err
	}
	f.private = true
	return p.SendFrame(f)
}

// SendFrame queues f, also while the peer is away. ErrClosed: the session is
// over. ErrSlow: the queue was full of messages that may not be dropped; the
// session was ended with 4008. ErrTooLarge and ErrBudget: f was not queued,
// nothing else happened. A droppable frame that finds no room is no error.
func (p *Peer) SendFrame(f *Frame) error {
	return p.queued(f, p.enqueue(f))
}

// queued deals with the outcome of enqueue; it may end peers, so no lock may
// be held.
func (p *Peer) queued(f *Frame, err error) error {
	if err == ErrBudget && p.hub.shed(p) {
		err = p.enqueue(f)
	}
	switch err {
	case nil:
	case ErrSlow:
		p.tooSlow(err)
	case ErrBudget:
		p.hub.stats.droppedBudget.Add(1)
		if f.droppable {
			return nil
		}
	}
	return err
}

// tooSlow ends a peer whose queue was full.
func (p *Peer) tooSlow(err error) {
	if err == ErrSlow {
		p.hub.stats.closedSlow.Add(1)
		p.end(CloseInfo{Code: 4008, Reason: "too slow"}, true)
	}
}

func (p *Peer) enqueue(f *Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.hearLocked(); err != nil { // what was broadcast before goes first
		return err
	}
	return p.enqueueLocked(f)
}

func (p *Peer) enqueueLocked(f *Frame) error {
	h := p.hub
	if p.state == peerClosed {
		return ErrClosed
	}
	size := f.Len()
	if size > h.opt.QueueBytes {
		return ErrTooLarge
	}
	f, ok := f.hold(h)
	if !ok && p.out.sent > 0 { // what is kept for a resume gives way
		p.out.forget(h, int(p.out.sent))
		f, ok = f.hold(h)
	}
	if !ok {
		return ErrBudget
	}
	if f.key != "" {
		if old := p.out.replace(f); old != nil {
			old.drop(h)
			h.stats.droppedLatest.Add(1)
			p.touchLocked()
			return nil
		}
	}
	for p.out.pending() >= h.opt.QueueMessages || int(p.out.queued)+size > h.opt.QueueBytes {
		old := p.out.sacrifice()
		if old == nil {
			f.drop(h)
			if f.droppable {
				h.stats.droppedFull.Add(1)
				return nil
			}
			return ErrSlow
		}
		old.drop(h)
		h.stats.droppedFull.Add(1)
	}
	p.acceptLocked(f)
	return nil
}

// acceptLocked puts f, which the caller holds and has room for, in the queue.
func (p *Peer) acceptLocked(f *Frame) {
	h := p.hub
	p.out.insert(f)
	p.out.trim(h, h.opt.QueueMessages, max(h.opt.QueueBytes, h.opt.ResumeBytes)-int(p.out.queued))
	p.touchLocked()
}

// touchLocked has what is queued written within the flush tick.
func (p *Peer) touchLocked() {
	if p.sock != nil && !p.dirty {
		p.dirty = true
		p.hub.flusher.add(p)
	}
}

// Close ends the session: what is queued is sent, then a close frame with code
// and reason. OnClose follows. It does not block.
func (p *Peer) Close(code int, reason string) {
	p.end(CloseInfo{Code: code, Reason: reason, Clean: true}, false)
}

// end makes the session over. With drop the queue is not sent first.
func (p *Peer) end(info CloseInfo, drop bool) {
	p.mu.Lock()
	if p.state == peerClosed {
		p.mu.Unlock()
		return
	}
	if !drop {
		p.hearLocked()
	}
	opened := p.state != peerNew
	p.state = peerClosed
	s := p.sock
	if s == nil {
		p.over = &info
		p.out.clear(p.hub)
		p.hub.wheel.remove(p)
	} else {
		s.closeLocked(info.Code, info.Reason, drop)
	}
	rooms := p.rooms
	p.rooms = nil
	p.mu.Unlock()
	if s != nil {
		p.flush()
	}
	for _, r := range rooms {
		r.forget(p)
	}
	p.hub.remove(p, info)
	if opened && p.hub.opt.OnClose != nil {
		p.post(func() { p.hub.opt.OnClose(p, info) })
	}
}

// post has a callback run in the peer's order.
func (p *Peer) post(fn func()) {
	p.events.post(p.hub.running.Go, func() { p.guard(fn) })
}

// guard runs a callback; a panic costs the peer, not the process.
func (p *Peer) guard(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			p.hub.stats.panics.Add(1)
			p.hub.log.Error("callback panicked", slog.String("user", p.user), slog.String("session", p.id),
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			p.end(CloseInfo{Code: 1011, Reason: "internal error"}, true)
		}
	}()
	fn()
}
