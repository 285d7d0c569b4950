package signaling

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// AcceptOptions are what the server knows of a connecting client.
type AcceptOptions struct {
	// User is who connects. The caller has authenticated the request.
	User string

	// Resume is the token of the session that the client wants back and
	// Received how many of its messages the client has. A token that is
	// invalid, of another user or too late leads to a new session.
	Resume   string
	Received uint64

	// Hello, if set, returns more fields for the hello message. The peer gets
	// everything that is sent to it from before this call on. If the peer is
	// closed meanwhile, the client gets the close frame in place of a hello and
	// Accept returns ErrClosed.
	Hello func(*Peer) map[string]any

	// OnSocket, if set, is called with the socket when the upgrade has
	// succeeded, before anything is sent.
	OnSocket func(Socket)

	// OnSocketEnd, if set, is called exactly once for this call of Accept:
	// when the socket is gone, or when Accept fails. Shutdown returns after
	// it. It must not block.
	OnSocketEnd func()
}

// Accept upgrades the request and makes it the socket of a peer: of a new
// session, or of the one that it resumes. It writes the answer itself, also
// when it fails; the errors are ErrFull, ErrShutdown, ErrOrigin, ErrHandshake and
// ErrClosed. It does not wait for messages: the handler should return, so
// that the memory of the HTTP request is freed.
func (h *Hub) Accept(w http.ResponseWriter, r *http.Request, o AcceptOptions) (*Peer, error) {
	// Little is done here itself: its frame lies below the handshake's, on the
	// stack of a goroutine of net/http, see upgrade.
	p, token, fresh, err := h.seat(w, r, &o)
	if err != nil {
		o.end()
		return nil, err
	}
	s, err := h.upgrade(w, r)
	if err != nil {
		h.stats.refusedBad.Add(1)
		if fresh {
			p.end(CloseInfo{Code: websocket.CloseAbnormalClosure}, true)
		}
		o.end()
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	s.onEnd = o.OnSocketEnd
	if !fresh {
		return h.comeBack(r.Context(), p, s, token, &o)
	}
	return h.attach(p, s, 0, &o)
}

// end is called where Accept ends without a socket.
func (o *AcceptOptions) end() {
	if o.OnSocketEnd != nil {
		o.OnSocketEnd()
	}
}

// seat finds the session that the request resumes, or makes room for a new one.
// When it fails, it has answered the request.
func (h *Hub) seat(w http.ResponseWriter, r *http.Request, o *AcceptOptions) (p *Peer, token uint32, fresh bool, err error) {
	if err := h.Check(r); err != nil {
		h.turnDown(w, r, err)
		return nil, 0, false, err
	}
	if p, token = h.find(o.User, o.Resume); p != nil {
		return p, token, false, nil
	}
	if p, err = h.add(o.User); err != nil {
		h.refuse(w, err)
		return nil, 0, false, err
	}
	if err := h.listen(r.Context(), o.User); err != nil {
		h.refuse(w, ErrFull)
		p.end(CloseInfo{Code: websocket.CloseAbnormalClosure}, true)
		return nil, 0, false, fmt.Errorf("signaling: bus: %w", err)
	}
	return p, 0, true, nil
}

// comeBack attaches s to the session p, or to a new one if p ended meanwhile or
// lacks messages.
func (h *Hub) comeBack(ctx context.Context, p *Peer, s *socket, token uint32, o *AcceptOptions) (*Peer, error) {
	turn, ok := p.resume(token, o.Received)
	if ok {
		return h.attach(p, s, turn, o)
	}
	p, err := h.add(o.User)
	if err == nil {
		if err = h.listen(ctx, o.User); err != nil {
			p.end(CloseInfo{Code: websocket.CloseAbnormalClosure}, true)
		}
	}
	if err != nil {
		s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		s.conn.Write(appendClose(s.first, websocket.CloseTryAgainLater, h.retryAfter()))
		s.conn.Close()
		o.end()
		return nil, err
	}
	return h.attach(p, s, 0, o)
}

// resume gives the session to a new socket: the old one, if it is still there,
// is closed, and what the client lacks waits again. It reports false if the
// session is over or lacks messages that the client lacks; then it is over. Of
// several at the same time the last one has its turn.
func (p *Peer) resume(token uint32, received uint64) (turn uint16, ok bool) {
	p.mu.Lock()
	for s := p.sock; s != nil; s = p.sock {
		p.mu.Unlock()
		s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "replaced"})
		p.mu.Lock()
	}
	if p.state != peerAway || !p.tokens.use(token) {
		p.mu.Unlock()
		return 0, false
	}
	if !p.out.rewind(p.hub, received) {
		p.mu.Unlock()
		p.end(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "resume not possible"}, true)
		return 0, false
	}
	p.until = p.hub.now() + p.hub.opt.ResumeFor // for the handshake
	p.hub.wheel.set(p, p.until)
	if p.turn++; p.turn == 0 { // which stands for a new session
		p.turn++
	}
	turn = p.turn
	p.mu.Unlock()
	return turn, true
}

// attach makes s the socket of p and says hello. Turn is the one that resume
// gave, 0 for a new session.
func (h *Hub) attach(p *Peer, s *socket, turn uint16, o *AcceptOptions) (*Peer, error) {
	fresh := turn == 0
	if fresh && o.Resume != "" {
		h.stats.notResumed.Add(1)
	}
	var more map[string]any
	if o.Hello != nil {
		p.guard(func() { more = o.Hello(p) })
	}
	p.mu.Lock()
	hello, err := p.helloLocked(!fresh, more)
	if p.state == peerClosed || p.sock != nil || p.turn != turn || err != nil {
		p.mu.Unlock()
		if err != nil {
			h.log.Error("hello cannot be encoded", "error", err)
			p.end(CloseInfo{Code: 1011, Reason: "internal error"}, true)
		}
		h.dismiss(p, s)
		return nil, ErrClosed
	}
	var head [maxHeader]byte
	n := putHeader(head[:], finBit|opText, len(hello))
	s.first = append(append(s.first, head[maxHeader-n:]...), hello...)
	s.peer, p.sock = p, s
	p.state = peerOpen
	now := h.now()
	s.seen.Store(int64(now))
	if fresh {
		h.stats.opened.Add(1)
		h.wheel.set(p, now+h.opt.PingEvery)
	} else {
		h.stats.resumed.Add(1)
		s.askLocked() // for a sign that the client has its new token
	}
	h.stats.sockets.Add(1)
	if s.parked {
		h.stats.parked.Add(1)
	}
	call := h.opt.OnBack
	if fresh {
		call = h.opt.OnOpen
	}
	wait := func() {}
	if call != nil {
		wait = p.events.line(func() { p.guard(func() { call(p) }) })
	}
	p.mu.Unlock()
	if o.OnSocket != nil {
		o.OnSocket((*handle)(s))
	}
	p.flush()
	wait()
	s.start()
	return p, nil
}

// helloLocked encodes the first message, with what the server adds to it.
func (p *Peer) helloLocked(resumed bool, more map[string]any) ([]byte, error) {
	b := make([]byte, 0, 256)
	b = appendString(append(b, `{"type":"hello","data":{"userId":`...), p.user)
	b = appendString(append(b, `,"sessionId":`...), p.id)
	b = strconv.AppendBool(append(b, `,"resumed":`...), resumed)
	b = strconv.AppendUint(append(b, `,"received":`...), p.got, 10)
	b = strconv.AppendFloat(append(b, `,"heartbeatSeconds":`...), p.hub.opt.PingEvery.Seconds(), 'f', -1, 64)
	b = appendString(append(b, `,"resumeToken":`...), p.hub.token(p.id, p.tokens.newest))
	for _, own := range []string{"userId", "sessionId", "resumed", "received", "heartbeatSeconds", "resumeToken"} {
		delete(more, own)
	}
	if len(more) > 0 {
		rest, err := json.Marshal(more)
		if err != nil {
			return nil, err
		}
		b = append(append(b, ','), rest[1:len(rest)-1]...)
	}
	return append(b, "}}"...), nil
}

// dismiss closes a socket whose session has ended or went to another socket
// before it was attached, the former with a closing handshake.
func (h *Hub) dismiss(p *Peer, s *socket) {
	h.mu.Lock()
	left := h.left
	if !left { // Shutdown waits for it from here on
		h.stats.sockets.Add(1)
		if s.parked {
			h.stats.parked.Add(1)
		}
	}
	h.mu.Unlock()
	p.mu.Lock()
	over := p.over
	if left || over == nil || p.sock != nil {
		p.mu.Unlock()
		s.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		s.conn.Write(s.first)
		s.conn.Close()
		if s.onEnd != nil {
			s.onEnd()
		}
		if !left {
			h.socketGone(s)
		}
		return
	}
	s.peer, p.sock = p, s
	s.closeLocked(over.Code, over.Reason, true)
	p.mu.Unlock()
	p.flush()
	s.start()
}

// refuse answers a request for which there is no room.
func (h *Hub) refuse(w http.ResponseWriter, err error) {
	if err == ErrShutdown {
		h.stats.refusedClosed.Add(1)
	} else {
		h.stats.refusedFull.Add(1)
	}
	w.Header().Set("Retry-After", strings.TrimPrefix(h.retryAfter(), "retry-after="))
	http.Error(w, "no room", http.StatusServiceUnavailable)
}
