package web

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// Close codes of this platform, beside those of package signaling.
const (
	closeSessionEnded = 4002
	closeUnderReview  = 4003
)

// handleTimeout bounds what one message may make the server do.
const handleTimeout = 5 * time.Second

// Sockets joins the hub, which knows sockets, to the platform, which knows
// people. Its methods are the hub's callbacks and the platform's Deliver; they
// may be called by any goroutine.
type Sockets struct {
	hub      *signaling.Hub
	platform *dating.Platform
	windows  *windows
	conns    *connmgr.Manager
	log      *slog.Logger

	mu       sync.Mutex
	arriving map[string]dating.Session  // by peer id, from hello until the platform knows it
	tabs     map[string]*signaling.Peer // by id; as many as the hub has
	rooms    map[dating.UserID]string   // where people with a tab here are in a call
}

// NewSockets opens the hub with options, whose callbacks it sets; states bounds
// what is kept of the queue's windows. Serve must be called before the first
// request.
func NewSockets(options signaling.Options, savings Savings, states compress.DeltaOptions, conns *connmgr.Manager, log *slog.Logger) (*Sockets, error) {
	s := &Sockets{conns: conns, log: log, arriving: make(map[string]dating.Session), tabs: make(map[string]*signaling.Peer), rooms: make(map[dating.UserID]string)}
	var err error
	if s.windows, err = newWindows(savings, states); err != nil {
		return nil, err
	}
	options.OnMessage = s.onMessage
	options.OnOpen = s.onOpen
	options.OnAway = func(p *signaling.Peer) { s.platform.SocketAway(p.ID()) }
	options.OnBack = func(p *signaling.Peer) { s.platform.SocketBack(p.ID()) }
	options.OnClose = s.onClose
	s.hub, err = signaling.New(options)
	return s, err
}

// Serve says whose rules the sockets live by.
func (s *Sockets) Serve(p *dating.Platform) { s.platform = p }

// Hub is the hub, for its figures and its end.
func (s *Sockets) Hub() *signaling.Hub { return s.hub }

// Queue gives the figures of the queue's windows.
func (s *Sockets) Queue() QueueStats { return s.windows.Stats() }

// socket is GET /ws: it admits the connection, then the hub upgrades it.
func (s *Server) socket(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	if s.Admit() != nil {
		return errNoRoom
	}
	return s.Sockets.accept(w, r, who)
}

func (s *Sockets) accept(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	// Before anything changes: a page of another origin, or a plain link to
	// here, must not cost the user a socket.
	switch err := s.hub.Check(r); {
	case errors.Is(err, signaling.ErrOrigin):
		return &dating.Error{Code: dating.Forbidden, Message: "pages of this origin may not connect"}
	case err != nil:
		return invalid("this is no WebSocket handshake")
	}
	user, query := string(who.User), r.URL.Query()
	resume := query.Get("resume")
	received, err := strconv.ParseUint(query.Get("received"), 10, 64)
	if err != nil && resume != "" {
		return invalid("received must be the number of messages that arrived")
	}
	if resume != "" {
		s.hub.Takeover(user, resume) // so that the socket it replaces is not counted beside it
	}
	s.forget(user)
	ticket, err := s.conns.Admit(connmgr.Request{User: user, Addr: s.conns.ClientAddr(r)})
	if err != nil {
		return full(w, err)
	}
	var id string
	_, err = s.hub.Accept(w, r, signaling.AcceptOptions{
		User: user, Resume: resume, Received: received,
		Hello: func(p *signaling.Peer) map[string]any {
			id = p.ID()
			s.mu.Lock()
			s.arriving[id] = who
			s.mu.Unlock()
			return s.greeting(who.User)
		},
		OnSocket:    func(socket signaling.Socket) { _ = ticket.Attach(socket) }, // when it refuses it has closed the socket
		OnSocketEnd: ticket.Release,
	})
	s.mu.Lock()
	delete(s.arriving, id)
	s.mu.Unlock()
	if err != nil {
		s.log.Debug("handshake", "user", user, "error", err)
	}
	return nil // the hub has answered
}

// full is the answer to who was not admitted, with the hint when to return.
func full(w http.ResponseWriter, err error) error {
	w.Header().Set("Connection", "close")
	if limit, ok := errors.AsType[*connmgr.LimitError](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(limit.RetryAfter/time.Second)+1))
		if limit.What == connmgr.LimitDraining {
			return &dating.Error{Code: dating.Draining, Message: "the server is stopping; come back in a moment"}
		}
	}
	return &dating.Error{Code: dating.Overloaded, Message: "there is no place free; try again in a moment"}
}

// mostAway bounds the cut sockets of one user that may still come back.
const mostAway = 4

// forget ends sessions of a user who is cut off and connects anew all the
// time: each would wait for its grace, and one person may not fill the house.
func (s *Sockets) forget(user string) {
	away := 0
	for _, p := range slices.Backward(s.hub.Peers(user)) { // the newest first: they are kept
		if !p.Away() {
			continue
		}
		if away++; away > mostAway {
			p.Close(connmgr.CloseEvicted, "too many lost connections")
		}
	}
}

// greeting is what hello says beside the hub's own part: what the user is in
// the middle of.
func (s *Sockets) greeting(user dating.UserID) map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), handleTimeout)
	defer cancel()
	call, invite, err := s.platform.Current(ctx, user)
	if err != nil {
		s.log.Warn("what is a person in", "user", user, "error", err)
	}
	return map[string]any{"call": call, "invite": invite}
}

// onOpen makes a new socket known to the platform, before its first message.
func (s *Sockets) onOpen(p *signaling.Peer) {
	s.mu.Lock()
	who := s.arriving[p.ID()]
	s.tabs[p.ID()] = p
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), handleTimeout)
	defer cancel()
	err := s.platform.SocketOpened(ctx, who.User, p.ID(), who)
	switch dating.CodeOf(err) {
	case "":
	case dating.UnderReview, dating.Banned:
		p.Close(closeUnderReview, "under review")
	default:
		s.log.Debug("socket refused", "user", who.User, "error", err)
		p.Close(connmgr.CloseTryAgainLater, "retry-after="+strconv.Itoa(retrySeconds()))
	}
}

func (s *Sockets) onClose(p *signaling.Peer, info signaling.CloseInfo) {
	s.mu.Lock()
	delete(s.tabs, p.ID())
	s.mu.Unlock()
	if user := p.User(); len(s.hub.Peers(user)) == 0 {
		s.leaveRoom(dating.UserID(user), "")
	}
	s.platform.SocketClosed(p.ID(), info.Clean)
	s.windows.forget(p.ID())
}

// onMessage carries out one message and answers it.
func (s *Sockets) onMessage(p *signaling.Peer, m signaling.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), handleTimeout)
	defer cancel()
	answer, err := s.handle(ctx, p, m)
	if err == nil {
		if len(m.ID) > 0 && errors.Is(p.Reply(m.ID, answer), signaling.ErrTooLarge) {
			_ = p.ReplyError(m.ID, string(tooLargeCode), "the answer is too large") // gone: needs none
		}
		return
	}
	e := wireSignal(err)
	if e.Code == dating.Unavailable {
		s.log.Warn("message", "type", m.Type, "error", err)
	}
	_ = p.ReplyError(m.ID, string(e.Code), e.Message) // as above
}

// wireSignal is wire, for the errors of a signaling room as well.
func wireSignal(err error) wireError {
	if e, ok := errors.AsType[*signaling.Error](err); ok {
		return wireError{dating.Code(e.Code), e.Message}
	}
	return wire(err)
}

// Deliver takes the platform's events to the sockets they are for.
func (s *Sockets) Deliver(e dating.Event) {
	switch data := e.Data.(type) {
	case *dating.CallStart:
		s.startCall(e, data)
	case *dating.Finalized:
		defer s.leaveRoom(e.To, data.RoomID)
	case *dating.Relayed:
		if room := s.hub.Room(data.RoomID); room != nil { // else this side is not there yet, and will ask for an offer
			_ = room.Arrived(data.Signal)
		}
		return
	case *dating.Missed:
		s.close(e, websocket.CloseServiceRestart, "messages were missed; retry-after="+strconv.Itoa(rand.IntN(3)))
		return
	case *dating.Invalidated:
		defer s.close(e, closeSessionEnded, data.Reason)
	case *dating.Review:
		defer s.close(e, closeUnderReview, "under review")
	}
	frames, err := s.framesOf(e)
	if err != nil {
		s.log.Error("event cannot be encoded", "kind", e.Kind, "error", err)
		return
	}
	for _, frame := range frames {
		s.send(e.To, e.Socket, frame)
	}
}

// framesOf encodes an event.
func (s *Sockets) framesOf(e dating.Event) ([]*signaling.Frame, error) {
	class := signaling.Control
	switch e.Kind {
	case dating.QueueSnapshotKind, dating.QueueUpdateKind:
		return s.windows.frames(e)
	case dating.ChatKind:
		class = signaling.Data
	}
	frame, err := signaling.NewFrame(class, e.Kind, e.Data)
	return []*signaling.Frame{frame}, err
}

// send gives a frame to one socket of the user, or to all of them.
func (s *Sockets) send(user dating.UserID, socket string, frame *signaling.Frame) {
	if socket == "" {
		s.hub.SendUser(string(user), frame)
		return
	}
	if p := s.tab(socket); p != nil {
		_ = p.SendFrame(frame) // slow or gone: the hub has dealt with it
	}
}

func (s *Sockets) close(e dating.Event, code int, reason string) {
	for _, p := range s.hub.Peers(string(e.To)) {
		if e.Socket == "" || e.Socket == p.ID() {
			p.Close(code, reason)
		}
	}
}

// startCall opens the room through which the two exchange their offers. The
// rules tell each socket of both of them; the one where the call is joins.
func (s *Sockets) startCall(e dating.Event, start *dating.CallStart) {
	room := s.openRoom(e.To, start)
	p := s.tab(e.Socket)
	switch {
	case room == nil || p == nil:
	case !start.Here:
		room.Leave(p) // another one has the call, here or on another server
	default:
		if err := room.Join(p); err != nil {
			s.log.Warn("room join", "room", start.RoomID, "error", err)
		}
	}
}

// openRoom gives the room of a call, which it opens unless somebody has before.
func (s *Sockets) openRoom(user dating.UserID, start *dating.CallStart) *signaling.Room {
	members := []string{string(user), string(start.Peer.UserID)}
	initiator := members[0]
	if !start.IsInitiator {
		initiator = members[1]
	}
	id := start.RoomID
	s.mu.Lock()
	s.rooms[user] = id
	s.mu.Unlock()
	room, err := s.hub.OpenRoom(id, signaling.RoomOptions{Members: members, Initiator: initiator, Remote: func(to string, data []byte) error {
		return s.platform.Relay(dating.UserID(to), id, data)
	}})
	if errors.Is(err, signaling.ErrRoomExists) {
		return s.hub.Room(id) // nil: the call is over already
	}
	if err != nil {
		s.log.Error("room", "room", id, "error", err)
		return nil
	}
	return room
}

// tab gives the peer with this id, nil if it is gone.
func (s *Sockets) tab(id string) *signaling.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tabs[id]
}

// leaveRoom is for a person whose call is over, or who has no tab here any
// more: with the last of the two the room goes. They may open it again.
func (s *Sockets) leaveRoom(user dating.UserID, over string) {
	s.mu.Lock()
	id := s.rooms[user]
	if over == "" || over == id {
		delete(s.rooms, user)
	}
	s.mu.Unlock()
	if over != "" {
		id = over
	}
	room := s.hub.Room(id)
	if room == nil {
		return
	}
	if over == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, member := range room.Members() {
			if s.rooms[dating.UserID(member)] == id {
				return
			}
		}
	}
	room.Close()
}
