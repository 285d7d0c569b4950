package signaling

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// RoomOptions configure a Room.
type RoomOptions struct {
	// Members are the users who may join; one socket of each takes part.
	// Required, 2 to 16 different ones.
	Members []string

	// Initiator is the member that offers first and is the impolite side of
	// perfect negotiation towards all others. Default: the first of Members.
	// Between two others the one that comes first in Members is impolite.
	Initiator string

	// MaxCandidates bounds the ICE candidates of one member for one
	// generation (one ice-ufrag). Default 64.
	MaxCandidates int

	// RelayOnly drops all candidates that are not of type relay, so that
	// members do not learn each other's addresses.
	RelayOnly bool

	// Remote, if set, takes what a member here has for one whose socket is not
	// on this hub, for a server that knows itself how to reach the others: it
	// gives data to Room.Arrived on theirs. It is called one message at a time
	// for each sender, in order, and must not wait. What it refuses the sender
	// is told: *Error as it is, other errors as ErrUnreachable. Without it the
	// Bus of the hub is used, if there is one.
	Remote func(to string, data []byte) error
}

// Room relays signaling between the sockets of its members. Every message is
// checked: the sender must be the joined socket of a member.
type Room struct {
	hub *Hub
	id  string
	opt RoomOptions

	mu      sync.Mutex
	closed  bool
	sub     Subscription // with a Bus
	members map[string]*member
	order   []*member // the same as in RoomOptions.Members
}

// maxMembers is how many a room may have.
const maxMembers = 16

// member is the state of one user in a room. user and rank never change and
// are read without a lock; the rest is guarded by the room's.
type member struct {
	user string
	rank int    // the lower is impolite
	last uint64 // number of the latest offer, of whichever socket
	seat
}

// seat is what belongs to the socket that joined; the next one begins anew.
type seat struct {
	peer   *Peer
	offers map[string]uint64 // number of the open offer to another member
	ufrag  string            // of the latest description
	prior  string            // of the one before
	count  int               // candidates since
}

// OpenRoom opens a room; with a Bus on this hub, where members' sockets are on
// several, each opens it. ErrRoomExists, ErrRoomsFull, ErrShutdown, an error of
// the Bus, or what is wrong with the options.
func (h *Hub) OpenRoom(id string, o RoomOptions) (*Room, error) {
	o.Members = slices.Clone(o.Members)
	if o.MaxCandidates == 0 {
		o.MaxCandidates = 64
	}
	if o.Initiator == "" && len(o.Members) > 0 {
		o.Initiator = o.Members[0]
	}
	r := &Room{hub: h, id: id, opt: o, members: make(map[string]*member, len(o.Members))}
	for i, user := range o.Members {
		rank := i + 1
		if user == o.Initiator {
			rank = 0
		}
		r.members[user] = &member{user: user, rank: rank}
		r.order = append(r.order, r.members[user])
	}
	var errs []error
	if id == "" || len(id) > 128 {
		errs = append(errs, fmt.Errorf("signaling: room id %q, want 1 to 128 bytes", id))
	}
	if n := len(o.Members); n < 2 || n > maxMembers || n != len(r.members) {
		errs = append(errs, fmt.Errorf("signaling: RoomOptions.Members = %q, want 2 to %d different users", o.Members, maxMembers))
	}
	if r.members[o.Initiator] == nil {
		errs = append(errs, fmt.Errorf("signaling: RoomOptions.Initiator = %q, want a member", o.Initiator))
	}
	if o.MaxCandidates < 0 {
		errs = append(errs, fmt.Errorf("signaling: RoomOptions.MaxCandidates = %d, want >= 0", o.MaxCandidates))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := h.addRoom(r); err != nil {
		return nil, err
	}
	if h.opt.Bus != nil && o.Remote == nil {
		if err := r.listen(); err != nil {
			r.Close()
			return nil, fmt.Errorf("signaling: bus: %w", err)
		}
	}
	return r, nil
}

func (h *Hub) addRoom(r *Room) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.shut:
		return ErrShutdown
	case h.rooms[r.id] != nil:
		return ErrRoomExists
	case len(h.rooms) >= h.opt.MaxRooms:
		return ErrRoomsFull
	}
	h.rooms[r.id] = r
	return nil
}

// Room returns the open room with this id, or nil.
func (h *Hub) Room(id string) *Room {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[id]
}

// room returns the room with this id, if p may have joined it. Most peers are
// in one or two, which are quickly looked through, without the lock of the hub.
func (p *Peer) room(id []byte) *Room {
	p.mu.Lock()
	for _, r := range p.rooms[:min(len(p.rooms), 4)] {
		if r.id == string(id) {
			p.mu.Unlock()
			return r
		}
	}
	more := len(p.rooms) > 4
	p.mu.Unlock()
	if more {
		return p.hub.Room(string(id))
	}
	return nil
}

// ID returns the room's id.
func (r *Room) ID() string { return r.id }

// Members returns the users who may join.
func (r *Room) Members() []string { return slices.Clone(r.opt.Members) }

// Polite reports whether user is the polite side towards other.
func (r *Room) Polite(user, other string) bool {
	a, b := r.members[user], r.members[other]
	return a != nil && b != nil && a.rank > b.rank
}

// Join makes p the socket of its user in the room, in place of an earlier one.
// ErrNotInRoom: the user is no member, or the room or the peer is closed.
func (r *Room) Join(p *Peer) error {
	r.mu.Lock()
	m := r.members[p.user]
	if m == nil || r.closed || p.hub != r.hub {
		r.mu.Unlock()
		return ErrNotInRoom
	}
	if m.peer == p {
		r.mu.Unlock()
		return nil
	}
	m.seat = seat{peer: p}
	r.mu.Unlock()

	p.mu.Lock()
	over := p.state == peerClosed
	if !over && !slices.Contains(p.rooms, r) {
		p.rooms = append(p.rooms, r)
	}
	p.mu.Unlock()
	if over {
		r.forget(p)
		return ErrNotInRoom
	}
	return nil
}

// Leave takes p out of the room; its user stays a member.
func (r *Room) Leave(p *Peer) {
	r.forget(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.rooms, r); i >= 0 {
		p.rooms = slices.Delete(p.rooms, i, i+1)
	}
}

// forget takes a peer that is over out.
func (r *Room) forget(p *Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[p.user]; m != nil && m.peer == p {
		m.seat = seat{}
	}
}

// Joined returns the peer that takes part for user, or nil.
func (r *Room) Joined(user string) *Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[user]; m != nil {
		return m.peer
	}
	return nil
}

// Send queues f for all who have joined and returns how many on this hub took
// it; with a Bus they get it from there, and it returns 0 unless the Bus fails.
func (r *Room) Send(f *Frame) int {
	if r.hub.opt.Bus != nil && r.hub.publish("room/"+r.id, r.hub.crossingOf(f)) {
		return 0
	}
	return r.sendLocal(f)
}

func (r *Room) sendLocal(f *Frame) int {
	r.mu.Lock()
	peers := make([]*Peer, 0, len(r.members))
	for _, m := range r.members {
		if m.peer != nil {
			peers = append(peers, m.peer)
		}
	}
	r.mu.Unlock()
	n := 0
	for _, p := range peers {
		if p.SendFrame(f) == nil {
			n++
		}
	}
	return n
}

// Close ends the room. Its members' sessions go on.
func (r *Room) Close() {
	r.hub.mu.Lock()
	if r.hub.rooms[r.id] == r {
		delete(r.hub.rooms, r.id)
	}
	r.hub.mu.Unlock()
	r.mu.Lock()
	r.closed = true
	if r.sub != nil {
		r.hub.running.Go(r.sub.Close)
		r.sub = nil
	}
	var peers []*Peer
	for _, m := range r.members {
		if m.peer != nil {
			peers = append(peers, m.peer)
		}
	}
	r.mu.Unlock()
	for _, p := range peers {
		r.Leave(p)
	}
}
