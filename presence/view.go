package presence

import (
	"encoding/binary"
	"slices"
)

// view is one window of a topic as it was told. It never changes, and it is
// shared by the watchers who see the same.
type view struct {
	entries []shown
	next    uint64
	snap    *Diff // the latest whole window that was made of it
}

// shown is a member in a view. The number and the revision are copies: they
// tell what was shown when the member has changed or left since.
type shown struct {
	m   *member
	seq uint64
	rev uint32
}

// lensKey names a window; the watchers with the same one see the same, but
// for those that they exclude.
type lensKey struct {
	after uint64
	limit int
}

type lens struct {
	lensKey
	view     *view // without exclusions
	watchers int
}

// covers reports whether the place seq is within the view of l.
func (l *lens) covers(seq uint64) bool {
	if seq <= l.after || l.limit == 0 {
		return false
	}
	n := len(l.view.entries)
	return n < l.limit || seq <= l.view.entries[n-1].seq
}

// look returns the view of tp through a window, or old if that is the same.
func (tp *topic) look(k lensKey, exclude []*member, old *view) *view {
	i := tp.from(k.after)
	v := &view{entries: make([]shown, 0, min(k.limit, len(tp.order)-i))}
	for ; i < len(tp.order); i++ {
		m, seq := tp.order[i].m, tp.order[i].seq
		if m == nil {
			continue
		}
		if len(v.entries) == k.limit {
			if k.limit > 0 {
				v.next = v.entries[k.limit-1].seq
			}
			break
		}
		if excludes(exclude, m) {
			continue
		}
		v.entries = append(v.entries, shown{m, seq, m.rev})
	}
	if old.equal(v) {
		return old
	}
	return v
}

func excludes(list []*member, m *member) bool {
	return slices.Contains(list, m)
}

func (v *view) equal(w *view) bool {
	if v == nil || v.next != w.next || len(v.entries) != len(w.entries) {
		return false
	}
	for i, e := range v.entries {
		if e != w.entries[i] {
			return false
		}
	}
	return true
}

// memo is what one flush has computed already: watchers who see the same get
// the same Diff. It also holds the slices that flushes use again.
type memo struct {
	byViews map[viewPair]*Diff
	byBytes map[string]*Diff
	due     []change
	left    []*member
	exclude []*member
	added   []shown
	removed []shown
	buf     []byte
}

type viewPair struct {
	from, to *view
	count    int
}

func (m *memo) reset() {
	if m.byViews == nil {
		m.byViews = make(map[viewPair]*Diff)
		m.byBytes = make(map[string]*Diff)
	}
	clear(m.byViews)
	clear(m.byBytes)
}

// compare sets added and removed to what leads from one view to the other.
func (m *memo) compare(from, to *view) {
	m.added, m.removed = m.added[:0], m.removed[:0]
	if from == to {
		return
	}
	var old []shown
	if from != nil {
		old = from.entries
	}
	for _, e := range to.entries {
		for len(old) > 0 && old[0].seq < e.seq {
			m.removed = append(m.removed, old[0])
			old = old[1:]
		}
		switch {
		case len(old) == 0 || old[0].seq > e.seq:
			m.added = append(m.added, e)
		default:
			if old[0].rev != e.rev {
				m.added = append(m.added, e)
			}
			old = old[1:]
		}
	}
	m.removed = append(m.removed, old...)
}

// diff returns what leads a watcher from one view to the other, from nothing
// if from is nil. Equal diffs are one Diff, also when the views differ: that
// is the rule where everybody excludes only himself.
func (m *memo) diff(tp *topic, from, to *view, count int) *Diff {
	pair := viewPair{from, to, count}
	if d := m.byViews[pair]; d != nil {
		return d
	}
	m.compare(from, to)
	b := m.buf[:0]
	b = binary.BigEndian.AppendUint64(b, uint64(count))
	b = binary.BigEndian.AppendUint64(b, to.next)
	if from == nil {
		b = append(b, 'R')
	}
	for _, e := range m.removed {
		b = binary.BigEndian.AppendUint64(b, e.seq)
	}
	b = append(b, '+')
	for _, e := range m.added {
		b = binary.BigEndian.AppendUint64(b, e.seq)
		b = binary.BigEndian.AppendUint32(b, e.rev)
	}
	m.buf = b
	d := m.byBytes[string(b)]
	if d == nil {
		d = m.makeDiff(tp, from, to, count)
		m.byBytes[string(b)] = d
	}
	m.byViews[pair] = d
	return d
}

func (m *memo) makeDiff(tp *topic, from, to *view, count int) *Diff {
	d := &Diff{Version: tp.version, Resync: from == nil, Count: count, Next: to.next}
	if len(m.added) > 0 {
		d.Added = make([]Member, len(m.added))
		for i, e := range m.added {
			d.Added[i] = Member{e.m.user.id(), e.m.meta()}
		}
	}
	if len(m.removed) > 0 {
		d.Removed = make([]string, len(m.removed))
		for i, e := range m.removed {
			d.Removed[i] = e.m.user.id()
		}
	}
	return d
}
