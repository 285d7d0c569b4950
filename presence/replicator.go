package presence

import (
	"context"
	"errors"
	"math"
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
}

// replicator keeps the topics of this node and the Store the same. Two
// goroutines speak to the Store: keep holds the lease and learns who is alive,
// sync sends, reads, and ends what the dead have said. The tracker's lock guards its fields and is
// never held while the Store is asked.
type replicator struct {
	t        *Tracker
	ctx      context.Context
	cancel   context.CancelFunc
	beat     chan struct{}
	session  Session // nil: to be opened
	self     *incarnation
	known    map[string]*incarnation
	alive    map[string]bool // by the last census
	ask      chan struct{}   // for a census now
	reading  bool            // the log, as opposed to what is said now
	censuses uint64
	mourned  []*incarnation // dead, with entries that still count
	toRead   map[*topic]bool
	toSend   map[*topic]bool
	left     []string // topics to unsubscribe from
	renewed  int64    // of the last renewal that succeeded; only keep looks
	gen      uint64
	waiting  int
	reap     bool
	checks   int
	stats    Cluster
}

func newReplicator(t *Tracker) *replicator {
	r := &replicator{
		t: t, beat: make(chan struct{}, 1), ask: make(chan struct{}, 1),
		self:   &incarnation{proven: true},
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
	if err := r.sendAll(ctx, r.session); err != nil && !errors.Is(err, ErrFenced) {
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
	r.say(r.t.setEntry(m, r.self, meta, unsynced))
}

// say has an entry of this node told to the Store.
func (r *replicator) say(e *entry) {
	r.send(r.t.topicOf(e.m), e.m.user.id(), Put)
	e.at, e.tag = unsynced, r.gen
}

// drop takes this node's word back; everywhere also that of others. What the
// Store was never told needs no taking back, so that what waits while it is
// away is bounded by who was here then and who is here now. Nothing is
// lost if that was wrong: the echo of a Put is answered with a Drop.
func (r *replicator) drop(m *member, everywhere bool) {
	tp, user := r.t.topicOf(m), m.user.id()
	o, waits := tp.replica.out[user]
	for e := m.entries; e != nil; {
		next := e.next
		if e.by == r.self || everywhere {
			o.told = o.told || e.sent || e.by != r.self
			r.t.removeEntry(e)
		}
		e = next
	}
	switch {
	case waits && !o.told && !o.leave:
		r.unsend(tp, user, o.gen)
		return
	case everywhere:
		r.send(tp, user, Leave)
	default:
		r.send(tp, user, Drop)
	}
	x := tp.replica.out[user]
	x.told = o.told
	tp.replica.out[user] = x
}

func (r *replicator) send(tp *topic, user string, kind OpKind) {
	rp := tp.replica
	o, waits := rp.out[user]
	if !waits {
		r.waiting++
	}
	if rp.out == nil {
		rp.out = make(map[string]outOp)
	}
	if kind == Leave {
		o.leave, o.seen = true, rp.pos
	}
	r.gen++
	o.gen = r.gen
	rp.out[user] = o
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
	_ = t.change(eventCost(e), func() error {
		if tp := t.topics[e.Topic]; tp != nil {
			r.follow(tp, e)
		}
		return nil
	})
}

// incarnation returns the one with this name. One that speaks is alive. One
// that is merely named by the log may be dead for long: the census will tell.
func (r *replicator) incarnation(name string) *incarnation {
	by := r.known[name]
	if by == nil {
		by = &incarnation{name: name, asked: r.censuses, proven: !r.reading || r.alive[name]}
		r.known[name] = by
		if !by.proven {
			select {
			case r.ask <- struct{}{}:
			default:
			}
		}
	}
	return by
}

// orphans takes the entries of which the Store has lost the owner.
func (r *replicator) orphans() *incarnation {
	by := &incarnation{proven: true, dead: true, until: r.t.now() + int64(r.t.opts.Grace)}
	r.mourned = append(r.mourned, by)
	return by
}

// keep holds the lease.
func (r *replicator) keep() {
	every := r.t.opts.Lease / 3
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case <-r.ask:
		}
		timer.Reset(every - rand.N(every/8+1))
		r.renew(every)
	}
}

func (r *replicator) renew(timeout time.Duration) {
	t := r.t
	t.mu.Lock()
	s := r.session
	r.censuses++
	number := r.censuses
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	var alive []string
	var err error
	if s != nil {
		alive, err = s.Renew(ctx)
		// Without an answer for a Lease it has run out, and nothing more is tried
		// in its name. Should the Store think otherwise, Open ends it.
		if errors.Is(err, ErrFenced) || err != nil && t.now() > r.renewed+int64(t.opts.Lease) {
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
	r.renewed = t.now()
	r.census(alive, number)
}

// begin starts a life under a new name: everything is said again.
func (r *replicator) begin(s Session) {
	t := r.t
	_ = t.change(0, func() error {
		r.session = s
		delete(r.known, r.self.name)
		r.self.name = s.Incarnation()
		r.known[r.self.name] = r.self
		for tp := range r.toSend {
			for user, o := range tp.replica.out {
				if !o.leave { // the entry was the old incarnation's
					r.unsend(tp, user, o.gen)
				}
			}
		}
		for e := r.self.entries.head; e != nil; e = e.link.next {
			e.sent = false
			r.say(e)
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

// census learns who is alive. The entries of those who died count for a Grace
// more; those of who was dead when this node first heard of him never did.
func (r *replicator) census(alive []string, number uint64) {
	t := r.t
	_ = t.change(0, func() error {
		r.stats.Nodes, r.stats.Degraded = len(alive), false
		r.alive = make(map[string]bool, len(alive))
		for _, name := range alive {
			r.alive[name] = true
		}
		for name, by := range r.known {
			switch {
			case by == r.self:
			case r.alive[name]:
				r.prove(by)
			case by.asked >= number: // younger than the answer
			case by.entries.n == 0:
				delete(r.known, name)
			case !by.proven:
				r.empty(by)
				delete(r.known, name)
			case !by.dead:
				by.dead, by.until = true, t.now()+int64(t.opts.Grace)
				r.mourned = append(r.mourned, by)
				r.stats.Deaths++
				t.log.Warn("presence: node died", "incarnation", name, "members", by.entries.n)
				r.nudge()
			}
		}
		return nil
	})
}

func (r *replicator) prove(by *incarnation) {
	if by.dead {
		by.dead = false
		r.mourned = slices.DeleteFunc(r.mourned, func(x *incarnation) bool { return x == by })
	}
	if !by.proven {
		by.proven = true
		for e := by.entries.head; e != nil; e = e.link.next {
			r.t.decide(e.m)
		}
	}
}

// empty removes the entries of by.
func (r *replicator) empty(by *incarnation) {
	for e := by.entries.head; e != nil; e = by.entries.head {
		m := e.m
		r.t.removeEntry(e)
		r.t.decide(m)
	}
}

// bury ends what the dead said when their grace is over, a batch at a time.
// The caller has just read all there is, so that who came back is known.
func (r *replicator) bury() {
	t := r.t
	for more := true; more; {
		more = false
		_ = t.change(0, func() error {
			if r.stats.Degraded {
				return nil // who cannot hear does not judge
			}
			now := t.now()
			r.mourned = slices.DeleteFunc(r.mourned, func(by *incarnation) bool {
				if now < by.until {
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
					t.decide(m)
				}
				more = true
				return false
			})
			return nil
		})
	}
}

// burial returns when the next grace of a dead node ends.
func (r *replicator) burial() int64 {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	next := int64(math.MaxInt64)
	for _, by := range r.mourned {
		next = min(next, by.until)
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
