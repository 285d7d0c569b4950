package lru

import "iter"

// All iterates over the entries, without counting uses. It holds no lock
// while the caller's code runs, which may change the cache: an entry that is
// there all the time is yielded once, one that comes or goes meanwhile may be
// or not. With Strict the order is from the least recently used on, as it was
// at the start; otherwise there is none.
func (c *Cache[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := range c.shards {
			s := &c.shards[i]
			if s.strict != nil {
				s.mu.Lock()
				nodes := s.strict.nodes()
				s.mu.Unlock()
				if !c.yieldAll(s, nodes, yield) {
					return
				}
				continue
			}
			var nodes [lanes]*node[K, V]
			buckets := s.table.Load().buckets
			for i := range buckets {
				found := nodes[:0]
				for j := range buckets[i].nodes {
					if n := buckets[i].nodes[j].Load(); n != nil {
						found = append(found, n)
					}
				}
				if !c.yieldAll(s, found, yield) {
					return
				}
			}
		}
	}
}

func (c *Cache[K, V]) yieldAll(s *shard[K, V], nodes []*node[K, V], yield func(K, V) bool) bool {
	for _, n := range nodes {
		key := n.key
		s.mu.Lock()
		if n.meta.Load()&deadBit != 0 {
			n = s.find(c.hash(key), key) // a newer node of the same key
		}
		ok := n != nil && n.meta.Load()&negativeBit == 0 && !c.expired(n)
		var value V
		if ok {
			value = n.load(c.word)
		}
		s.mu.Unlock()
		if ok && !yield(key, value) {
			return false
		}
	}
	return true
}

// Keys iterates over the keys, as All does.
func (c *Cache[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		c.All()(func(key K, _ V) bool { return yield(key) })
	}
}
