package presence

import (
	"slices"
)

// replica is what this node knows of a topic in the Store, and what the Store
// does not know yet. The tracker's lock guards it.
type replica struct {
	pos        Position         // every event until here was followed
	subscribed bool             // in this session
	read       bool             // pos is worth something
	early      []Event          // arrived before one that comes first
	out        map[string]outOp // what the Store is to be told, by user
	partial    bool             // a bound kept members of other nodes out
}

const maxEarly = 128

// outOp is what the Store is to be told of one user. What a Put says is read
// from the member when it is sent: however often it changes meanwhile, it is
// one. A Leave is never forgotten for a Put that follows.
type outOp struct {
	told  bool // the Store may have an entry
	leave bool
	seen  Position // of the Leave
	gen   uint64
}

// follow takes one event, from the wire or from Read, if it is the next one.
// One that comes too early is kept, and pays for that until its time comes.
func (r *replicator) follow(tp *topic, e Event) {
	rp := tp.replica
	switch {
	case rp.read && e.Pos.Epoch == rp.pos.Epoch && e.Pos.Offset <= rp.pos.Offset:
		r.stats.Doubled++
		return
	case !rp.read || !rp.pos.before(e.Pos):
		if len(rp.early) < maxEarly {
			rp.early = append(rp.early, e)
			r.t.bytes += eventCost(e)
		}
		r.toRead[tp] = true // with the next round, unless the gap closes before
		return
	}
	r.apply(tp, e)
	rp.pos = e.Pos
	for i := 0; i < len(rp.early); i++ { // few
		if !rp.pos.before(rp.early[i].Pos) {
			continue
		}
		x := rp.early[i]
		rp.early = slices.Delete(rp.early, i, i+1)
		r.t.bytes -= eventCost(x)
		r.apply(tp, x)
		rp.pos = x.Pos
		i = -1
	}
	if len(rp.early) == 0 && rp.subscribed {
		delete(r.toRead, tp)
	}
}

// catchUp follows those that came too early, after pos has changed.
func (r *replicator) catchUp(tp *topic) {
	early := tp.replica.early
	tp.replica.early = nil
	for _, e := range early {
		r.t.bytes -= eventCost(e)
		if e.Pos.Epoch == tp.replica.pos.Epoch {
			r.follow(tp, e)
		}
	}
}

// before reports whether q follows p without a gap.
func (p Position) before(q Position) bool {
	return p.Epoch == q.Epoch && p.Offset+1 == q.Offset
}

// apply makes an event true here.
func (r *replicator) apply(tp *topic, e Event) {
	t := r.t
	r.stats.Events++
	switch e.Kind {
	case Put:
		r.remotePut(tp, e)
	case Drop:
		if by := r.known[e.Incarnation]; by != nil && by != r.self {
			if m := t.lookup(tp.name, e.User); m != nil {
				if x := m.entryBy(by); x != nil {
					t.removeEntry(x)
					t.decide(m)
				}
			}
		}
	case Leave:
		m := t.lookup(tp.name, e.User)
		if m == nil {
			return
		}
		for x := m.entries; x != nil; {
			next := x.next
			asker := x.by.name == e.Incarnation && x.by != r.self
			if asker || x.at <= e.Seen {
				if x.by == r.self {
					m.clear(joined)
					tp.joined--
				}
				t.removeEntry(x)
			}
			x = next
		}
		t.decide(m)
	}
}

// remotePut takes the word of another node, or the echo of this one's.
func (r *replicator) remotePut(tp *topic, e Event) {
	t := r.t
	if e.Incarnation == r.self.name {
		m := t.lookup(tp.name, e.User)
		_, waits := tp.replica.out[e.User]
		switch {
		case m == nil || !m.is(joined):
			r.send(tp, e.User, Drop) // left meanwhile, or a ghost of ours
		case m.entryBy(r.self).tag == e.Tag:
			m.entryBy(r.self).at = e.Pos.Offset
			t.decide(m)
		case !waits:
			r.say(m.entryBy(r.self))
		}
		return
	}
	if len(e.User) == 0 || len(e.User) > MaxID || len(e.Meta) > t.opts.MaxMeta {
		t.stats.refused.Remote++ // a node with other bounds
		return
	}
	u, err := t.addUser(e.User)
	if err == nil {
		var m *member
		if m, err = t.addMember(tp, u); err == nil {
			t.setEntry(m, r.incarnation(e.Incarnation), own(e.Meta), e.Pos.Offset)
			t.decide(m)
			return
		}
		t.dropUser(u)
	}
	tp.replica.partial = true
	t.stats.refused.Remote++
}

// replace makes the whole of a topic what All says. Where the Store lost what
// it knew, the members that only it could name have a Grace to be named again.
func (r *replicator) replace(tp *topic, u Update) {
	t, rp := r.t, tp.replica
	lost := rp.read && u.Pos.Epoch != rp.pos.Epoch
	named := make(map[entryKey]bool, len(u.Events))
	for _, e := range u.Events {
		named[entryKey{e.User, e.Incarnation}] = true
	}
	var orphans *incarnation
	for _, m := range tp.everyone() {
		for x := m.entries; x != nil; {
			next := x.next
			switch {
			case x.by.name == "": // an orphan: its grace runs
			case x.by != r.self && !named[entryKey{m.user.id(), x.by.name}]:
				meta := x.meta
				t.removeEntry(x)
				if lost {
					if orphans == nil {
						orphans = r.orphans()
					}
					t.setEntry(m, orphans, meta, 0)
				}
			case x.by == r.self && !named[entryKey{m.user.id(), x.by.name}]:
				if lost || x.at == unsynced {
					r.say(x)
				} else { // another node made the user leave
					m.clear(joined)
					tp.joined--
					t.removeEntry(x)
				}
			}
			x = next
		}
		t.decide(m)
	}
	for _, e := range u.Events {
		r.remotePut(tp, e)
	}
}

// everyone returns the members of tp, told or not.
func (tp *topic) everyone() []*member {
	out := make([]*member, 0, tp.members)
	for _, p := range tp.order {
		if p.m != nil {
			out = append(out, p.m)
		}
	}
	for _, c := range tp.changes {
		if !c.m.is(told) {
			out = append(out, c.m)
		}
	}
	return out
}
