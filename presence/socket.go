package presence

import (
	"slices"
	"time"
)

type socket struct {
	id   string
	meta []byte
	ttl  int64 // 0: lives until Disconnect
	beat int64 // the last heartbeat
}

// A Socket is one connection of a user.
type Socket struct {
	ID   string
	Meta []byte // shared: do not change it
}

// Connect says that user has a socket with this id, and with metadata that
// only Sockets tells. The socket lives until Disconnect. The same id again
// replaces the metadata. The tracker keeps meta itself, not a copy: do not
// change it afterwards.
//
// It fails with a *LimitError, ErrInvalidID, ErrClosed or the Account's error,
// and then nothing has changed.
func (t *Tracker) Connect(user, socket string, meta []byte) error {
	return t.ConnectTTL(user, socket, meta, 0)
}

// ConnectTTL is Connect for a source that cannot say goodbye: without a
// Heartbeat within ttl the socket counts as lost. 0 or less means for ever.
func (t *Tracker) ConnectTTL(user, socketID string, meta []byte, ttl time.Duration) error {
	if err := t.checkSizes(meta, user, socketID); err != nil {
		return err
	}
	meta = own(meta)
	return t.change(t.connectCost(user, socketID, meta), func(now int64) error {
		u := t.users[user]
		if u != nil {
			if i := u.find(socketID); i >= 0 {
				s := &u.sockets[i]
				t.bytes += int64(len(meta) - len(s.meta))
				s.meta, s.ttl, s.beat = meta, int64(ttl), now
				t.watchTTL(u)
				return nil
			}
		}
		if t.sockets >= t.opts.MaxSockets {
			t.stats.refused.Sockets++
			return &LimitError{"sockets", t.opts.MaxSockets}
		}
		if u != nil && len(u.sockets) >= t.opts.MaxSocketsPerUser {
			t.stats.refused.PerUser++
			return &LimitError{"sockets of a user", t.opts.MaxSocketsPerUser}
		}
		u, err := t.addUser(user)
		if err != nil {
			return err
		}
		t.arrive(u)
		u.sockets = append(u.sockets, socket{id: socketID, meta: meta, ttl: int64(ttl), beat: now})
		t.sockets++
		t.bytes += int64(socketCost + len(socketID) + len(meta))
		t.watchTTL(u)
		return nil
	})
}

// Heartbeat says that a socket made by ConnectTTL is still there. It returns
// ErrNotHere for a socket that is not connected (any more): connect it again.
func (t *Tracker) Heartbeat(user, socket string) error {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.users[user]; u != nil {
		if i := u.find(socket); i >= 0 {
			u.sockets[i].beat = now // the wheel looks at it when the old deadline comes
			return nil
		}
	}
	return ErrNotHere
}

// Disconnect says that a socket of user ended. If it was the last one, a clean
// end takes the user out of every topic at once; after any other the user
// stays for the Grace, and coming back within it is not told to anybody.
// An end that follows the loss of another socket, which may still come back,
// waits for that one's grace. It reports whether the socket was known.
func (t *Tracker) Disconnect(user, socket string, clean bool) bool {
	known := false
	_ = t.change(0, func(now int64) error {
		u := t.users[user]
		if u == nil {
			return nil
		}
		i := u.find(socket)
		if i < 0 {
			return nil
		}
		known = true
		t.dropSocket(&u.sockets[i])
		u.sockets = slices.Delete(u.sockets, i, i+1)
		if clean {
			t.settle(u, now)
		} else {
			t.lost(u, now)
		}
		return nil
	})
	return known
}

// Remove takes user away from this node at once, with every socket and topic
// joined here, and forgets that he was.
func (t *Tracker) Remove(user string) {
	_ = t.change(0, func(now int64) error {
		u := t.users[user]
		if u == nil {
			return nil
		}
		for i := range u.sockets {
			t.dropSocket(&u.sockets[i])
		}
		u.sockets = slices.Delete(u.sockets, 0, len(u.sockets))
		if u.present() {
			t.depart(u, now)
		}
		if u.state == gone {
			t.forget(u)
		}
		return nil
	})
}

// Sockets returns the sockets that user has on this node.
func (t *Tracker) Sockets(user string) []Socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[user]
	if u == nil {
		return nil
	}
	out := make([]Socket, len(u.sockets))
	for i, s := range u.sockets {
		out[i] = Socket{s.id, s.meta}
	}
	return out
}

func (u *user) find(socketID string) int {
	for i := range u.sockets {
		if u.sockets[i].id == socketID {
			return i
		}
	}
	return -1
}

func (t *Tracker) dropSocket(s *socket) {
	t.sockets--
	t.bytes -= int64(socketCost + len(s.id) + len(s.meta))
}

// lost starts a grace for a socket that ended uncleanly.
func (t *Tracker) lost(u *user, now int64) {
	u.grace = now + int64(t.opts.Grace)
	t.settle(u, now)
}

// settle decides what u is after a socket has ended.
func (t *Tracker) settle(u *user, now int64) {
	switch {
	case len(u.sockets) > 0:
		t.watchTTL(u)
	case now < u.grace:
		u.state = away
		t.away.set(u, u.grace)
	default:
		t.depart(u, now)
	}
}

// watchTTL sets the deadline of a user who is here to the first heartbeat
// that can be missed.
func (t *Tracker) watchTTL(u *user) {
	first := int64(0)
	for i := range u.sockets {
		if s := &u.sockets[i]; s.ttl > 0 && (first == 0 || s.beat+s.ttl < first) {
			first = s.beat + s.ttl
		}
	}
	if first == 0 {
		t.away.cancel(u)
	} else {
		t.away.set(u, first)
	}
}

func (t *Tracker) checkSizes(meta []byte, ids ...string) error {
	for _, id := range ids {
		if len(id) > MaxID || id == "" {
			t.count(&t.stats.refused.IDs)
			return ErrInvalidID
		}
	}
	if len(meta) > t.opts.MaxMeta {
		t.count(&t.stats.refused.Meta)
		return &LimitError{"bytes of metadata", t.opts.MaxMeta}
	}
	return nil
}

// own returns meta, or a copy where keeping it would keep a much larger
// buffer alive.
func own(meta []byte) []byte {
	if cap(meta) > 2*len(meta)+64 {
		return slices.Clone(meta)
	}
	return slices.Clip(meta)
}
