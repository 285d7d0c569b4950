package presence

import (
	"bytes"
	"cmp"
	"math"
	"slices"
)

// never is a time before every other.
const never = math.MinInt64 / 4

// change is what watchers of a topic have yet to be told about one member.
type change struct {
	m     *member
	here  bool
	meta  []byte
	since int64 // when it began to differ from what was told
	due   int64 // when it may be told
}

// want compares what is true of m now with what was told last, and notes the
// difference. A change that takes back an earlier one leaves nothing to tell.
//
//   - A join or a leave is due at once: the tick of the topic delays it.
//   - A join beyond the user's budget is due when that is earned.
//   - Metadata is due when it stood still for a Tick, or after MaxDelay.
//
// It may free m.
func (t *Tracker) want(m *member, isHere bool, meta []byte) {
	tp := t.topicOf(m)
	wasHere := m.is(told)
	if isHere == wasHere && (!isHere || bytes.Equal(meta, m.meta())) {
		if m.pending != 0 {
			t.dropChange(m)
			t.stats.Silenced++
		}
		t.dropMember(m)
		return
	}
	if len(tp.watch.all) == 0 { // nobody to spare
		if m.pending != 0 {
			t.dropChange(m)
		}
		t.apply(change{m: m, here: isHere, meta: meta})
		t.nextVersion(tp)
		t.dropMember(m)
		return
	}
	now := t.now()
	if m.pending == 0 {
		tp.changes = append(tp.changes, change{m: m, since: now})
		m.pending = int32(len(tp.changes))
	}
	c := &tp.changes[m.pending-1]
	t.keep(meta, c.meta)
	if wasHere && isHere && !c.here && c.due != 0 {
		c.since = now // it was leaving: the metadata differs only now
	}
	c.here, c.meta, c.due = isHere, meta, now
	switch {
	case isHere && wasHere:
		late := c.since + int64(t.opts.MaxDelay-t.opts.Tick)
		c.due = min(now+int64(t.opts.Tick), max(now, late))
	case isHere:
		c.due = t.earned(m.user, now)
		if c.due > now {
			t.stats.Damped++
		}
	}
	t.schedule(tp, c.due)
}

// wanted reports whether m is a member in truth, told or not.
func (t *Tracker) wanted(m *member) bool {
	if m.pending != 0 {
		return t.topicOf(m).changes[m.pending-1].here
	}
	return m.is(told)
}

// dropChange removes the change of m.
func (t *Tracker) dropChange(m *member) {
	tp := t.topicOf(m)
	i := int(m.pending) - 1
	t.keep(nil, tp.changes[i].meta)
	last := len(tp.changes) - 1
	if i != last {
		tp.changes[i] = tp.changes[last]
		tp.changes[i].m.pending = int32(i) + 1
	}
	tp.changes[last] = change{}
	tp.changes = tp.changes[:last]
	m.pending = 0
}

// apply makes c, which is no longer pending, what was told. A member who left
// is freed by the caller, when no view shows him any more.
func (t *Tracker) apply(c change) {
	m, tp := c.m, t.topicOf(c.m)
	t.keep(c.meta, m.meta())
	m.setMeta(c.meta)
	switch {
	case !c.here:
		tp.dismiss(m)
		t.members--
		t.stats.Leaves++
		return
	case !m.is(told):
		tp.admit(m)
		t.members++
		t.stats.Joins++
	default:
		t.stats.Updates++
	}
	m.rev++
}

// applyDue applies what is due, in the order in which it became true, and
// reports whether anything was. Those who left are in t.memo.left.
func (t *Tracker) applyDue(tp *topic, now int64) bool {
	memo := &t.memo
	memo.due = memo.due[:0]
	kept := 0
	next := int64(0)
	for _, c := range tp.changes {
		if c.due <= now {
			c.m.pending = 0
			t.keep(nil, c.meta)
			memo.due = append(memo.due, c)
			continue
		}
		if next == 0 || c.due < next {
			next = c.due
		}
		tp.changes[kept] = c
		kept++
		c.m.pending = int32(kept)
	}
	clear(tp.changes[kept:])
	tp.changes = tp.changes[:kept]
	if kept == 0 && cap(tp.changes) > 256 {
		tp.changes = nil
	}
	slices.SortStableFunc(memo.due, func(a, b change) int { return cmp.Compare(a.since, b.since) })
	for _, c := range memo.due {
		if c.here && !c.m.is(told) && len(tp.watch.all) > 0 {
			t.spend(c.m.user, now)
		}
		t.apply(c)
		if !c.here {
			memo.left = append(memo.left, c.m)
		}
	}
	changed := len(memo.due) > 0
	clear(memo.due)
	if changed {
		t.nextVersion(tp)
		tp.flushed = now
	}
	if next != 0 {
		t.schedule(tp, next)
	}
	return changed
}

func (t *Tracker) nextVersion(tp *topic) {
	t.version++
	tp.version = t.version
}

// schedule makes sure that a diff of tp is made at due, or a Tick after the
// last one if that is later.
func (t *Tracker) schedule(tp *topic, due int64) {
	due = max(due, tp.flushed+int64(t.opts.Tick))
	if tp.tickAt == 0 || due < tp.tickAt {
		tp.tickAt = due
		t.flushAt(tp, due)
	}
}

func (t *Tracker) flushAt(tp *topic, due int64) {
	if tp.slot == 0 || due < tp.due {
		t.due.set(tp, due)
	}
}

// The budget of joins is a token bucket kept as one number, the time at which
// it will be full again (GCRA, ITU-T I.371). That is kept in milliseconds, and
// of those the lowest 32 bits: what is further away than a budget can be was
// long ago.

const maxDebt = int64(math.MaxInt32) // 24 days

// debt returns how far away a full budget of u is, in milliseconds.
func (t *Tracker) debt(u *user, ms int64) int64 {
	d := int64(int32(u.flaps - uint32(ms)))
	if d < 0 || d > t.fullDebt {
		return 0
	}
	return d
}

// earned returns when u has earned a join.
func (t *Tracker) earned(u *user, now int64) int64 {
	ms := now / 1e6
	spare := int64(t.opts.FlapBurst-1) * int64(t.opts.FlapEvery)
	return max(now, (ms+t.debt(u, ms))*1e6-spare)
}

func (t *Tracker) spend(u *user, now int64) {
	ms := now / 1e6
	u.flaps = uint32(ms + min(t.fullDebt, t.debt(u, ms)+(int64(t.opts.FlapEvery)+1e6-1)/1e6))
}
