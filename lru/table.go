package lru

import (
	"math/bits"
	"sync/atomic"
)

// lanes is the number of nodes in a bucket.
const lanes = 7

// bucket is one cache line on 64-bit machines: a byte of the hash for each of
// its nodes, and how many nodes wanted to be here but are further on.
type bucket[K comparable, V any] struct {
	tags  atomic.Uint64 // lane i in byte i, 0 = empty; byte 7 counts overflows, 255 = many
	nodes [lanes]atomic.Pointer[node[K, V]]
}

const (
	eachByte     = 0x0101010101010101
	eachHigh     = 0x8080808080808080
	laneHigh     = eachHigh >> 8
	overflowOne  = 1 << 56
	overflowMask = 0xff << 56
)

// table is a hash table that is read without a lock while one writer, who
// holds the shard's lock, changes it. Nodes do not move inside a table; a
// reader of a table that was replaced sees nodes that are marked dead if they
// have left since.
type table[K comparable, V any] struct {
	buckets []bucket[K, V]
}

func newTable[K comparable, V any](entries int) *table[K, V] {
	return &table[K, V]{buckets: make([]bucket[K, V], bucketsFor(entries))}
}

// bucketsFor returns how many buckets hold n nodes at 5/7 full.
func bucketsFor(n int) int { return n/5 + 1 }

// room is the number of nodes at which the table has to grow.
func (t *table[K, V]) room() int { return len(t.buckets) * 5 }

func (t *table[K, V]) home(h uint64) int {
	hi, _ := bits.Mul64(h<<16, uint64(len(t.buckets)))
	return int(hi)
}

// tagOf returns the byte of h that a bucket keeps, in every byte of a word.
func tagOf(h uint64) uint64 { return (h&0x7f | 0x80) * eachByte }

// matches marks, by the high bit of its byte, each lane that may have tag. A
// lane above a true match may be marked wrongly; the key decides.
func matches(tags, tag uint64) uint64 {
	x := tags ^ tag
	return (x - eachByte) &^ x & laneHigh
}

// find returns the node of key, or nil.
func (t *table[K, V]) find(h uint64, key K) *node[K, V] {
	tag := tagOf(h)
	at := t.home(h)
	for range t.buckets {
		b := &t.buckets[at]
		tags := b.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			if n := b.nodes[bits.TrailingZeros64(m)/8].Load(); n != nil && n.key == key {
				return n
			}
		}
		if tags < overflowOne {
			return nil
		}
		if at++; at == len(t.buckets) {
			at = 0
		}
	}
	return nil
}

// insert adds n, whose key is not in the table. There must be room.
func (t *table[K, V]) insert(h uint64, n *node[K, V]) {
	at := t.home(h)
	for {
		b := &t.buckets[at]
		tags := b.tags.Load()
		if empty := ^tags & laneHigh; empty != 0 {
			lane := bits.TrailingZeros64(empty) / 8
			b.nodes[lane].Store(n)
			b.tags.Store(tags | tagOf(h)&(0xff<<(8*lane)))
			return
		}
		if tags < overflowMask { // else it stays at many
			b.tags.Store(tags + overflowOne)
		}
		if at++; at == len(t.buckets) {
			at = 0
		}
	}
}

// replace puts n in the place of old, which has the same key; nil deletes.
func (t *table[K, V]) replace(h uint64, old, n *node[K, V]) {
	tag := tagOf(h)
	home := t.home(h)
	for at := home; ; {
		b := &t.buckets[at]
		tags := b.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			lane := bits.TrailingZeros64(m) / 8
			if b.nodes[lane].Load() != old {
				continue
			}
			if n != nil {
				b.nodes[lane].Store(n)
				return
			}
			b.tags.Store(tags &^ (0xff << (8 * lane)))
			b.nodes[lane].Store(nil)
			t.cameBack(home, at)
			return
		}
		if at++; at == len(t.buckets) {
			at = 0
		}
	}
}

// cameBack takes one from the overflow counts of the buckets from home to at.
func (t *table[K, V]) cameBack(home, at int) {
	for home != at {
		b := &t.buckets[home]
		if tags := b.tags.Load(); tags < overflowMask {
			b.tags.Store(tags - overflowOne)
		}
		if home++; home == len(t.buckets) {
			home = 0
		}
	}
}
