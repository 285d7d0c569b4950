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
// a Tick. Every third of a Lease it compares positions.
func (r *replicator) sync() {
	t := r.t
	pause := time.NewTimer(0)
	defer pause.Stop()
	check := t.now()
	every := int64(t.opts.Lease / 3)
	for {
		timeout := time.NewTimer(max(0, time.Duration(check-t.now())))
		select {
		case <-r.ctx.Done():
			timeout.Stop()
			return
		case <-r.beat:
		case <-timeout.C:
		}
		timeout.Stop()
		t.mu.Lock()
		s := r.session
		t.mu.Unlock()
		if s == nil { // keep is at it, and will nudge
			check = t.now() + every
			continue
		}
		err := r.round(s, t.now() >= check)
		if t.now() >= check {
			check = t.now() + every
		}
		if err != nil && !errors.Is(err, ErrFenced) {
			r.fault("sync", err)
		}
		pause.Reset(t.opts.Tick)
		select {
		case <-r.ctx.Done():
			return
		case <-pause.C:
		}
		if err != nil {
			r.nudge()
		}
	}
}

func (r *replicator) round(s Session, check bool) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.t.opts.Lease)
	defer cancel()
	if err := r.readAll(ctx, s); err != nil {
		return err
	}
	if err := r.send1(ctx, s); err != nil {
		return err
	}
	if check {
		r.retire()
		if err := r.compare(ctx, s); err != nil {
			return err
		}
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
		need += int64(userCost+len(e.User)+memberCost+entryCost) + 3*int64(len(e.Meta))
	}
	return t.change(need, func(now int64) error {
		rp := tp.replica
		if r.session != s || t.topics[tp.name] != tp {
			return nil
		}
		r.stats.Reads++
		rp.subscribed = true
		delete(r.toRead, tp)
		early := rp.early
		rp.early = nil
		if u.All {
			r.stats.Wholes++
			rp.partial = false
			r.replace(tp, u, now)
			rp.pos, rp.read = u.Pos, true
		} else {
			for _, e := range u.Events {
				r.follow(tp, e, now)
			}
		}
		for _, e := range early {
			if e.Pos.Epoch == rp.pos.Epoch && e.Pos.Offset > rp.pos.Offset {
				r.follow(tp, e, now)
			}
		}
		return nil
	})
}

type sentOp struct {
	tp  *topic
	gen uint64
}

// send1 sends what waits, in batches, until nothing does.
func (r *replicator) send1(ctx context.Context, s Session) error {
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
			if len(ops) == batch {
				return ops, sent
			}
			op := Op{Kind: o.kind, Topic: tp.name, User: user, Seen: o.seen}
			if o.kind == Put {
				m := t.find(tp.name, user)
				if m == nil || !m.joined {
					op.Kind = Drop
				} else {
					op.Meta = m.entryBy(r.self).meta
				}
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
	_ = t.change(0, func(now int64) error {
		for _, tp := range t.topics {
			if tp.joined > 0 || len(tp.watch.all) > 0 || len(tp.replica.out) > 0 {
				continue
			}
			for _, m := range tp.everyone() {
				for m.entries != nil {
					t.removeEntry(m.entries)
				}
				t.decide(m, now)
			}
			if tp.members == 0 {
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
		if _, err := s.Reap(ctx, t.opts.Remember); err != nil {
			return err
		}
	}
	return nil
}
