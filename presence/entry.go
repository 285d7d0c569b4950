package presence

import (
	"math"
)

// entry is the word of one incarnation that a user is a member. A member with
// entries is there as long as one is left; the newest gives the metadata.
type entry struct {
	link[*entry] // in the incarnation's list
	m            *member
	next         *entry // of the same member
	by           *incarnation
	meta         []byte
	at           uint64 // offset of the change that made it; unsynced: the store does not have it yet
	tag          uint64 // of this node: the Put that says it
	sent         bool   // of this node: the store may have it, or an earlier one
}

func (e *entry) node() *link[*entry] { return &e.link }

const unsynced = math.MaxUint64

// incarnation is one life of one node, as this tracker knows it.
type incarnation struct {
	name    string
	entries list[*entry]
	proven  bool   // it was alive while this node knew it; else its entries do not count
	asked   uint64 // the census that was under way when it was met
	dead    bool
	until   int64 // dead: when its entries count no more
}

func (m *member) entryBy(by *incarnation) *entry {
	for e := m.entries; e != nil; e = e.next {
		if e.by == by {
			return e
		}
	}
	return nil
}

func (t *Tracker) setEntry(m *member, by *incarnation, meta []byte, at uint64) *entry {
	e := m.entryBy(by)
	if e == nil {
		e = &entry{m: m, by: by, next: m.entries}
		m.entries = e
		by.entries.pushBack(e)
		t.bytes += entryCost
	}
	t.bytes += 2 * int64(len(meta)-len(e.meta))
	e.meta, e.at = meta, at
	return e
}

func (t *Tracker) removeEntry(e *entry) {
	for p := &e.m.entries; *p != nil; p = &(*p).next {
		if *p == e {
			*p = e.next
			break
		}
	}
	e.by.entries.remove(e)
	t.bytes -= entryCost + 2*int64(len(e.meta))
}

// decide makes m what its entries say. It may free m.
func (t *Tracker) decide(m *member) {
	var best *entry
	for e := m.entries; e != nil; e = e.next {
		if e.by.proven && (best == nil || e.at > best.at) {
			best = e
		}
	}
	if best == nil {
		t.want(m, false, nil)
	} else {
		t.want(m, true, best.meta)
	}
}
