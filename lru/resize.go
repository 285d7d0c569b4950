package lru

import (
	"fmt"
	"math"
)

// step is how many entries one hold of a lock evicts.
const step = 128

// Trim evicts the given fraction of the entries, 0 … 1, those first that the
// policy would evict next, and gives the memory of index and rings back too.
// It returns how many bytes that freed: the Size of what left, if there is one,
// and the cache's own overhead for it; keys and values are free once nobody
// else holds them. Other callers are held up for one step, well below a
// millisecond, at a time.
func (c *Cache[K, V]) Trim(fraction float64) (freedBytes int64) {
	if !(fraction > 0) {
		return 0
	}
	fraction = min(fraction, 1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		todo := int(math.Ceil(float64(s.live()) * fraction))
		s.mu.Unlock()
		for ; todo > 0; todo -= step {
			freed := c.evictSome(s, min(todo, step), Trimmed)
			if freed == 0 {
				break
			}
			freedBytes += freed
		}
		c.shrink(s)
	}
	return freedBytes
}

// Resize changes the bounds. It evicts what is too much, gives the memory
// back, and returns when the cache is within the new bounds; until then
// nothing is added. maxBytes is 0 for a cache without Size. Bounds that New
// would refuse change nothing and return an error.
func (c *Cache[K, V]) Resize(maxEntries int, maxBytes int64) error {
	o := c.opts
	o.MaxEntries, o.MaxBytes = maxEntries, maxBytes
	if _, err := o.withDefaults(); err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	c.budget.limit(maxEntries, maxBytes)
	for c.budget.over() {
		evicted := false
		for i := range c.shards {
			if c.budget.over() && c.evictSome(&c.shards[i], c.surplus(), Trimmed) > 0 {
				evicted = true
			}
		}
		if !evicted {
			break // what is too much belongs to writers that will give it back
		}
	}
	for i := range c.shards {
		c.shrink(&c.shards[i])
	}
	return nil
}

// surplus is how many entries one shard should give at once.
func (c *Cache[K, V]) surplus() int {
	over := int(c.budget.entries.Load()-c.budget.maxEntries.Load()) / len(c.shards)
	return min(max(over, 1), step)
}

// Purge removes every entry. Loads under way are not stored.
func (c *Cache[K, V]) Purge() {
	for i := range c.shards {
		c.purge(&c.shards[i])
	}
}

func (c *Cache[K, V]) purge(s *shard[K, V]) {
	s.mu.Lock()
	s.supersedeAll()
	todo := s.live() // later ones are newer than the purge
	s.mu.Unlock()
	for ; todo > 0; todo -= step {
		if c.evictSome(s, min(todo, step), Purged) == 0 {
			break
		}
	}
	c.shrink(s)
}

// shrink rebuilds index and rings that have become too large.
func (c *Cache[K, V]) shrink(s *shard[K, V]) {
	if c.strict {
		for more := true; more; {
			s.mu.Lock()
			more = s.strict.shrink()
			s.mu.Unlock()
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.live()
	if t := s.table.Load(); len(t.buckets) > 2*bucketsFor(live) {
		c.rebuildTable(s, live)
	}
	for _, r := range []*ring[K, V]{&s.window, &s.main} {
		if len(r.slots) > 2*r.live+16 {
			r.rebuild(r.live + r.live/8)
		}
	}
	if live == 0 {
		s.sketch = sketch{}
	} else {
		s.sketch.fit(live)
	}
}
