package presence

import (
	"slices"
	"unsafe"
)

// topic is one queue, room or list of friends. What watchers were told last
// is in order; what they have yet to be told is in changes.
type topic struct {
	link[*topic]
	name    string
	number  uint32 // in Tracker.numbers
	base    uint32 // of order: what has gone from its front
	version uint64
	order   []place // as told, by join order; the dead in between are nil
	whole   []place // what order is the end of
	dead    int     // in order
	lastSeq uint64
	changes []change // not told yet
	members int      // records that point here
	joined  int      // of those, by Join on this node
	flushed int64    // when the last diff was made
	counted int64    // when watchers were last told of a mere new count
	tickAt  int64    // when the next diff is due; 0: nothing to tell
	watch   watched
	replica *replica // with a Store
}

func (tp *topic) node() *link[*topic] { return &tp.link }

// place is a position in the join order. It keeps its number when its member
// has left, so that the order can be searched.
type place struct {
	seq uint64
	m   *member
}

// member is one user in one topic.
type member struct {
	user    *user
	data    bytesOf // metadata, as told
	entries *entry  // with a Store: who says that the user is a member
	next    ref     // the user's next membership, unless this is his first
	topic   uint32  // topic.number
	size    uint32  // of the metadata, with the flags in the highest bits
	pos     uint32  // if told: topic.base + the index in topic.order
	pending int32   // 1 + index in topic.changes; 0: everything was told
	rev     uint32  // counts the changes of the metadata
}

const (
	joined   uint32 = 1 << 31 // by Join on this node, as opposed to another node
	told     uint32 = 1 << 30 // in topic.order
	maxBytes        = 1 << 30 // of metadata
)

func (m *member) is(flag uint32) bool { return m.size&flag != 0 }

func (m *member) set(flag uint32)   { m.size |= flag }
func (m *member) clear(flag uint32) { m.size &^= flag }

func (m *member) meta() []byte { return m.data.slice(m.size % maxBytes) }

func (m *member) setMeta(meta []byte) {
	m.data.data = unsafe.SliceData(meta)
	m.size = m.size&(joined|told) | uint32(len(meta))
}

func (t *Tracker) topicOf(m *member) *topic { return t.numbers[m.topic] }

// seq returns the place of m, a member as told, in the join order.
func (tp *topic) seq(m *member) uint64 { return tp.order[m.pos-tp.base].seq }

// live is the number of members as told.
func (tp *topic) live() int { return len(tp.order) - tp.dead }

// from returns the index of the first place after the cursor. Numbers are
// dense where nobody has left, so it guesses and gallops from there.
func (tp *topic) from(after uint64) int {
	n := len(tp.order)
	if n == 0 || after < tp.order[0].seq {
		return 0
	}
	first, last := tp.order[0].seq, tp.order[n-1].seq
	if after >= last {
		return n
	}
	low := int(float64(after-first) / float64(last-first) * float64(n-1))
	high := low
	for step := 1; low > 0 && tp.order[low].seq > after; step *= 2 {
		low, high = max(0, low-step), low
	}
	for step := 1; high < n && tp.order[high].seq <= after; step *= 2 {
		low, high = high, min(n, high+step)
	}
	for low < high { // order[low-1] <= after < order[high]
		if mid := (low + high) / 2; tp.order[mid].seq > after {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

func (tp *topic) admit(m *member) {
	tp.lastSeq++
	m.pos = tp.base + uint32(len(tp.order))
	m.set(told)
	if n := len(tp.order); n == cap(tp.order) {
		tp.makeRoom(n)
	}
	tp.order = append(tp.order, place{tp.lastSeq, m})
}

// makeRoom moves the order into the space at its front that those left who
// came first, or makes it larger if that is too little.
func (tp *topic) makeRoom(n int) {
	if cap(tp.whole) >= n+n/4+1 {
		whole := tp.whole[:cap(tp.whole)]
		copy(whole, tp.order)
		clear(whole[n:])
		tp.order = whole[:n]
		return
	}
	tp.order = slices.Grow(tp.order, 1)
	tp.whole = tp.order[:0]
}

func (tp *topic) dismiss(m *member) {
	tp.order[m.pos-tp.base].m = nil
	tp.dead++
	m.clear(told)
	for len(tp.order) > 0 && tp.order[0].m == nil { // in a queue the first leave first
		tp.order = tp.order[1:]
		tp.base++
		tp.dead--
	}
	if tp.dead > 32 && tp.dead > len(tp.order)/2 {
		tp.order = slices.DeleteFunc(tp.order, func(p place) bool { return p.m == nil })
		tp.dead = 0
		for i, p := range tp.order {
			p.m.pos = tp.base + uint32(i)
		}
	}
	if cap(tp.order) > 1024 && len(tp.order) < cap(tp.order)/4 {
		tp.order = slices.Clone(tp.order)
		tp.whole = tp.order[:0]
	}
}

// topic returns the one with this name, or nil. It is often the one that was
// asked for last: the queue.
func (t *Tracker) topic(name string) *topic {
	if t.latest == nil || t.latest.name != name {
		t.latest = t.topics[name]
	}
	return t.latest
}

func (t *Tracker) addTopic(name string) (*topic, error) {
	if tp := t.topic(name); tp != nil {
		return tp, nil
	}
	if len(t.topics) >= t.opts.MaxTopics {
		t.stats.refused.Topics++
		return nil, &LimitError{"topics", t.opts.MaxTopics}
	}
	tp := &topic{name: name, flushed: never, counted: never, number: uint32(len(t.numbers))}
	if last := len(t.unused) - 1; last >= 0 {
		tp.number, t.unused = t.unused[last], t.unused[:last]
		t.numbers[tp.number] = tp
	} else {
		t.numbers = append(t.numbers, tp)
	}
	t.topics[name] = tp
	t.bytes += int64(topicCost + len(name))
	if t.rep != nil {
		t.rep.add(tp)
	}
	return tp, nil
}

// dropTopic frees the record if nobody is in it and nobody looks.
func (t *Tracker) dropTopic(tp *topic) {
	if tp.members > 0 || len(tp.watch.all) > 0 || t.topics[tp.name] != tp {
		return
	}
	if t.rep != nil {
		return // the replicator retires it
	}
	t.deleteTopic(tp)
}

func (t *Tracker) deleteTopic(tp *topic) {
	t.due.cancel(tp)
	t.latest = nil
	delete(t.topics, tp.name)
	t.numbers[tp.number] = nil
	t.unused = append(t.unused, tp.number)
	t.bytes -= int64(topicCost + len(tp.name))
}

// addMember returns the record of u in tp, new if need be.
func (t *Tracker) addMember(tp *topic, u *user) (*member, error) {
	n := 0
	for m := range t.memberships(u) {
		if m.topic == tp.number {
			return m, nil
		}
		n++
	}
	if n >= t.opts.MaxTopicsPerUser {
		t.stats.refused.PerUser++
		return nil, &LimitError{"topics of a user", t.opts.MaxTopicsPerUser}
	}
	m := &u.first
	if m.user != nil {
		r, other := t.records.add()
		other.next, u.others = u.others, r
		m = other
		t.bytes += recordCost
	}
	m.user, m.topic = u, tp.number
	tp.members++
	t.bytes += memberCost
	return m, nil
}

// dropMember frees the record if it says nothing any more.
func (t *Tracker) dropMember(m *member) {
	if m.is(told|joined) || m.pending != 0 || m.entries != nil {
		return
	}
	u, tp := m.user, t.topicOf(m)
	tp.members--
	t.bytes -= memberCost
	t.keep(nil, m.meta())
	if m == &u.first {
		*m = member{}
	} else {
		p := &u.others
		for t.records.at(*p) != m {
			p = &t.records.at(*p).next
		}
		r := *p
		*p = m.next
		t.records.remove(r)
		t.bytes -= recordCost
	}
	t.dropUser(u)
	t.dropTopic(tp)
}
