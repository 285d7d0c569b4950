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

func (s *socket) cost() int64 { return int64(socketCost + len(s.id) + len(s.meta)) }

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
	return t.change(t.connectCost(user, socketID, meta), func() error {
		now := t.now()
		u := t.users.find(user)
		if u != nil && t.reconnect(u, socketID, meta, ttl, now) {
			return nil
		}
		if t.sockets >= t.opts.MaxSockets {
			t.stats.refused.Sockets++
			return &LimitError{"sockets", t.opts.MaxSockets}
		}
		if u != nil && t.socketsOf(u) >= t.opts.MaxSocketsPerUser {
			t.stats.refused.PerUser++
			return &LimitError{"sockets of a user", t.opts.MaxSocketsPerUser}
		}
		u, err := t.addUser(user)
		if err != nil {
			return err
		}
		t.arrive(u)
		t.addSocket(u, socketID, meta, ttl, now)
		t.sockets++
		return nil
	})
}

// reconnect replaces what a socket of u has, if u has it.
func (t *Tracker) reconnect(u *user, id string, meta []byte, ttl time.Duration, now int64) bool {
	if !t.removeSocket(u, id) {
		return false
	}
	t.addSocket(u, id, meta, ttl, now)
	return true
}

func (t *Tracker) addSocket(u *user, id string, meta []byte, ttl time.Duration, now int64) {
	if u.plain.data == nil && len(meta) == 0 && ttl <= 0 {
		u.plain.set(&u.plainSize, id)
		t.bytes += int64(len(id))
	} else {
		x, s := t.extra(u), socket{id: id, meta: meta, ttl: int64(ttl), beat: now}
		x.sockets = append(x.sockets, s)
		t.bytes += s.cost()
	}
	t.watchTTL(u, now)
}

// removeSocket reports whether u had the socket.
func (t *Tracker) removeSocket(u *user, id string) bool {
	if u.isPlain(id) {
		u.plain = bytesOf{}
		t.bytes -= int64(len(id))
		return true
	}
	x, i := t.find(u, id)
	if i < 0 {
		return false
	}
	t.bytes -= x.sockets[i].cost()
	x.sockets = slices.Delete(x.sockets, i, i+1)
	return true
}

// Heartbeat says that a socket made by ConnectTTL is still there. It returns
// ErrNotHere for a socket that is not connected (any more): connect it again.
func (t *Tracker) Heartbeat(user, socket string) error {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.users.find(user); u != nil {
		if u.isPlain(socket) {
			return nil
		}
		if x, i := t.find(u, socket); i >= 0 {
			x.sockets[i].beat = now // the wheel looks at it when the old deadline comes
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
	_ = t.change(0, func() error {
		now := t.now()
		u := t.users.find(user)
		if u == nil {
			return nil
		}
		if !t.removeSocket(u, socket) {
			return nil
		}
		t.sockets--
		known = true
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
	_ = t.change(0, func() error {
		now := t.now()
		u := t.users.find(user)
		if u == nil {
			return nil
		}
		for _, s := range t.list(u) {
			t.removeSocket(u, s.id)
			t.sockets--
		}
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
	u := t.users.find(user)
	if u == nil {
		return nil
	}
	var out []Socket
	for _, s := range t.list(u) {
		out = append(out, Socket{s.id, s.meta})
	}
	return out
}

func (u *user) isPlain(socket string) bool {
	return u.plain.data != nil && u.plain.string(u.plainSize) == socket
}

// find returns where a socket of u is that is not the plain one; i is -1 if
// u does not have it.
func (t *Tracker) find(u *user, socket string) (x *extra, i int) {
	if u.more == 0 {
		return nil, -1
	}
	x = t.extras.at(u.more)
	for i := range x.sockets {
		if x.sockets[i].id == socket {
			return x, i
		}
	}
	return x, -1
}

func (t *Tracker) socketsOf(u *user) int {
	n := 0
	if u.plain.data != nil {
		n++
	}
	if u.more != 0 {
		n += len(t.extras.at(u.more).sockets)
	}
	return n
}

// list returns all sockets of u.
func (t *Tracker) list(u *user) []socket {
	var all []socket
	if u.plain.data != nil {
		all = append(all, socket{id: u.plain.string(u.plainSize)})
	}
	if u.more != 0 {
		all = append(all, t.extras.at(u.more).sockets...)
	}
	return all
}

// lost starts a grace for a socket that ended uncleanly.
func (t *Tracker) lost(u *user, now int64) {
	t.extra(u).grace = now + int64(t.opts.Grace)
	t.settle(u, now)
}

// settle decides what u is after a socket has ended.
func (t *Tracker) settle(u *user, now int64) {
	grace := int64(0)
	if u.more != 0 {
		grace = t.extras.at(u.more).grace
	}
	switch {
	case t.socketsOf(u) > 0:
		t.watchTTL(u, now)
	case now < grace:
		u.state = away
		t.away.set(t.extra(u), grace)
	default:
		t.depart(u, now)
	}
}

// watchTTL sets the deadline of a user who is here to the first heartbeat
// that can be missed, or to the end of a grace, after which nothing speaks
// for keeping the extra.
func (t *Tracker) watchTTL(u *user, now int64) {
	if u.more == 0 {
		return
	}
	x := t.extras.at(u.more)
	first := int64(0)
	if x.grace > now {
		first = x.grace
	}
	for i := range x.sockets {
		if s := &x.sockets[i]; s.ttl > 0 && (first == 0 || s.beat+s.ttl < first) {
			first = s.beat + s.ttl
		}
	}
	switch {
	case first != 0:
		t.away.set(x, first)
	case len(x.sockets) > 0:
		t.away.cancel(x)
	default:
		t.away.cancel(x)
		t.dropExtra(u)
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
