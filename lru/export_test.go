package lru

import (
	"fmt"
	"time"
)

// Check returns an error if index, rings and budget disagree, or if a watch
// is left. Nobody else may use the cache meanwhile.
func (c *Cache[K, V]) Check() error {
	var held grant
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.watches) != 0 || s.watching.Load() != 0 {
			return fmt.Errorf("shard %d has %d watches, counts %d", i, len(s.watches), s.watching.Load())
		}
		nodes := make(map[*node[K, V]]bool)
		if s.strict != nil {
			for _, n := range s.strict.nodes() {
				nodes[n] = true
			}
		} else {
			t := s.table.Load()
			for b := range t.buckets {
				for j := range t.buckets[b].nodes {
					if n := t.buckets[b].nodes[j].Load(); n != nil {
						nodes[n] = true
						if t.find(c.hash(n.key), n.key) != n {
							return fmt.Errorf("key %v cannot be found", n.key)
						}
					}
				}
			}
			for _, r := range []*ring[K, V]{&s.window, &s.main} {
				live := 0
				for at, n := range r.slots {
					if n == nil {
						continue
					}
					live++
					meta := n.meta.Load()
					if !nodes[n] || int(meta&placeMask>>placeShift) != at&0xffff || meta&mainBit != 0 != (r == &s.main) {
						return fmt.Errorf("key %v is out of place in its ring", n.key)
					}
				}
				if live != r.live {
					return fmt.Errorf("ring has %d nodes, counts %d", live, r.live)
				}
			}
		}
		if len(nodes) != s.live() {
			return fmt.Errorf("index has %d nodes, order %d", len(nodes), s.live())
		}
		for n := range nodes {
			if n.meta.Load()&deadBit != 0 {
				return fmt.Errorf("key %v is dead", n.key)
			}
			held.entries++
			held.bytes += c.sizeOf(n)
		}
	}
	if held.entries != c.budget.entries.Load() || held.bytes != c.budget.bytes.Load() {
		return fmt.Errorf("holds %+v, budget says %d and %d bytes", held, c.budget.entries.Load(), c.budget.bytes.Load())
	}
	return nil
}

// Overhead is what the Account is charged for an entry beside its Size.
func (c *Cache[K, V]) Overhead() int64 { return c.overhead }

// TrimHolds trims as Trim does and returns how long each step took: no lock is
// held for longer.
func (c *Cache[K, V]) TrimHolds(fraction float64) []time.Duration {
	var holds []time.Duration
	timed := func(f func()) {
		start := time.Now()
		f()
		holds = append(holds, time.Since(start))
	}
	for i := range c.shards {
		s := &c.shards[i]
		for todo := int(float64(s.live()) * fraction); todo > 0; todo -= step {
			timed(func() { c.evictSome(s, min(todo, step), Trimmed) })
		}
		if s.strict == nil {
			timed(func() { c.shrink(s) })
			continue
		}
		for more := true; more; {
			timed(func() { more = s.strict.shrink() })
		}
	}
	return holds
}
