package presence

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// Cluster is the part of Stats that a Store adds.
type Cluster struct {
	Incarnation string // of this node; empty before the first contact
	Degraded    bool   // the Store does not answer: this node goes on by itself
	Nodes       int    // incarnations alive, this one included
	Waiting     int    // changes that the Store does not have yet

	Events  uint64 // followed
	Doubled uint64 // seen before, ignored
	Reads   uint64 // gaps and beginnings read from the log
	Wholes  uint64 // of those, answered with the whole topic
	Sent    uint64 // changes that the Store took
	Fenced  uint64 // leases lost
	Deaths  uint64 // incarnations of other nodes that died
	Errors  uint64 // calls to the Store that failed
	Lost    uint64 // changes given up because too many waited
}

// replicator keeps the topics of this node and the Store the same. Two
// goroutines speak to the Store: keep holds the lease and notices the death of
// others, sync sends and reads. The tracker's lock guards its fields and is
// never held while the Store is asked.
type replicator struct {
	t       *Tracker
	ctx     context.Context
	cancel  context.CancelFunc
	beat    chan struct{}
	session Session // nil: to be opened
	self    *incarnation
	known   map[string]*incarnation
	mourned []*incarnation // dead, with entries that still count
	toRead  map[*topic]bool
	toSend  map[*topic]bool
	left    []string // topics to unsubscribe from
	gen     uint64
	waiting int
	reap    bool
	checks  int
	stats   Cluster
}

func newReplicator(t *Tracker) *replicator {
	r := &replicator{
		t: t, beat: make(chan struct{}, 1), self: &incarnation{},
		known:  make(map[string]*incarnation),
		toRead: make(map[*topic]bool), toSend: make(map[*topic]bool),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *replicator) start() {
	r.t.tasks.Go(r.keep)
	r.t.tasks.Go(r.sync)
}

// stop tells the Store what it has not heard, and goodbye.
func (r *replicator) stop(ctx context.Context) error {
	r.cancel()
	r.t.tasks.Wait()
	if r.session == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.send1(ctx, r.session); err != nil && !errors.Is(err, ErrFenced) {
		return err
	}
	return r.session.Close(ctx)
}

// The tracker calls these, with its lock held.

func (r *replicator) add(tp *topic) {
	tp.replica = &replica{}
	r.toRead[tp] = true
	r.nudge()
}

// put notes that m is a member by this node's word.
func (r *replicator) put(m *member, meta []byte) {
	r.t.setEntry(m, r.self, meta, unsynced)
	r.send(m.topic, m.user.id, Put)
}

// drop takes this node's word back; everywhere also that of others.
func (r *replicator) drop(m *member, everywhere bool) {
	kind := Drop
	for e := m.entries; e != nil; {
		next := e.next
		if e.by == r.self || everywhere {
			if e.by != r.self {
				kind = Leave
			}
			r.t.removeEntry(e)
		}
		e = next
	}
	if everywhere {
		kind = Leave
	}
	r.send(m.topic, m.user.id, kind)
}

func (r *replicator) send(tp *topic, user string, kind OpKind) {
	rp := tp.replica
	if _, ok := rp.out[user]; !ok {
		if r.waiting >= r.t.opts.MaxUsers {
			r.stats.Lost++
			return
		}
		r.waiting++
	}
	if rp.out == nil {
		rp.out = make(map[string]outOp)
	}
	r.gen++
	rp.out[user] = outOp{kind, rp.pos, r.gen}
	r.toSend[tp] = true
	r.nudge()
}

func (r *replicator) askReap() {
	r.t.mu.Lock()
	r.reap = true
	r.nudge()
	r.t.mu.Unlock()
}

func (r *replicator) nudge() {
	select {
	case r.beat <- struct{}{}:
	default:
	}
}

// event is what the Store calls.
func (r *replicator) event(e Event) {
	t := r.t
	need := int64(userCost+len(e.User)+memberCost+entryCost) + 3*int64(len(e.Meta))
	_ = t.change(need, func(now int64) error {
		if tp := t.topics[e.Topic]; tp != nil {
			r.follow(tp, e, now)
		}
		return nil
	})
}

func (r *replicator) incarnation(name string) *incarnation {
	by := r.known[name]
	if by == nil {
		by = &incarnation{name: name}
		r.known[name] = by
	}
	return by
}

func (r *replicator) orphans(now int64) *incarnation {
	by := &incarnation{dead: true, until: now + int64(r.t.opts.Grace)}
	r.mourned = append(r.mourned, by)
	return by
}

// keep holds the lease.
func (r *replicator) keep() {
	t := r.t
	every := t.opts.Lease / 3
	timer := time.NewTimer(0)
	defer timer.Stop()
	renew := int64(0)
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		}
		now := t.now()
		if now >= renew {
			renew = now + int64(every) - rand.Int64N(int64(every)/8+1)
			r.renew(every)
			now = t.now()
		}
		next := r.bury(now)
		timer.Reset(max(0, time.Duration(min(next, renew)-now)))
	}
}

func (r *replicator) renew(timeout time.Duration) {
	t := r.t
	t.mu.Lock()
	s := r.session
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	var alive []string
	var err error
	if s != nil {
		alive, err = s.Renew(ctx)
		if errors.Is(err, ErrFenced) {
			t.log.Warn("presence: lease lost", "incarnation", s.Incarnation())
			t.mu.Lock()
			r.session = nil
			r.stats.Fenced++
			t.mu.Unlock()
			s = nil
		}
	}
	if s == nil {
		if s, err = t.opts.Store.Open(ctx, t.opts.Node, t.opts.Lease, r.event); err == nil {
			r.begin(s)
			alive, err = s.Renew(ctx)
		}
	}
	if err != nil {
		r.fault("renew", err)
		return
	}
	r.census(alive)
}

// begin starts a life under a new name: everything is said again.
func (r *replicator) begin(s Session) {
	t := r.t
	_ = t.change(0, func(int64) error {
		r.session = s
		delete(r.known, r.self.name)
		r.self.name = s.Incarnation()
		r.known[r.self.name] = r.self
		for tp := range r.toSend {
			for user, o := range tp.replica.out {
				if o.kind == Drop { // the entry was the old incarnation's
					r.unsend(tp, user, o.gen)
				}
			}
		}
		for e := r.self.entries.head; e != nil; e = e.link.next {
			e.at = unsynced
			r.send(e.m.topic, e.m.user.id, Put)
		}
		for _, tp := range t.topics {
			tp.replica.subscribed = false
			r.toRead[tp] = true
		}
		r.stats.Incarnation = s.Incarnation()
		r.nudge()
		return nil
	})
	t.log.Info("presence: lease taken", "incarnation", s.Incarnation())
}

// census learns who is alive. The entries of the dead count for a Grace more.
func (r *replicator) census(alive []string) {
	t := r.t
	_ = t.change(0, func(now int64) error {
		r.stats.Nodes, r.stats.Degraded = len(alive), false
		is := make(map[string]bool, len(alive))
		for _, name := range alive {
			is[name] = true
		}
		for name, by := range r.known {
			switch {
			case by == r.self:
			case is[name]:
				if by.dead {
					by.dead = false
					r.mourned = slices.DeleteFunc(r.mourned, func(x *incarnation) bool { return x == by })
				}
			case by.entries.n == 0:
				delete(r.known, name)
			case !by.dead:
				by.dead, by.until = true, now+int64(t.opts.Grace)
				r.mourned = append(r.mourned, by)
				r.stats.Deaths++
				t.log.Warn("presence: node died", "incarnation", name, "members", by.entries.n)
			}
		}
		return nil
	})
}

// bury ends what the dead said when their grace is over, a batch at a time,
// and returns when the next one's is.
func (r *replicator) bury(now int64) (next int64) {
	t := r.t
	next = now + int64(time.Hour)
	for more := true; more; {
		more = false
		_ = t.change(0, func(int64) error {
			r.mourned = slices.DeleteFunc(r.mourned, func(by *incarnation) bool {
				if now < by.until {
					next = min(next, by.until)
					return false
				}
				for range 1024 {
					e := by.entries.head
					if e == nil {
						delete(r.known, by.name)
						return true
					}
					m := e.m
					t.removeEntry(e)
					t.decide(m, now)
				}
				more = true
				return false
			})
			return nil
		})
	}
	return next
}

func (r *replicator) fault(what string, err error) {
	if r.ctx.Err() != nil {
		return
	}
	t := r.t
	t.mu.Lock()
	r.stats.Errors++
	was := r.stats.Degraded
	r.stats.Degraded = true
	t.mu.Unlock()
	if !was {
		t.log.Warn("presence: store does not answer", "call", what, "err", err)
	}
}
