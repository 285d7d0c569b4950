package signaling

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Socket is what Accept hands to OnSocket: the connection beneath a peer, for
// limits and drains that close one.
type Socket interface {
	// Close ends the session with a close frame. It does not block.
	Close(code int, reason string) error
}

// socket is one WebSocket connection. Its fields below peer are guarded by the
// peer's mutex, except where it says otherwise.
//
// Reading belongs to one goroutine at a time: the server's, which runs serve
// while there are bytes, and in the portable mode a shallow one that waits for
// them. Writing belongs to whoever set writing.
type socket struct {
	peer  *Peer
	conn  net.Conn        // below it all; closed through this
	raw   syscall.RawConn // parked mode only
	onEnd func()

	// reading, owned by the reader
	br    *bufio.Reader // while there are bytes
	pre   []byte        // read already, but not by br
	ioErr error         // of the connection, not of the protocol
	seen  atomic.Int64  // when the last bytes came, since the hub's start

	// writing
	first    []byte  // frames that go before any message
	pong     *[]byte // payload of the latest ping, nil if none
	rest     []byte  // what a write left over
	stalled  time.Duration
	part     int32         // bytes of pre that are on the budget
	restHeld int32         // bytes behind rest that are on the budget
	pingAt   time.Duration // when the ping went out
	pingMark uint64        // messages sent before it
	ackAt    time.Duration // a ping is due by then, to learn what arrived; 0: no
	pingSeq  uint32
	end      *ending // once it closes

	// Small fields stand together: one of these structs is all that most
	// sockets ever need.
	fd   int32
	gen  uint32
	news atomic.Uint32 // what the epoll set has reported since the last read

	parked, known  bool // in the set
	idle           bool // parked, and nobody serves it
	full           bool // waits until the kernel takes more
	timed, polling bool // a read deadline is set; reads must not wait; owned by the reader
	drained        bool // the last read took all there was; owned by the reader

	writing, deflate, dead        bool
	wantPing, pinged              bool // pinged: a pong is owed
	closing, closeSent, dropQueue bool
}

// ending is what a socket that closes needs.
type ending struct {
	by     time.Duration
	code   int
	reason string
	bye    *CloseInfo // the client's close frame, when it has come
}

func (s *socket) endLocked() *ending {
	if s.end == nil {
		s.end = new(ending)
	}
	return s.end
}

// handle is a socket as the outside sees it.
type handle socket

// Close implements Socket.
func (c *handle) Close(code int, reason string) error {
	s := (*socket)(c)
	p := s.peer
	p.mu.Lock()
	current := p.sock == s && !s.dead
	p.mu.Unlock()
	if current {
		p.Close(code, reason)
	}
	return nil
}

// closeLocked starts the closing handshake. With drop what is queued is not
// sent before it.
func (s *socket) closeLocked(code int, reason string, drop bool) {
	if s.closing {
		return
	}
	s.closing, s.dropQueue = true, drop
	e := s.endLocked()
	e.code, e.reason = code, reason
	if drop { // what is being written its writer holds
		s.peer.out.clear(s.peer.hub)
	}
	e.by = s.peer.hub.now() + s.peer.hub.opt.CloseTimeout
	s.peer.hub.wheel.set(s.peer, e.by)
}

// lost is called when the connection is no longer usable, or not needed any
// more. The session goes away, or ends if it cannot come back.
func (s *socket) lost(info CloseInfo) {
	p, h := s.peer, s.peer.hub
	p.mu.Lock()
	if s.dead {
		p.mu.Unlock()
		return
	}
	s.dead = true
	h.budget.release(int64(s.part + s.restHeld))
	s.first, s.pong, s.rest, s.part, s.restHeld = nil, nil, nil, 0, 0
	p.sock = nil
	over := false
	switch {
	case p.state == peerClosed:
		p.out.clear(h)
		h.wheel.remove(p)
	case info.Clean || h.opt.ResumeFor < 0:
		over = true
	default:
		p.out.written()
		p.state = peerAway
		p.until = h.now() + h.opt.ResumeFor
		h.wheel.set(p, p.until)
		h.stats.away.Add(1)
		if h.opt.OnAway != nil {
			p.post(func() { h.opt.OnAway(p) })
		}
	}
	p.mu.Unlock()
	if over {
		p.end(info, true)
	}
	h.unpark(s)
	if t, ok := s.conn.(*tls.Conn); ok {
		t.NetConn().Close() // without TLS's own farewell, which may block
	} else {
		s.conn.Close()
	}
	if s.onEnd != nil {
		s.onEnd()
	}
	h.socketGone(s) // last: Shutdown waits for it
}

// netConn is a socket as its reader sees it.
type netConn socket

var errNothing = errors.New("nothing to read")

// Read implements io.Reader.
func (c *netConn) Read(b []byte) (n int, err error) {
	if len(c.pre) > 0 {
		n = copy(b, c.pre)
		if c.pre = c.pre[n:]; len(c.pre) == 0 {
			c.pre = nil
		}
		return n, nil
	}
	n, err = (*socket)(c).readNow(b)
	if err == errNothing && !c.polling {
		if !c.timed { // within a message, waiting has a limit
			c.timed = true
			c.conn.SetReadDeadline(time.Now().Add(c.peer.hub.opt.ReadTimeout))
		}
		n, err = c.conn.Read(b)
	}
	if err != nil && err != errNothing {
		c.ioErr = err
	}
	if n > 0 {
		c.peer.hub.stats.bytesIn.Add(int64(n))
	}
	return n, err
}

// readBufferSize is what a socket that has something to read borrows.
const readBufferSize = 4096

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBufferSize) }}

// borrow gives the socket a reader.
func (s *socket) borrow() {
	if s.br == nil {
		s.br = readers.Get().(*bufio.Reader)
		s.br.Reset((*netConn)(s))
	}
}

// giveBack takes the reader away again. What is left in it is the beginning of a
// control frame, at most 130 bytes; a copy waits for the rest.
func (s *socket) giveBack() error {
	if s.br == nil {
		return nil
	}
	var err error
	if n := s.br.Buffered(); n > 0 {
		if err = s.holdPart(n); err == nil {
			b, _ := s.br.Peek(n)
			s.pre = append(make([]byte, 0, n), b...)
		}
	}
	s.br.Reset(nil)
	readers.Put(s.br)
	s.br = nil
	return err
}

// holdPart puts n bytes that wait for the rest of their frame on the budget,
// in place of those before.
func (s *socket) holdPart(n int) error {
	p, h := s.peer, s.peer.hub
	p.mu.Lock()
	defer p.mu.Unlock()
	h.budget.release(int64(s.part))
	s.part = 0
	if s.dead {
		return nil
	}
	if !h.budget.reserve(int64(n)) {
		return errMemory
	}
	s.part = int32(n)
	return nil
}
