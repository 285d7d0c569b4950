package presence

import (
	"slices"
	"time"
)

// user is one person known to this node. With a socket, or in the grace after
// the last one was lost, the user is here; otherwise the record remembers
// when that ended, or stands for a user of another node.
type user struct {
	link[*user]
	id      string
	sockets []socket
	members *member // the topics, linked by member.next
	since   int64   // where gone: when that was
	grace   int64   // until when a socket that was lost may come back
	flaps   int64   // when the budget of joins is full again (GCRA)
	state   state
}

func (u *user) node() *link[*user] { return &u.link }

type state uint8

const (
	stranger state = iota // known by the topics alone: a user of another node
	here                  // has a socket
	away                  // lost the last one, in the grace
	gone                  // in t.gone, with the time of leaving
)

func (u *user) present() bool { return u.state == here || u.state == away }

func (u *user) member(tp *topic) *member {
	for m := u.members; m != nil; m = m.next {
		if m.topic == tp {
			return m
		}
	}
	return nil
}

// addUser returns the record of id, new if need be. A remembered user makes
// room when there are too many.
func (t *Tracker) addUser(id string) (*user, error) {
	if u := t.users[id]; u != nil {
		return u, nil
	}
	for len(t.users) >= t.opts.MaxUsers && t.gone.n > 0 {
		t.forget(t.gone.head)
	}
	if len(t.users) >= t.opts.MaxUsers {
		t.stats.refused.Users++
		return nil, &LimitError{"users", t.opts.MaxUsers}
	}
	u := t.pool.user()
	u.id = id
	t.users[id] = u
	t.bytes += int64(userCost + len(id))
	return u, nil
}

// arrive makes u one that is here.
func (t *Tracker) arrive(u *user) {
	switch u.state {
	case gone:
		t.gone.remove(u)
		t.here++
	case stranger:
		t.here++
	case away:
		t.away.cancel(u)
		t.stats.Saved++
	}
	u.state, u.grace = here, 0
}

// depart makes u, who was here, one who has left: out of every topic that was
// joined on this node.
func (t *Tracker) depart(u *user, now int64) {
	t.away.cancel(u)
	t.here--
	u.state, u.since, u.grace = gone, now, 0
	t.gone.pushBack(u)
	for m := u.members; m != nil; {
		next := m.next // m may be freed
		if m.joined {
			t.quitTopic(m, now, false)
		}
		m = next
	}
}

// forget ends the memory of a user who is gone.
func (t *Tracker) forget(u *user) {
	t.gone.remove(u)
	u.state = stranger
	t.dropUser(u)
}

// dropUser frees the record if nothing speaks for keeping it.
func (t *Tracker) dropUser(u *user) {
	if u.state != stranger || u.members != nil {
		return
	}
	delete(t.users, u.id)
	t.bytes -= int64(userCost + len(u.id))
	t.pool.putUser(u)
}

// expire handles a deadline of u: the end of the grace, or a socket that may
// have missed its heartbeat.
func (t *Tracker) expire(u *user, now int64) {
	switch u.state {
	case away:
		t.depart(u, now)
	case here:
		before := len(u.sockets)
		u.sockets = slices.DeleteFunc(u.sockets, func(s socket) bool {
			late := s.ttl > 0 && s.beat+s.ttl <= now
			if late {
				t.dropSocket(&s)
				t.stats.Expired++
			}
			return late
		})
		if len(u.sockets) < before {
			t.lost(u, now)
		} else {
			t.watchTTL(u)
		}
	}
}

// Online reports whether user has a socket on this node, is in the grace, or
// is a member of a topic that this node replicates.
func (t *Tracker) Online(user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.users[user]
	if u == nil {
		return false
	}
	if u.present() {
		return true
	}
	for m := u.members; m != nil; m = m.next {
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
	u := t.users[user]
	if u == nil || u.state != gone {
		return 0, false
	}
	return time.Duration(now - u.since), true
}

// Sweep forgets the users who left longer than Options.Remember ago, and lets
// the Store do the same with nodes that died. It returns how many users it
// forgot. Call it now and then, or under memory pressure.
func (t *Tracker) Sweep() int {
	n := 0
	for {
		more := false
		err := t.change(0, func(now int64) error {
			for range 1024 { // let others in between
				u := t.gone.head
				if u == nil || now-u.since < int64(t.opts.Remember) {
					return nil
				}
				t.forget(u)
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
