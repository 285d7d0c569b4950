package lru

import "runtime"

// ownFirst is how many entries a writer evicts from its key's own shard
// before it goes on to the others, when bytes are lacking.
const ownFirst = 16

// remove takes n out of the cache and returns what it held of the budget. The
// shard must be locked.
func (c *Cache[K, V]) remove(s *shard[K, V], h uint64, n *node[K, V], reason Reason, fx *effects[K, V]) grant {
	s.unlink(h, n)
	return c.record(s, n, reason, fx)
}

// evict takes the policy's choice out of s. It is false if s is empty.
func (c *Cache[K, V]) evict(s *shard[K, V], reason Reason, fx *effects[K, V]) (grant, bool) {
	n := c.victim(s)
	if n == nil {
		return grant{}, false
	}
	if c.expired(n) {
		reason = Expired
	}
	if s.strict != nil {
		s.strict.remove(n.key)
	} else {
		s.table.Load().replace(c.hash(n.key), n, nil)
	}
	n.meta.Or(deadBit)
	return c.record(s, n, reason, fx), true
}

// record counts the removal of n's value and notes what must follow.
func (c *Cache[K, V]) record(s *shard[K, V], n *node[K, V], reason Reason, fx *effects[K, V]) grant {
	s.evicted[reason]++
	size := c.sizeOf(n)
	if c.opts.Account != nil {
		fx.release += size + c.overhead
	}
	if c.opts.OnEvict != nil && n.meta.Load()&negativeBit == 0 {
		fx.removals = append(fx.removals, removal[K, V]{n.key, n.load(c.word), reason})
	}
	return grant{entries: 1, bytes: size}
}

func (c *Cache[K, V]) give(g grant) { c.budget.give(g.entries, g.bytes) }

// makeRoom takes one entry of size bytes from the budget, and evicts from s
// for it. It reports false if other shards must give something first.
func (c *Cache[K, V]) makeRoom(s *shard[K, V], size int64, fx *effects[K, V]) bool {
	var held grant
	for evicted := 0; ; evicted++ {
		lacking, ok := c.budget.extend(&held, size)
		if ok {
			c.give(grant{held.entries - 1, held.bytes - size})
			return true
		}
		if evicted == ownFirst && len(c.shards) > 1 {
			c.give(held)
			return false
		}
		g, ok := c.evict(s, lacking, fx)
		if !ok {
			c.give(held)
			return false
		}
		held.entries += g.entries
		held.bytes += g.bytes
	}
}

// steal evicts up to ownFirst entries of one shard, the next in turn that has
// any. It reports how many bytes of memory that gave back.
func (c *Cache[K, V]) steal(reason Reason) (freed int64) {
	first := int(c.stolen.Add(1) % uint32(len(c.shards)))
	for i := range c.shards {
		s := &c.shards[(first+i)%len(c.shards)]
		freed = c.evictSome(s, ownFirst, reason)
		if freed > 0 {
			return freed
		}
	}
	runtime.Gosched() // others hold what there is, for a moment
	return 0
}

// evictSome evicts at most n entries of s and returns the bytes that they
// held, the cache's own overhead included.
func (c *Cache[K, V]) evictSome(s *shard[K, V], n int, reason Reason) (freed int64) {
	var fx effects[K, V]
	s.mu.Lock()
	for range n {
		g, ok := c.evict(s, reason, &fx)
		if !ok {
			break
		}
		c.give(g)
		freed += g.bytes + c.overhead
	}
	s.mu.Unlock()
	c.settle(&fx)
	return freed
}

// reserve asks the Account for n bytes, and gives back entries until it
// agrees or there are none left.
func (c *Cache[K, V]) reserve(n int64) bool {
	if c.opts.Account == nil {
		return true
	}
	for c.opts.Account.Reserve(n) != nil {
		if c.steal(Bytes) == 0 {
			return false
		}
	}
	return true
}

// climb lets the climber look at the hit ratio.
func (c *Cache[K, V]) climb() {
	hits, misses := c.stripes.lookups()
	c.climber.observe(hits, misses, c.Len())
}
