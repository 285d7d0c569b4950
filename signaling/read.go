package signaling

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// start begins reading.
func (s *socket) start() {
	switch {
	case !s.parked:
		s.peer.hub.running.Go(s.wait)
	case !s.park():
		s.peer.hub.workers.serve(s)
	}
}

// wait is the goroutine of an idle socket in the portable mode. It holds no
// buffer but one into which a pong just fits, and stays shallow: serve runs on
// a goroutine of its own, so that this one's stack never grows.
func (s *socket) wait() {
	var first [16]byte // on the heap, as all that is given to an interface
	n, err := s.conn.Read(first[:])
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if n == 0 {
		s.ioErr = err
	}
	s.pre = append(s.pre[:len(s.pre):len(s.pre)], first[:n]...)
	s.peer.hub.stats.bytesIn.Add(int64(n))
	s.peer.hub.workers.serve(s)
}

// serve handles what has arrived and goes back to waiting.
func (s *socket) serve() {
	at := s.peer.hub.now()
	s.seen.Store(int64(at))
	if s.ioErr != nil { // half a control frame in pre is of no use
		s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "connection lost"})
		return
	}
	if len(s.pre) > 0 {
		s.holdPart(0)
	}
	s.drained = false
	if s.parked && len(s.pre) == 0 {
		rest, err := s.direct(at)
		if err != nil {
			s.failed(err)
			return
		}
		if !rest && s.drained {
			s.pause()
			return
		}
	}
	s.borrow()
	for {
		ready, err := s.peek()
		if err != nil {
			s.failed(err)
			return
		}
		if !ready {
			break
		}
		if err := s.message(); err != nil {
			s.failed(err)
			return
		}
		if s.timed {
			s.timed = false
			s.conn.SetReadDeadline(time.Time{})
		}
	}
	if err := s.giveBack(); err != nil {
		s.failed(err)
		return
	}
	s.pause()
}

// pause writes what the handlers have left to write and waits for more to read.
func (s *socket) pause() {
	p := s.peer
	if s.parked {
		p.mu.Lock()
		if s.writing || !s.hasWorkLocked() {
			waits := s.parkLocked()
			p.mu.Unlock()
			if !waits {
				p.hub.workers.serve(s)
			}
			return
		}
		p.mu.Unlock()
	}
	p.flush()
	s.start()
}

var arrivals = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

// direct reads what has arrived and handles the messages that it begins with,
// as far as they are there as a whole, plain text and so short that they take
// no room on the budget: most sockets have sent one of these and nothing else.
// It reports whether there is a rest, which it leaves in the socket's reader.
func (s *socket) direct(at time.Duration) (rest bool, err error) {
	buf := arrivals.Get().(*[readBufferSize]byte)
	defer arrivals.Put(buf)
	s.polling = true
	n, err := (*netConn)(s).Read(buf[:])
	s.polling = false
	if err != nil {
		return false, nothing(err)
	}
	for b := buf[:n]; len(b) > 0; {
		text, size := s.small(b)
		if size == 0 {
			s.borrow()
			s.pre = b
			s.br.Peek(1) // copies all of it
			return true, nil
		}
		if err := s.handle(text, at); err != nil {
			return false, err
		}
		b = b[size:]
	}
	return false, nil
}

// small returns the message that b begins with, unmasked where it lies, and the
// size of its frame, if it is one for direct.
func (s *socket) small(b []byte) (text []byte, size int) {
	if s.deflate || len(b) < 8 || b[0] != finBit|opText || b[1]&maskBit == 0 {
		return nil, 0
	}
	head, n := 2, int(b[1]&^maskBit)
	if n == 126 {
		head, n = 4, int(binary.BigEndian.Uint16(b[2:]))
	} else if n == 127 {
		return nil, 0
	}
	size = head + 4 + n
	if n > min(smallMessage, s.peer.hub.opt.MaxMessageBytes) || len(b) < size {
		return nil, 0
	}
	text = b[head+4 : size]
	unmask(text, b[head:head+4])
	return text, size
}

// peek handles whole control frames and reports whether a data or close frame
// has begun, whose rest message waits for.
func (s *socket) peek() (ready bool, err error) {
	s.polling = true
	defer func() { s.polling = false }()
	for {
		b, err := s.br.Peek(2)
		if err != nil {
			return false, nothing(err)
		}
		op, size := b[0]&0xf, int(b[1]&0x7f)
		if op != opPing && op != opPong || b[0] != finBit|op || b[1]&maskBit == 0 || size > 125 {
			return true, nil // also what is malformed, which message judges
		}
		if _, err = s.br.Peek(6 + size); err != nil {
			return false, nothing(err)
		}
		if err := s.controlFrame(b[0], size); err != nil {
			return false, err
		}
	}
}

func nothing(err error) error {
	if err == errNothing {
		return nil
	}
	return err
}

// control handles a ping or a pong.
func (s *socket) control(op byte, payload []byte) error {
	p, h := s.peer, s.peer.hub
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.dead { // a late pong must not confirm the token of the next socket
		return errClosing
	}
	if !p.rate.take(h.now(), h.opt.Rate, h.opt.Burst) {
		return errRate
	}
	switch {
	case op == opPing:
		s.pong = &payload // only the latest is owed, RFC 6455, 5.5.3
		p.touchLocked()
	case s.pinged && len(payload) == 4 && binary.BigEndian.Uint32(payload) == s.pingSeq:
		s.pinged = false
		h.stats.rtt.Store(int64(h.now() - s.pingAt))
		p.out.rest()
		p.out.acked(h, s.pingMark)
		p.tokens.confirm()
		s.wantAckLocked()
	}
	return nil
}

var (
	errRate    = errors.New("too many messages")
	errLarge   = errors.New("message too large")
	errBinary  = errors.New("not a text message")
	errUTF8    = errors.New("not UTF-8")
	errMemory  = errors.New("out of memory for messages")
	errClosing = errors.New("closing")
)

// handle gives one message, which came at the given time, to the application.
func (s *socket) handle(b []byte, at time.Duration) error {
	p, h := s.peer, s.peer.hub
	m, err := parseMessage(b, h.opt.MaxDepth)
	m.at = at
	if !m.valid && !utf8.Valid(b) {
		err = errUTF8
	}
	p.mu.Lock()
	if s.dead || s.closing { // only its end interests us any more
		err = nil
		if s.dead {
			err = errClosing
		}
		p.mu.Unlock()
		return err
	}
	if err != errUTF8 && err != errNotJSON && !p.rate.take(at, h.opt.Rate, h.opt.Burst) {
		err = errRate
	}
	if err == errUTF8 || err == errNotJSON || err == errRate {
		p.mu.Unlock()
		return err
	}
	p.got++
	turn, wait := false, func() {}
	if err == nil && m.Type != "ping" { // in line under the lock: another socket's messages come after
		if turn = p.events.enter(); !turn {
			wait = p.events.line(func() { p.message(m) })
		}
	}
	p.mu.Unlock()
	h.stats.messagesIn.Add(1)
	if turn {
		p.message(m)
		p.events.leave()
		return nil
	}
	if e, bad := err.(*Error); bad {
		p.ReplyError(m.ID, e.Code, e.Message)
	} else if m.Type == "ping" {
		s.heartbeat(m.Message)
	}
	wait()
	return nil
}

// message gives m to the application, or passes it on for it.
func (p *Peer) message(m envelope) {
	p.guard(func() {
		if p.hub.passes[m.Type] {
			p.hub.pass(p, m)
		} else {
			p.hub.opt.OnMessage(p, m.clone()) // what it was read into is used again
		}
	})
}

// heartbeat answers the ping of a client that cannot see protocol pings.
func (s *socket) heartbeat(m Message) {
	var data struct {
		Received *uint64 `json:"received"`
	}
	if m.Decode(&data) == nil && data.Received != nil {
		s.peer.mu.Lock()
		if !s.dead {
			s.peer.out.acked(s.peer.hub, *data.Received)
			s.peer.tokens.confirm()
		}
		s.peer.mu.Unlock()
	}
	s.peer.Reply(m.ID, nil)
}

func (s *socket) isClosing() bool {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	return s.closing
}

// failed ends reading: the client closed, broke the protocol or is gone.
func (s *socket) failed(err error) {
	if err == errClosing { // replaced by another socket
		s.giveBackAll()
		return
	}
	if s.isClosing() { // the answer to our close frame, or no better
		s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure})
		return
	}
	code, reason := 0, ""
	bye, isBye := err.(*closeFrame)
	switch {
	case s.ioErr != nil:
		s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "connection lost"})
		return
	case isBye:
		s.goodbye((*CloseInfo)(bye))
		return
	case err == errRate:
		code, reason = websocket.ClosePolicyViolation, "too many messages"
	case err == errLarge:
		code, reason = websocket.CloseMessageTooBig, "message too large"
	case err == errBinary || err == errUTF8 || err == errNotJSON || err == errDeflate:
		code, reason = websocket.CloseInvalidFramePayloadData, "not JSON text"
	case err == errMemory:
		code, reason = websocket.CloseTryAgainLater, s.peer.hub.retryAfter()
	default:
		code, reason = websocket.CloseProtocolError, "protocol error"
	}
	s.peer.hub.log.Debug("peer broke a rule", slog.String("user", s.peer.user), slog.Int("code", code), slog.Any("error", err))
	s.peer.end(CloseInfo{Code: code, Reason: reason}, true)
	s.discard()
}

// goodbye answers the client's close frame. 1000 ends the session; anything
// else may be a reload or a network change, and the peer may come back.
func (s *socket) goodbye(bye *CloseInfo) {
	s.peer.mu.Lock()
	s.endLocked().bye = bye
	busy, stalled := s.writing, s.rest != nil
	s.writing = true
	s.peer.mu.Unlock()
	switch {
	case stalled:
		s.lost(*bye)
	case !busy:
		s.pump()
	}
}

// discard reads what still comes from a client that broke a rule until it
// answers our close frame: closing earlier would reset the connection, and the
// close frame could be lost. The wheel ends it after CloseTimeout.
func (s *socket) discard() {
	s.giveBackAll()
	var trash [512]byte
	s.conn.SetReadDeadline(time.Now().Add(s.peer.hub.opt.CloseTimeout))
	for {
		if _, err := s.conn.Read(trash[:]); err != nil {
			break
		}
	}
	s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure})
}

func (s *socket) giveBackAll() {
	if s.br != nil {
		s.br.Discard(s.br.Buffered())
	}
	s.giveBack()
}
