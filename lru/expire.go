package lru

// Expired entries go when a look-up meets them, when the policy does, and by
// a sweep: once the earliest deadline of a shard has passed, each insertion
// looks at one more bucket. Cache.Sweep does all at once, for callers that
// write seldom.

// expired reports whether n's time is over.
func (c *Cache[K, V]) expired(n *node[K, V]) bool {
	deadline := deadlineOf(n.meta.Load())
	return deadline != 0 && c.clock.passed(deadline)
}

// noteDeadline keeps earliest below all deadlines. Sets in place only raise
// them.
func (s *shard[K, V]) noteDeadline(deadline int64) {
	if deadline == 0 {
		return
	}
	if s.earliest == 0 || deadline < s.earliest {
		s.earliest = deadline
	}
	if s.sweptMin == 0 || deadline < s.sweptMin {
		s.sweptMin = deadline
	}
}

// sweep looks at the next bucket. The shard must be locked.
func (c *Cache[K, V]) sweep(s *shard[K, V], fx *effects[K, V]) {
	if s.earliest == 0 || !c.clock.passed(s.earliest) {
		return
	}
	if s.strict != nil {
		c.sweepStrict(s, fx)
		return
	}
	t := s.table.Load()
	if s.sweeping >= len(t.buckets) { // a round is complete
		s.sweeping = 0
		s.earliest = s.sweptMin
		return
	}
	if s.sweeping == 0 {
		s.sweptMin = 0
	}
	c.sweepBucket(s, &t.buckets[s.sweeping], fx)
	s.sweeping++
}

func (c *Cache[K, V]) sweepBucket(s *shard[K, V], b *bucket[K, V], fx *effects[K, V]) (gone int) {
	for i := range b.nodes {
		n := b.nodes[i].Load()
		if n == nil || !n.timed() {
			continue
		}
		if c.expired(n) {
			c.give(c.remove(s, c.hash(n.key), n, Expired, fx))
			gone++
		} else if d := deadlineOf(n.meta.Load()); s.sweptMin == 0 || d < s.sweptMin {
			s.sweptMin = d
		}
	}
	return gone
}

// sweepStrict looks at the two oldest entries.
func (c *Cache[K, V]) sweepStrict(s *shard[K, V], fx *effects[K, V]) {
	for range 2 {
		n := s.strict.oldest()
		if n == nil || !n.timed() || !c.expired(n) {
			return
		}
		c.give(c.remove(s, c.hash(n.key), n, Expired, fx))
	}
}

const sweepStep = 64 // buckets

// Sweep removes every expired entry now and returns how many there were. It
// holds a lock for a few hundred entries at a time, but with Strict it first
// copies the list. Nothing depends on it; a cache that is seldom written gives
// memory back earlier by it.
func (c *Cache[K, V]) Sweep() int {
	gone := 0
	for i := range c.shards {
		s := &c.shards[i]
		if c.strict {
			s.mu.Lock()
			nodes := s.strict.nodes()
			s.mu.Unlock()
			for len(nodes) > 0 {
				some := nodes[:min(len(nodes), sweepStep*lanes)]
				nodes = nodes[len(some):]
				gone += c.sweepLocked(s, func(fx *effects[K, V]) int { return c.sweepNodes(s, some, fx) })
			}
			continue
		}
		for at, more := 0, true; more; at += sweepStep {
			gone += c.sweepLocked(s, func(fx *effects[K, V]) (n int) {
				t := s.table.Load()
				end := min(at+sweepStep, len(t.buckets))
				for b := at; b < end; b++ {
					n += c.sweepBucket(s, &t.buckets[b], fx)
				}
				more = end < len(t.buckets)
				return n
			})
		}
	}
	return gone
}

func (c *Cache[K, V]) sweepLocked(s *shard[K, V], some func(*effects[K, V]) int) int {
	var fx effects[K, V]
	s.mu.Lock()
	n := some(&fx)
	s.mu.Unlock()
	c.settle(&fx)
	return n
}

func (c *Cache[K, V]) sweepNodes(s *shard[K, V], nodes []*node[K, V], fx *effects[K, V]) (gone int) {
	for _, n := range nodes {
		if n.meta.Load()&deadBit == 0 && c.expired(n) {
			c.give(c.remove(s, c.hash(n.key), n, Expired, fx))
			gone++
		}
	}
	return gone
}
