package lru

import "time"

// found is what a look-up found.
type found uint8

const (
	absent found = iota
	present
	negative // known not to exist
)

// Get returns the value of key, and whether there is one. It counts as a use
// of the entry.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	_, value, what := c.lookup(c.hash(key), key)
	return value, what == present
}

func (c *Cache[K, V]) lookup(h uint64, key K) (*node[K, V], V, found) {
	if !c.strict {
		n := c.shard(h).table.Load().find(h, key)
		if n == nil {
			c.stripes.own().misses.Add(1)
			var zero V
			return nil, zero, absent
		}
		// The deadline is read before the value: a value that was stored
		// with a later deadline is never taken for one that has it.
		meta := n.meta.Load()
		timed := meta >= 1<<deadlineBit
		if meta&(deadBit|negativeBit) == 0 && !(timed && c.clock.passed(deadlineOf(meta))) {
			value := n.load(c.word)
			n.hit(meta)
			if c.opts.Sliding {
				c.slide(n)
			}
			if hits := c.stripes.own().hits.Add(1); timed && hits%64 == 0 {
				c.clock.check()
			}
			return n, value, present
		}
	}
	return c.lookupLocked(h, key)
}

// lookupLocked is for what a reader without the lock cannot settle.
func (c *Cache[K, V]) lookupLocked(h uint64, key K) (n *node[K, V], value V, what found) {
	var fx effects[K, V]
	s := c.shard(h)
	s.mu.Lock()
	n = s.find(h, key)
	switch {
	case n == nil:
	case c.expired(n):
		c.give(c.remove(s, h, n, Expired, &fx))
		n = nil
	default:
		what = present
		meta := n.meta.Load()
		if meta&negativeBit != 0 {
			what = negative
		}
		if s.strict != nil {
			s.strict.use(n)
		} else {
			n.hit(meta)
		}
		if c.opts.Sliding && what == present {
			c.slide(n)
		}
		value = n.load(c.word)
	}
	s.mu.Unlock()
	own := c.stripes.own()
	if what == absent {
		own.misses.Add(1)
	} else {
		own.hits.Add(1)
	}
	if what == negative {
		own.negative.Add(1)
	}
	c.settle(&fx)
	return n, value, what
}

// slide moves the deadline of n, which was hit, at most once a tick.
func (c *Cache[K, V]) slide(n *node[K, V]) {
	ttl := time.Duration(n.wide().extra.Load())
	least := int64(tick / time.Millisecond)
	var deadline int64
	if ttl < 8*tick {
		least = 1
		deadline = deadlineAfter(c.clock.now(), ttl)
	} else {
		deadline = deadlineAfter(c.clock.recent()+int64(tick), ttl)
	}
	for {
		meta := n.meta.Load()
		if deadlineOf(meta) == 0 || meta&deadBit != 0 || deadline != 0 && deadline-deadlineOf(meta) < least {
			return
		}
		if n.meta.CompareAndSwap(meta, withDeadline(meta, deadline)) {
			return
		}
	}
}
