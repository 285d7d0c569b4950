package lru

// An Op is what Compute does with the value that its function returned.
type Op uint8

const (
	// OpKeep leaves the entry as it is.
	OpKeep Op = iota
	// OpSet stores the new value, for the cache's TTL.
	OpSet
	// OpDelete removes the entry.
	OpDelete
)

// Compute changes the entry of key in one step: fn gets its value, or ok =
// false, and says what becomes of it. fn runs with no lock held and may call
// the cache; if another write of key happened meanwhile, fn is called again
// with the newer value, so it should have no effects of its own. Compute
// returns the value that key has after it and whether it has one.
func (c *Cache[K, V]) Compute(key K, fn func(old V, ok bool) (V, Op)) (V, bool) {
	h := c.hash(key)
	for {
		value, ok, done := c.computeOnce(h, key, fn)
		if done {
			return value, ok
		}
	}
}

func (c *Cache[K, V]) computeOnce(h uint64, key K, fn func(V, bool) (V, Op)) (value V, ok, done bool) {
	s := c.shard(h)
	w := &watch[K, V]{}
	var old V
	var had bool
	s.mu.Lock()
	if key == key {
		s.watch(key, w)
		defer func() {
			s.mu.Lock()
			s.unwatch(w)
			s.mu.Unlock()
		}()
	}
	if n := s.find(h, key); n != nil && n.meta.Load()&negativeBit == 0 && !c.expired(n) {
		old, had = n.load(c.word), true
	}
	s.mu.Unlock()

	value, op := fn(old, had)

	var zero V
	switch op {
	case OpSet:
		if c.put(h, key, value, write[K, V]{by: w}) {
			return value, true, true
		}
		s.mu.Lock()
		again := w.superseded
		s.mu.Unlock()
		return zero, false, !again
	case OpDelete:
		done, _ = c.deleteIf(h, key, Deleted, w)
		return zero, false, done
	default:
		if !had {
			old = zero
		}
		return old, had, true
	}
}
