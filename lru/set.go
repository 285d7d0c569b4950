package lru

import "time"

// Set stores value under key for the cache's TTL and reports whether it is
// stored. It is refused, alone, if its Size is above MaxBytes or negative, if
// key does not equal itself, if the Account gives no memory, or after Close;
// then no older value stays under key either, and Stats.Refused counts it.
func (c *Cache[K, V]) Set(key K, value V) bool {
	h := c.hash(key)
	if c.inPlace && c.setInPlace(h, key, value) {
		return true
	}
	return c.put(h, key, value, write[K, V]{})
}

// SetWithTTL is Set with a time to live of the entry's own: zero is the
// cache's TTL, Never or anything above 34 years is for ever, and less than
// zero is over already: an older value of key goes and nothing is stored.
func (c *Cache[K, V]) SetWithTTL(key K, value V, ttl time.Duration) bool {
	return c.put(c.hash(key), key, value, write[K, V]{ttl: ttl})
}

// Delete removes key and reports whether it had a value. A load of key that
// is under way will not be stored.
func (c *Cache[K, V]) Delete(key K) bool {
	h := c.hash(key)
	_, ok := c.deleteIf(h, key, Deleted, nil)
	return ok
}

// setInPlace replaces the value of a live entry with no lock. It reports
// false if it cannot, or if something happened meanwhile that makes it unsure
// whether the value has been stored; storing it again is then right.
func (c *Cache[K, V]) setInPlace(h uint64, key K, value V) bool {
	s := c.shard(h)
	n := s.table.Load().find(h, key)
	if n == nil {
		return false
	}
	meta := n.meta.Load()
	if meta&(deadBit|ownBit|negativeBit) != 0 {
		return false
	}
	var deadline int64
	if c.opts.TTL > 0 {
		now := c.clock.now()
		if deadlineOf(meta)*int64(time.Millisecond) <= now {
			return false
		}
		deadline = deadlineAfter(now, c.opts.TTL)
	}
	n.store(c.word, value)
	// The order of these two tests matters. A load or Compute that began
	// after the value was stored has seen it; one that is under way is told
	// by put; one that ended meanwhile has put another node in place of n.
	if s.watching.Load() != 0 {
		return false
	}
	for {
		meta = n.meta.Load()
		if meta&(deadBit|ownBit|negativeBit) != 0 {
			return false
		}
		used := meta
		if meta&freqMask != freqMask {
			used++
		}
		used = withDeadline(used, max(deadline, deadlineOf(meta)))
		if used == meta || n.meta.CompareAndSwap(meta, used) {
			break
		}
	}
	c.stripes.own().replaced.Add(1)
	return true
}

// write says how put stores.
type write[K comparable, V any] struct {
	ttl      time.Duration // 0: the cache's
	negative bool
	by       *watch[K, V] // the load or Compute that writes; it must not be superseded
}

// put stores a value in the locked way.
func (c *Cache[K, V]) put(h uint64, key K, value V, w write[K, V]) bool {
	s := c.shard(h)
	if key != key {
		s.count(func(r *Refused) { r.BadKey++ })
		return false
	}
	if w.ttl < 0 {
		c.deleteIf(h, key, Replaced, w.by)
		return false
	}
	var size int64
	if c.opts.Size != nil && !w.negative {
		size = c.opts.Size(key, value)
	}
	if size < 0 || size > c.budget.maxBytes.Load() {
		s.count(func(r *Refused) {
			if size < 0 {
				r.BadSize++
			} else {
				r.TooLarge++
			}
		})
		c.deleteIf(h, key, Bytes, w.by)
		return false
	}
	charge := size + c.overhead
	if !c.reserve(charge) {
		s.count(func(r *Refused) { r.Account++ })
		c.deleteIf(h, key, Bytes, w.by)
		return false
	}
	var fx effects[K, V]
	for {
		done, stored := c.tryPut(s, h, key, value, size, w, &fx)
		if done && !stored {
			fx.release += charge
		}
		c.settle(&fx)
		if done {
			return stored
		}
		c.steal(Bytes)
	}
}

// tryPut stores the entry under the shard's lock. It is not done if other
// shards must make room first.
func (c *Cache[K, V]) tryPut(s *shard[K, V], h uint64, key K, value V, size int64, w write[K, V], fx *effects[K, V]) (done, stored bool) {
	ttl := c.ttlOf(w.ttl)
	var now int64
	if ttl != Never || c.opts.RefreshAfter > 0 {
		now = c.clock.now()
	}
	meta := withDeadline(0, deadlineOr0(now, ttl))
	if w.ttl != 0 {
		meta |= ownBit
	}
	if w.negative {
		meta |= negativeBit
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if w.by != nil && w.by.superseded {
		return true, false
	}
	if c.closed.Load() {
		s.refused.Closed++
		return true, false
	}
	if size > c.budget.maxBytes.Load() { // since a Resize
		s.refused.TooLarge++
		if old := s.find(h, key); old != nil {
			c.give(c.remove(s, h, old, Bytes, fx))
		}
		s.supersede(key, w.by)
		return true, false
	}
	old := s.find(h, key)
	if old != nil && c.expired(old) {
		c.give(c.remove(s, h, old, Expired, fx))
		old = nil
	}
	if old != nil {
		grow := size - c.sizeOf(old)
		if grow <= 0 || take(&c.budget.bytes, grow, c.budget.maxBytes.Load()) {
			c.replace(s, h, old, value, meta, size, now, ttl, w, fx)
			c.budget.give(0, max(-grow, 0))
			s.supersede(key, w.by)
			return true, true
		}
		c.give(c.remove(s, h, old, Replaced, fx))
	}
	if !c.makeRoom(s, size, fx) {
		return false, false
	}
	n := c.newNode(key, value, meta, size)
	c.setExtra(n, now, ttl)
	c.link(s, h, n)
	s.noteDeadline(deadlineOf(meta))
	c.sweep(s, fx)
	s.supersede(key, w.by)
	if s.inserts++; s.inserts >= c.share() {
		s.inserts = 0
		c.climb()
	}
	return true, true
}

// replace gives the live entry old another value.
func (c *Cache[K, V]) replace(s *shard[K, V], h uint64, old *node[K, V], value V, meta uint64, size, now int64, ttl time.Duration, w write[K, V], fx *effects[K, V]) {
	c.record(s, old, Replaced, fx)
	s.noteDeadline(deadlineOf(meta))
	const plain = ownBit | negativeBit
	if c.word == notWord || w.by != nil || (old.meta.Load()|meta)&plain != 0 {
		n := c.newNode(old.key, value, meta, size)
		c.setExtra(n, now, ttl)
		s.swap(h, old, n)
		return
	}
	if c.isWide {
		old.wide().size = size
		c.setExtra(old, now, ttl)
	}
	old.store(c.word, value)
	old.update(^uint64(lowMask), meta&^lowMask)
	if s.strict != nil {
		s.strict.use(old)
	} else {
		old.hit(old.meta.Load())
	}
}

// setExtra sets what a wide node remembers beside its size.
func (c *Cache[K, V]) setExtra(n *node[K, V], now int64, ttl time.Duration) {
	switch {
	case c.opts.Sliding:
		n.wide().extra.Store(int64(ttl))
	case c.opts.RefreshAfter > 0:
		n.wide().extra.Store(now + int64(c.opts.RefreshAfter))
	}
}

func deadlineOr0(now int64, ttl time.Duration) int64 {
	if ttl == Never {
		return 0
	}
	return deadlineAfter(now, ttl)
}

// deleteIf removes key unless by is superseded.
func (c *Cache[K, V]) deleteIf(h uint64, key K, reason Reason, by *watch[K, V]) (done, had bool) {
	var fx effects[K, V]
	s := c.shard(h)
	s.mu.Lock()
	if by == nil || !by.superseded {
		done = true
		if n := s.find(h, key); n != nil {
			had = n.meta.Load()&negativeBit == 0
			if c.expired(n) {
				had = false
				c.give(c.remove(s, h, n, Expired, &fx))
			} else {
				c.give(c.remove(s, h, n, reason, &fx))
			}
		}
		s.supersede(key, by)
	}
	s.mu.Unlock()
	c.settle(&fx)
	return done, had
}

func (s *shard[K, V]) count(f func(*Refused)) {
	s.mu.Lock()
	f(&s.refused)
	s.mu.Unlock()
}
