package presence

import "slices"

// topic is one queue, room or list of friends. What watchers were told last
// is in order; what they have yet to be told is in changes.
type topic struct {
	link[*topic]
	name    string
	version uint64
	order   []place // as told, by join order; the dead in between are nil
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
	topic   *topic
	next    *member // the user's next topic
	meta    []byte  // as told
	seq     uint64  // in the join order; 0: not told yet
	rev     uint32  // counts the changes of meta
	pending int32   // 1 + index in topic.changes; 0: everything was told
	joined  bool    // by Join on this node, as opposed to another node
	entries *entry  // with a Store: who says that the user is a member
}

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
	m.seq = tp.lastSeq
	tp.order = append(tp.order, place{m.seq, m})
}

func (tp *topic) dismiss(m *member) {
	tp.order[tp.from(m.seq-1)].m = nil
	tp.dead++
	m.seq = 0
	for len(tp.order) > 0 && tp.order[0].m == nil { // in a queue the first leave first
		tp.order = tp.order[1:]
		tp.dead--
	}
	if tp.dead > 32 && tp.dead > len(tp.order)/2 {
		tp.order = slices.DeleteFunc(tp.order, func(p place) bool { return p.m == nil })
		tp.dead = 0
	}
	if cap(tp.order) > 1024 && len(tp.order) < cap(tp.order)/4 {
		tp.order = slices.Clone(tp.order)
	}
}

func (t *Tracker) addTopic(name string) (*topic, error) {
	if tp := t.topics[name]; tp != nil {
		return tp, nil
	}
	if len(t.topics) >= t.opts.MaxTopics {
		t.stats.refused.Topics++
		return nil, &LimitError{"topics", t.opts.MaxTopics}
	}
	tp := &topic{name: name, flushed: never, counted: never}
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
	delete(t.topics, tp.name)
	t.bytes -= int64(topicCost + len(tp.name))
}

// addMember returns the record of u in tp, new if need be.
func (t *Tracker) addMember(tp *topic, u *user) (*member, error) {
	n := 0
	for m := u.members; m != nil; m = m.next {
		if m.topic == tp {
			return m, nil
		}
		n++
	}
	if n >= t.opts.MaxTopicsPerUser {
		t.stats.refused.PerUser++
		return nil, &LimitError{"topics of a user", t.opts.MaxTopicsPerUser}
	}
	m := t.pool.member()
	m.user, m.topic, m.next = u, tp, u.members
	u.members = m
	tp.members++
	t.bytes += memberCost
	return m, nil
}

// dropMember frees the record if it says nothing any more.
func (t *Tracker) dropMember(m *member) {
	if m.seq != 0 || m.pending != 0 || m.joined || m.entries != nil {
		return
	}
	u, tp := m.user, m.topic
	for p := &u.members; ; p = &(*p).next {
		if *p == m {
			*p = m.next
			break
		}
	}
	tp.members--
	t.bytes -= memberCost
	t.keep(nil, m.meta)
	t.pool.putMember(m)
	t.dropUser(u)
	t.dropTopic(tp)
}
