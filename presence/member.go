package presence

// Join makes user, who has a socket on this node or is in the grace, a member
// of topic with metadata that watchers see. Joining again replaces the
// metadata. The tracker keeps meta itself, not a copy: do not change it
// afterwards.
//
// It fails with ErrNotHere, a *LimitError, ErrInvalidID, ErrClosed or the
// Account's error, and then nothing has changed.
func (t *Tracker) Join(topic, user string, meta []byte) error {
	if err := t.checkSizes(meta, topic, user); err != nil {
		return err
	}
	meta = own(meta)
	return t.change(t.joinCost(topic, meta), func() error {
		u := t.users.find(user)
		if u == nil || !u.present() {
			return ErrNotHere
		}
		tp, err := t.addTopic(topic)
		if err != nil {
			return err
		}
		m, err := t.addMember(tp, u)
		if err != nil {
			t.dropTopic(tp)
			return err
		}
		if !m.is(joined) {
			m.set(joined)
			tp.joined++
		}
		t.enterTopic(m, meta)
		return nil
	})
}

// Leave takes user out of topic, on every node. It is not debounced: watchers
// see it with the next diff.
func (t *Tracker) Leave(topic, user string) {
	_ = t.change(0, func() error {
		if m := t.lookup(topic, user); m != nil {
			t.quitTopic(m, true)
		}
		return nil
	})
}

// Update replaces the metadata of user in topic. Watchers see it when it has
// stood still for a Tick, at the latest after MaxDelay, and not at all when
// it has become again what they saw last.
//
// It fails with ErrNotMember, a *LimitError, ErrInvalidID, ErrClosed or the
// Account's error, and then nothing has changed.
func (t *Tracker) Update(topic, user string, meta []byte) error {
	if err := t.checkSizes(meta, topic, user); err != nil {
		return err
	}
	meta = own(meta)
	return t.change(t.joinCost(topic, meta), func() error {
		m := t.lookup(topic, user)
		if m == nil || !m.is(joined) {
			return ErrNotMember
		}
		t.enterTopic(m, meta)
		return nil
	})
}

// Has reports whether user is a member of topic, told to watchers or not.
func (t *Tracker) Has(topic, user string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.lookup(topic, user)
	return m != nil && t.wanted(m)
}

// Count returns the number of members of topic, told to watchers or not. It
// knows those of other nodes if a member or a watcher of topic is here.
func (t *Tracker) Count(topic string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topic(topic)
	if tp == nil {
		return 0
	}
	n := tp.live()
	for i := range tp.changes {
		switch c := &tp.changes[i]; {
		case c.here && !c.m.is(told):
			n++
		case !c.here:
			n--
		}
	}
	return n
}

func (t *Tracker) lookup(topic, user string) *member {
	u, tp := t.users.find(user), t.topic(topic)
	if u == nil || tp == nil {
		return nil
	}
	return t.member(u, tp)
}

// enterTopic notes that m is a member by this node's word.
func (t *Tracker) enterTopic(m *member, meta []byte) {
	if t.rep != nil {
		t.rep.put(m, meta)
		t.decide(m)
		return
	}
	t.want(m, true, meta)
}

// quitTopic takes this node's word back; everywhere also that of others. It
// may free m.
func (t *Tracker) quitTopic(m *member, everywhere bool) {
	if m.is(joined) {
		m.clear(joined)
		t.topicOf(m).joined--
	}
	if t.rep != nil {
		t.rep.drop(m, everywhere)
		t.decide(m)
		return
	}
	t.want(m, false, nil)
}
