package signaling

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// message reads one message and handles it.
func (s *socket) message() error {
	h := s.peer.hub
	c, err := s.receive()
	defer c.free(h)
	if err != nil {
		return err
	}
	if s.isClosing() {
		return nil
	}
	// It is in memory three times while the application works on it: as it
	// came, the copy of its data that the application gets, and that decoded.
	if n := 3*int64(len(c.b)) - c.held; len(c.b) > smallMessage && n > 0 {
		if !h.budget.reserve(n) {
			return errMemory
		}
		c.held += n
	}
	if c.binary {
		return errBinary
	}
	return s.handle(c.b, h.now())
}

// receive reads one message and inflates it when it is there as a whole, so that
// a slow sender holds no inflater. The caller frees it, with an error too.
func (s *socket) receive() (*content, error) {
	h := s.peer.hub
	c := contents.Get().(*content)
	c.payload = payload{s: s}
	err := c.readAll(h, &c.payload)
	if err != nil || !c.deflated {
		return c, err
	}
	if !s.allowed(c.size / deflatedUnit) {
		return c, errRate
	}
	defer c.free(h)
	plain := contents.Get().(*content)
	plain.binary = c.binary
	return plain, plain.inflate(h, c.b)
}

// deflatedUnit is how much of a deflated message counts in the rate as one more:
// 64 KiB that define codes and use none take more than 20 ms to inflate, text of
// that size less than one (BenchmarkInflate).
const deflatedUnit = 4 << 10

// content is a message as far as it is read.
type content struct {
	payload
	b    []byte
	held int64 // bytes on the budget
}

// smallMessage is what a message may have without being counted: as many as
// there are sockets may come at once.
const smallMessage = 2048

var contents = sync.Pool{New: func() any { return &content{b: make([]byte, 0, smallMessage)} }}

// readAll appends all of r. It counts what the buffer grows to in h's budget.
func (c *content) readAll(h *Hub, r io.Reader) error {
	for {
		if len(c.b) == cap(c.b) {
			grow := int64(cap(c.b))
			if !h.budget.reserve(grow) {
				return errMemory
			}
			c.held += grow
			c.b = append(make([]byte, 0, 2*cap(c.b)), c.b...)
		}
		n, err := r.Read(c.b[len(c.b):cap(c.b)])
		c.b = c.b[:len(c.b)+n]
		if len(c.b) > h.opt.MaxMessageBytes {
			return errLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// free gives c back, and its bytes to the budget.
func (c *content) free(h *Hub) {
	h.budget.release(c.held)
	if cap(c.b) <= 16<<10 {
		*c = content{b: c.b[:0]}
		contents.Put(c)
	}
}

// payload is the message that a socket is reading: what its frames carry,
// without the control frames between them, which it handles.
type payload struct {
	s        *socket
	binary   bool
	deflated bool
	begun    bool // the first frame has come
	last     bool // so has the header of the last one
	size     int  // of the frames so far
	left     int  // of the last of these
	mask     [4]byte
}

// Read implements io.Reader.
func (p *payload) Read(b []byte) (int, error) {
	for p.left == 0 {
		if p.last {
			return 0, io.EOF
		}
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n, err := p.s.br.Read(b[:min(len(b), p.left)])
	unmask(b[:n], p.mask[:])
	p.left -= n
	m := p.mask
	p.mask = [4]byte{m[n%4], m[(n+1)%4], m[(n+2)%4], m[(n+3)%4]}
	return n, err
}

// A faulty frame ends its socket with close code 1002.
var (
	errReserved     = errors.New("reserved bit or opcode in use")
	errNotMasked    = errors.New("frame without a mask")
	errControlFrame = errors.New("control frame in fragments or too long")
	errOrder        = errors.New("fragment out of order")
	errLength       = errors.New("length of 64 bits")
	errCloseFrame   = errors.New("close frame without a valid code")
)

// next goes on to the next frame of the message.
func (p *payload) next() error {
	s := p.s
	for {
		b, err := s.br.Peek(2)
		if err != nil {
			return err
		}
		first, op, fin, n := b[0], b[0]&0xf, b[0]&finBit != 0, int(b[1]&^maskBit)
		if b[1]&maskBit == 0 {
			return errNotMasked
		}
		if op >= opClose {
			if err := s.controlFrame(first, n); err != nil {
				return err
			}
			continue
		}
		switch {
		case op > opBinary || first&rsv1Bit != 0 && (op == opContinuation || !s.deflate) || first&rsv23Bits != 0:
			return errReserved
		case (op == opContinuation) != p.begun:
			return errOrder
		}
		if n, err = s.length(n); err != nil {
			return err
		}
		if n > s.peer.hub.opt.MaxMessageBytes-p.size {
			return errLarge
		}
		p.size += n
		if n == 0 && !fin && !s.allowed(1) { // is nothing, and may come for ever
			return errRate
		}
		if !p.begun {
			p.begun, p.binary, p.deflated = true, op == opBinary, first&rsv1Bit != 0
		}
		b, err = s.br.Peek(4)
		if err != nil {
			return err
		}
		p.last, p.left, p.mask = fin, n, [4]byte(b)
		s.br.Discard(4)
		return nil
	}
}

// length reads the length of a frame's payload, of which short is what stands in
// the header's second byte.
func (s *socket) length(short int) (int, error) {
	size := 2
	switch short {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	b, err := s.br.Peek(size)
	if err != nil {
		return 0, err
	}
	n := uint64(short)
	switch size {
	case 4:
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		n = binary.BigEndian.Uint64(b[2:])
	}
	s.br.Discard(size)
	switch {
	case n >= 1<<63:
		return 0, errLength
	case n > uint64(s.peer.hub.opt.MaxMessageBytes):
		return 0, errLarge
	}
	return int(n), nil
}

// allowed counts n in the peer's rate beside its messages.
func (s *socket) allowed(n int) bool {
	p, h := s.peer, s.peer.hub
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; n > 0; n-- {
		if !p.rate.take(h.now(), h.opt.Rate, h.opt.Burst) {
			return false
		}
	}
	return true
}

// controlFrame reads and handles the control frame that begins with the given
// byte and has n bytes of payload.
func (s *socket) controlFrame(first byte, n int) error {
	op := first & 0xf
	switch {
	case op > opPong || first&(rsv1Bit|rsv23Bits) != 0:
		return errReserved
	case first&finBit == 0 || n > 125:
		return errControlFrame
	}
	b, err := s.br.Peek(6 + n)
	if err != nil {
		return err
	}
	text := bytes.Clone(b[6:])
	unmask(text, b[2:6])
	s.br.Discard(6 + n)
	if op == opClose {
		return parseClose(text)
	}
	return s.control(op, text)
}

// closeFrame is a client's close frame. To the reader it is an error.
type closeFrame CloseInfo

// Error implements error.
func (*closeFrame) Error() string { return "close frame" }

// parseClose returns the close frame with the payload b as an error, or what is
// wrong with it.
func parseClose(b []byte) error {
	switch len(b) {
	case 0:
		return &closeFrame{Code: websocket.CloseNoStatusReceived}
	case 1:
		return errCloseFrame
	}
	code, reason := int(binary.BigEndian.Uint16(b)), b[2:]
	switch {
	case code >= 3000 && code <= 4999:
	case code >= 1000 && code <= 1014 && code != 1004 && code != websocket.CloseNoStatusReceived && code != websocket.CloseAbnormalClosure:
	default:
		return errCloseFrame
	}
	if !utf8.Valid(reason) {
		return errUTF8
	}
	return &closeFrame{Code: code, Reason: string(reason), Clean: code == websocket.CloseNormalClosure}
}
