package presence

import (
	"iter"
	"slices"
	"time"
)

// user is one person known to this node. With a socket, or in the grace after
// the last one was lost, the user is here; otherwise the record remembers
// when that ended, or stands for a user of another node.
//
// There is one for everybody and most have one plain socket and are in one
// topic, so it is small, what few need is in extra, and one membership lies
// beside the id, where finding the user has brought it into the cache.
type user struct {
	name      bytesOf // the id
	plain     bytesOf // the id of a socket that has neither metadata nor a TTL
	others    ref     // the memberships beyond first, linked by member.next
	more      ref     // an extra
	flaps     uint32  // when the budget of joins is full again, see spend
	nameSize  uint8
	plainSize uint8
	state     state
	first     member // first.user is nil: it is not used
}

func (u *user) id() string { return u.name.string(u.nameSize) }

// extra is what a user has who has more than one plain socket, or a deadline,
// or has left.
type extra struct {
	link[*extra] // in the wheel, or in Tracker.gone
	user         *user
	since        int64 // where gone: when that was
	grace        int64 // until when a socket that was lost may come back
	sockets      []socket
}

func (x *extra) node() *link[*extra] { return &x.link }

// extra returns what u has of that, new if need be.
func (t *Tracker) extra(u *user) *extra {
	if u.more != 0 {
		return t.extras.at(u.more)
	}
	r, x := t.extras.add()
	u.more, x.user = r, u
	return x
}

func (t *Tracker) dropExtra(u *user) {
	if u.more != 0 {
		t.extras.remove(u.more)
		u.more = 0
	}
}

type state uint8

const (
	stranger state = iota // known by the topics alone: a user of another node
	here                  // has a socket
	away                  // lost the last one, in the grace
	gone                  // in t.gone, with the time of leaving
)

func (u *user) present() bool { return u.state == here || u.state == away }

// memberships are those of u. The one that was yielded last may be freed.
func (t *Tracker) memberships(u *user) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		if u.first.user != nil && !yield(&u.first) {
			return
		}
		for r := u.others; r != 0; {
			m := t.records.at(r)
			r = m.next
			if !yield(m) {
				return
			}
		}
	}
}

func (t *Tracker) member(u *user, tp *topic) *member {
	for m := range t.memberships(u) {
		if m.topic == tp.number {
			return m
		}
	}
	return nil
}

// addUser returns the record of id, new if need be. A remembered user makes
// room when there are too many.
func (t *Tracker) addUser(id string) (*user, error) {
	if u := t.users.find(id); u != nil {
		return u, nil
	}
	for t.users.n >= t.opts.MaxUsers && t.gone.n > 0 {
		t.forget(t.gone.head.user)
	}
	if t.users.n >= t.opts.MaxUsers {
		t.stats.refused.Users++
		return nil, &LimitError{"users", t.opts.MaxUsers}
	}
	t.bytes += int64(userCost + len(id))
	return t.users.add(id), nil
}

// arrive makes u one that is here.
func (t *Tracker) arrive(u *user) {
	switch u.state {
	case gone:
		t.gone.remove(t.extra(u))
		t.here++
	case stranger:
		t.here++
	case away:
		t.away.cancel(t.extra(u))
		t.stats.Saved++
	}
	u.state = here
	if u.more != 0 {
		t.extra(u).grace = 0
	}
}

// depart makes u, who was here, one who has left: out of every topic that was
// joined on this node.
func (t *Tracker) depart(u *user, now int64) {
	x := t.extra(u)
	t.away.cancel(x)
	t.here--
	u.state, x.since, x.grace = gone, now, 0
	t.gone.pushBack(x)
	for m := range t.memberships(u) {
		if m.is(joined) {
			t.quitTopic(m, false)
		}
	}
}

// forget ends the memory of a user who is gone.
func (t *Tracker) forget(u *user) {
	t.gone.remove(t.extra(u))
	t.dropExtra(u)
	u.state = stranger
	t.dropUser(u)
}

// dropUser frees the record if nothing speaks for keeping it.
func (t *Tracker) dropUser(u *user) {
	if u.state != stranger || u.first.user != nil || u.others != 0 {
		return
	}
	t.bytes -= int64(userCost + len(u.id()))
	t.users.remove(u)
}

// expire handles a deadline of a user: the end of the grace, or a socket that
// may have missed its heartbeat.
func (t *Tracker) expire(x *extra, now int64) {
	u := x.user
	switch u.state {
	case away:
		t.depart(u, now)
	case here:
		before := len(x.sockets)
		x.sockets = slices.DeleteFunc(x.sockets, func(s socket) bool {
			late := s.ttl > 0 && s.beat+s.ttl <= now
			if late {
				t.sockets--
				t.bytes -= s.cost()
				t.stats.Expired++
			}
			return late
		})
		if len(x.sockets) < before {
			t.lost(u, now)
		} else {
			t.watchTTL(u, now)
		}
	}
}

// Online reports whether user has a socket on this node, is in the grace, or
// is a member of a topic that this node replicates.
func (t *Tracker) Online(user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.find(user)
	if u == nil {
		return false
	}
	if u.present() {
		return true
	}
	for m := range t.memberships(u) {
		if t.wanted(m) {
			return true
		}
	}
	return false
}

// LastSeen returns how long ago user, who is not here any more, left this
// node; ok is false for a user who is here or not remembered.
func (t *Tracker) LastSeen(user string) (ago time.Duration, ok bool) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users.find(user)
	if u == nil || u.state != gone {
		return 0, false
	}
	return time.Duration(now - t.extra(u).since), true
}

// Sweep forgets the users who left longer than Options.Remember ago, and lets
// the Store do the same with nodes that died. It returns how many users it
// forgot. Call it now and then, or under memory pressure.
func (t *Tracker) Sweep() int {
	n := 0
	for {
		more := false
		err := t.change(0, func() error {
			now := t.now()
			for range 1024 { // let others in between
				x := t.gone.head
				if x == nil || now-x.since < int64(t.opts.Remember) {
					return nil
				}
				t.forget(x.user)
				n++
			}
			more = true
			return nil
		})
		if err != nil || !more {
			break
		}
	}
	if t.rep != nil {
		t.rep.askReap()
	}
	return n
}
