package lru

import "math/bits"

// sketch estimates how often a key was wanted lately: a count-min sketch of
// 4-bit counters (Cormode and Muthukrishnan, 2005), aged by halving as in
// TinyLFU (Einziger, Friedman, Manes, 2017). The four counters of a key lie
// in one cache line. The shard must be locked.
type sketch struct {
	words []uint64 // 16 counters each, 8 words a block
	added int
	limit int // additions after which all counters are halved
}

const (
	sketchBlock  = 8  // words
	sketchPerKey = 12 // counters
	sketchAging  = 20 // additions for each entry until the halving
)

// fit makes the sketch one for n entries, unless it is about that size, and
// reports whether it is a new one.
func (s *sketch) fit(n int) bool {
	if n <= s.limit/sketchAging*2 && n*4 >= s.limit/sketchAging {
		return false
	}
	blocks := n*sketchPerKey/(sketchBlock*16) + 1
	*s = sketch{words: make([]uint64, blocks*sketchBlock), limit: n * sketchAging}
	return true
}

// block returns the key's cache line, and the bits that pick its counters.
func (s *sketch) block(h uint64) (words []uint64, pick uint64) {
	hi, _ := bits.Mul64(h<<16, uint64(len(s.words)/sketchBlock))
	// The place inside the block comes from all bits of the hash.
	return s.words[hi*sketchBlock:][:sketchBlock], h * 0x9e3779b97f4a7c15 >> 32
}

// add counts the key n times.
func (s *sketch) add(h, n uint64) {
	if len(s.words) == 0 || n == 0 {
		return
	}
	words, pick := s.block(h)
	for i := range uint64(4) {
		word, shift := &words[i*2+pick>>4&1], pick&15*4
		count := *word >> shift & 15
		*word += (min(count+n, 15) - count) << shift
		pick >>= 5
	}
	if s.added += int(n); s.added >= s.limit {
		s.halve()
	}
}

// estimate returns how often the key was counted, or a little more.
func (s *sketch) estimate(h uint64) uint64 {
	if len(s.words) == 0 {
		return 0
	}
	words, pick := s.block(h)
	least := uint64(15)
	for i := range uint64(4) {
		least = min(least, words[i*2+pick>>4&1]>>(pick&15*4)&15)
		pick >>= 5
	}
	return least
}

func (s *sketch) halve() {
	for i, w := range s.words {
		s.words[i] = w >> 1 & 0x7777777777777777
	}
	s.added /= 2
}
