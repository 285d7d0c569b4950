package lru

import (
	"sync"
	"sync/atomic"
)

// shard is a part of the cache that is written under one lock. A key belongs
// to the shard that its hash says.
type shard[K comparable, V any] struct {
	// Readers load table without the lock; writers in place load watching.
	table    atomic.Pointer[table[K, V]]
	watching atomic.Int64 // len(watches), or more
	_        [48]byte

	mu      sync.Mutex
	strict  *strictList[K, V] // instead of table and rings if the policy is Strict
	window  ring[K, V]
	main    ring[K, V]
	sketch  sketch
	watches map[K]*watch[K, V]
	inserts int

	// expiry, see expire.go
	earliest int64 // no deadline is before this; 0: none is known
	sweeping int   // next bucket
	sweptMin int64

	evicted [reasons]uint64
	refused Refused
}

// live is the number of entries. The shard must be locked, as for the methods
// below.
func (s *shard[K, V]) live() int {
	if s.strict != nil {
		return s.strict.len()
	}
	return s.window.live + s.main.live
}

// find returns the node of key, expired or not, without counting a read.
func (s *shard[K, V]) find(h uint64, key K) *node[K, V] {
	if s.strict != nil {
		return s.strict.peek(key)
	}
	return s.table.Load().find(h, key)
}

// ringOf returns the ring that holds n.
func (s *shard[K, V]) ringOf(n *node[K, V]) *ring[K, V] {
	if n.meta.Load()&mainBit != 0 {
		return &s.main
	}
	return &s.window
}

// unlink takes n out of index and order. Readers that still hold it see that
// it is dead and look again.
func (s *shard[K, V]) unlink(h uint64, n *node[K, V]) {
	if s.strict != nil {
		s.strict.remove(n.key)
	} else {
		s.ringOf(n).set(n, nil)
		s.table.Load().replace(h, n, nil)
	}
	n.meta.Or(deadBit)
}

// swap puts n, a node for the same key, in the place of old and with its read
// count.
func (s *shard[K, V]) swap(h uint64, old, n *node[K, V]) {
	if s.strict != nil {
		s.strict.add(n)
	} else {
		const kept = freqMask | mainBit | placeMask
		n.update(kept, old.meta.Load()&kept)
		s.ringOf(old).set(old, n)
		s.table.Load().replace(h, old, n)
	}
	old.meta.Or(deadBit)
}

// link adds n, whose key is new.
func (c *Cache[K, V]) link(s *shard[K, V], h uint64, n *node[K, V]) {
	share := c.share()
	if s.strict != nil {
		s.strict.add(n)
		return
	}
	t := s.table.Load()
	if s.live() >= t.room() {
		t = c.rebuildTable(s, growth(t.room(), share))
	}
	s.admit(h, n, c.climber.share(), share)
	t.insert(h, n)
}

// growth returns the room for a table that is full at n: twice as much, but
// not more than the shard's share of the cache, and little by little above.
func growth(n, share int) int {
	share += share / 16
	if n >= share {
		return n + n/4 + 5
	}
	return min(2*n, share)
}

// rebuildTable replaces the index by one for the given number of entries.
// Readers of the old one go on: they find all that was there, and see by its
// node if something has left since.
func (c *Cache[K, V]) rebuildTable(s *shard[K, V], entries int) *table[K, V] {
	t := newTable[K, V](entries)
	fresh := s.sketch.fit(entries)
	for i := range s.table.Load().buckets {
		b := &s.table.Load().buckets[i]
		for j := range b.nodes {
			if n := b.nodes[j].Load(); n != nil {
				h := c.hash(n.key)
				t.insert(h, n)
				if fresh { // else any newcomer would seem to be wanted more often
					s.sketch.add(h, 1)
				}
			}
		}
	}
	s.table.Store(t)
	s.sweeping = 0
	return t
}
