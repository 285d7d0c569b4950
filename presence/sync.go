package presence

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

const batch = 256 // changes or topics in one call to the Store

// sync sends what this node has to say and reads what it missed, at most once
// a Tick. Every third of a Lease, and before the dead are buried, it compares
// positions.
func (r *replicator) sync() {
	t := r.t
	every := int64(t.opts.Lease / 3)
	check := t.now() + every
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := t.now()
		timer.Reset(time.Duration(max(0, min(check, r.burial())-now)))
		select {
		case <-r.ctx.Done():
			return
		case <-r.beat:
		case <-timer.C:
		}
		now = t.now()
		all := now >= min(check, r.burial())
		if all {
			check = now + every
		}
		if err := r.round(all); err != nil {
			if !errors.Is(err, ErrFenced) {
				r.fault("sync", err)
			}
			r.nudge()
		}
		timer.Reset(t.opts.Tick)
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (r *replicator) round(all bool) error {
	t := r.t
	t.mu.Lock()
	s := r.session
	t.mu.Unlock()
	if s == nil {
		return nil // keep opens one, and nudges
	}
	ctx, cancel := context.WithTimeout(r.ctx, t.opts.Lease)
	defer cancel()
	if err := r.readAll(ctx, s); err != nil {
		return err
	}
	if err := r.sendAll(ctx, s); err != nil {
		return err
	}
	if all {
		r.retire()
		if err := r.compare(ctx, s); err != nil {
			return err
		}
		r.bury()
	}
	return r.chores(ctx, s)
}

// readAll subscribes to new topics and reads those with a gap.
func (r *replicator) readAll(ctx context.Context, s Session) error {
	t := r.t
	t.mu.Lock()
	topics := slices.Collect(maps.Keys(r.toRead))
	t.mu.Unlock()
	for _, tp := range topics {
		t.mu.Lock()
		rp := tp.replica
		pos, subscribed, stale := rp.pos, rp.subscribed, t.topics[tp.name] != tp
		t.mu.Unlock()
		if stale {
			continue
		}
		if !subscribed {
			if err := s.Subscribe(ctx, tp.name); err != nil {
				return err
			}
		}
		u, err := s.Read(ctx, tp.name, pos)
		if err != nil {
			return err
		}
		if err := r.update(tp, u, s); err != nil {
			return err
		}
	}
	return nil
}

// update follows an answer of Read.
func (r *replicator) update(tp *topic, u Update, s Session) error {
	t := r.t
	need := int64(0)
	for _, e := range u.Events {
		need += eventCost(e)
	}
	return t.change(need, func() error {
		rp := tp.replica
		if r.session != s || t.topics[tp.name] != tp {
			return nil
		}
		r.stats.Reads++
		rp.subscribed = true
		delete(r.toRead, tp)
		r.reading = true
		if u.All {
			r.stats.Wholes++
			rp.partial = false
			r.replace(tp, u)
			rp.pos, rp.read = u.Pos, true
		} else {
			for _, e := range u.Events {
				r.follow(tp, e)
			}
		}
		r.reading = false
		r.catchUp(tp)
		return nil
	})
}

type sentOp struct {
	tp  *topic
	gen uint64
}

// sendAll sends what waits, in batches, until nothing does.
func (r *replicator) sendAll(ctx context.Context, s Session) error {
	for {
		ops, sent := r.collect()
		if len(ops) == 0 {
			return nil
		}
		if err := s.Apply(ctx, ops); err != nil {
			return err
		}
		t := r.t
		t.mu.Lock()
		for i, op := range ops {
			r.unsend(sent[i].tp, op.User, sent[i].gen)
		}
		r.stats.Sent += uint64(len(ops))
		t.mu.Unlock()
	}
}

func (r *replicator) collect() (ops []Op, sent []sentOp) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for tp := range r.toSend {
		for user, o := range tp.replica.out {
			if len(ops) >= batch {
				return ops, sent
			}
			if o.leave {
				ops = append(ops, Op{Kind: Leave, Topic: tp.name, User: user, Seen: o.seen})
				sent = append(sent, sentOp{tp, o.gen})
			}
			op := Op{Kind: Drop, Topic: tp.name, User: user}
			if m := t.lookup(tp.name, user); m != nil && m.is(joined) {
				e := m.entryBy(r.self)
				e.sent = true
				op.Kind, op.Meta, op.Tag = Put, e.meta, e.tag
			} else if o.leave {
				continue
			}
			ops = append(ops, op)
			sent = append(sent, sentOp{tp, o.gen})
		}
	}
	return ops, sent
}

// unsend forgets a change that was sent, if none was made since.
func (r *replicator) unsend(tp *topic, user string, gen uint64) {
	out := tp.replica.out
	if o, ok := out[user]; !ok || o.gen != gen {
		return
	}
	delete(out, user)
	r.waiting--
	if len(out) == 0 {
		tp.replica.out = nil
		delete(r.toSend, tp)
	}
}

// compare notices events that were lost without another one following.
func (r *replicator) compare(ctx context.Context, s Session) error {
	t := r.t
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.topics))
	r.checks++
	again := r.checks%5 == 0
	t.mu.Unlock()
	for topics := range slices.Chunk(all, batch) {
		names := make([]string, len(topics))
		for i, tp := range topics {
			names[i] = tp.name
		}
		at, err := s.Positions(ctx, names)
		if err != nil {
			return err
		}
		t.mu.Lock()
		for i, tp := range topics {
			rp := tp.replica
			if t.topics[tp.name] != tp {
				continue
			}
			if rp.partial && again {
				rp.pos = Position{Epoch: rp.pos.Epoch}
				rp.partial = false
				r.toRead[tp] = true
			}
			if rp.pos.Epoch != at[i].Epoch || rp.pos.Offset < at[i].Offset {
				r.toRead[tp] = true
			}
		}
		t.mu.Unlock()
	}
	return r.readAll(ctx, s)
}

// retire ends the replication of topics that nobody here is in or looks at.
func (r *replicator) retire() {
	t := r.t
	_ = t.change(0, func() error {
		for _, tp := range t.topics {
			if tp.joined > 0 || len(tp.watch.all) > 0 || len(tp.replica.out) > 0 {
				continue
			}
			for _, m := range tp.everyone() {
				for m.entries != nil {
					t.removeEntry(m.entries)
				}
				t.decide(m)
			}
			if tp.members == 0 {
				for _, e := range tp.replica.early {
					t.bytes -= eventCost(e)
				}
				r.left = append(r.left, tp.name)
				delete(r.toRead, tp)
				t.deleteTopic(tp)
			}
		}
		return nil
	})
}

func (r *replicator) chores(ctx context.Context, s Session) error {
	t := r.t
	t.mu.Lock()
	left, reap := r.left, r.reap
	r.left, r.reap = nil, false
	t.mu.Unlock()
	for _, name := range left {
		t.mu.Lock()
		back := t.topics[name] != nil
		t.mu.Unlock()
		if back {
			continue // and it subscribes anew
		}
		if err := s.Unsubscribe(ctx, name); err != nil {
			return err
		}
	}
	if reap {
		if _, err := s.Reap(ctx, t.opts.Lease+2*t.opts.Grace); err != nil {
			return err
		}
	}
	return nil
}
