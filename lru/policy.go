package lru

// The adaptive policy. A hit only raises a small count in the entry itself
// (see node.hit), so readers share nothing.
//
// A new entry enters a FIFO window, a few percent of the cache. When it
// leaves the window, and something must go, it stays if it was wanted more
// often, by the sketch's estimate and its reads since, than the entry that the
// main ring would give up; then that one goes. The main ring is a CLOCK
// (Corbató, 1968): the hand passes over entries that were read, pours their
// count into the sketch and starts it again. Window and admission are those
// of W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU", ACM ToS 2017), its
// window's share is tuned by the climber.

// maxHand bounds how many entries the hand passes in search of a victim.
const maxHand = 128

// windowSize is the window's share of n entries, at least one.
func windowSize(n int, share uint64) int {
	return max(1, int(uint64(n)*share>>windowBits))
}

// admit puts a new node into the window and moves what no longer fits there
// to main: there was room for it.
func (s *shard[K, V]) admit(h uint64, n *node[K, V], windowShare uint64, share int) {
	s.sketch.add(h, 1)
	s.window.push(n, 0)
	size := windowSize(max(share, s.live()), windowShare)
	for i := 0; s.window.live > size && i < 4; i++ {
		s.main.push(s.window.pop(), mainBit)
	}
}

// victim takes the entry that must go out of its ring. It stays in the index;
// nil if the shard is empty.
func (c *Cache[K, V]) victim(s *shard[K, V]) *node[K, V] {
	if s.strict != nil {
		return s.strict.oldest()
	}
	live := s.live()
	if live == 0 {
		return nil
	}
	s.sketch.fit(live)
	if s.main.live == 0 {
		return s.window.pop()
	}
	if s.window.live < windowSize(live, c.climber.share()) {
		return c.mainVictim(s)
	}
	candidate := s.window.pop()
	if c.expired(candidate) {
		return candidate
	}
	meta := candidate.meta.Load()
	reads := meta & freqMask
	h := c.hash(candidate.key)
	victim := c.mainVictim(s)
	if !c.expired(victim) &&
		s.sketch.estimate(h)+reads <= s.sketch.estimate(c.hash(victim.key))+victim.meta.Load()&freqMask {
		s.sketch.add(h, reads)
		s.main.unpop(victim)
		return candidate
	}
	s.main.push(candidate, mainBit)
	return victim
}

// mainVictim moves the hand of main to an entry that was not read since its
// last turn, and takes that out.
func (c *Cache[K, V]) mainVictim(s *shard[K, V]) *node[K, V] {
	for i := 0; ; i++ {
		n := s.main.pop()
		reads := n.meta.Load() & freqMask
		if reads == 0 || i == maxHand || c.expired(n) {
			return n
		}
		s.sketch.add(c.hash(n.key), reads)
		n.update(freqMask, 0)
		s.main.push(n, mainBit)
	}
}
