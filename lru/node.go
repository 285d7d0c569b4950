package lru

import (
	"sync/atomic"
	"unsafe"
)

// node is one entry. Its key never changes. Its value is either stored
// atomically in place, if V is one machine word (see word.go), or never
// changes; then a write puts another node in its place.
//
// meta holds, from the lowest bit:
//
//	0…1    how often it was read since the clock hand passed, at most 3
//	2      dead: it has left the cache
//	3      main: it is in the main ring, not in the window
//	4      own: its time to live is not the cache's default
//	5      negative: its key is known not to exist
//	8…23   its place in the ring, modulo 1<<16
//	24…63  its deadline in milliseconds of the cache's clock, 0 = never
type node[K comparable, V any] struct {
	meta  atomic.Uint64
	key   K
	value V
}

const (
	freqMask    = 1<<2 - 1
	deadBit     = 1 << 2
	mainBit     = 1 << 3
	ownBit      = 1 << 4
	negativeBit = 1 << 5
	placeShift  = 8
	placeMask   = (1<<16 - 1) << placeShift
	deadlineBit = 24
	maxDeadline = 1<<(64-deadlineBit) - 1 // 34 years
	lowMask     = 1<<deadlineBit - 1
)

func deadlineOf(meta uint64) int64 { return int64(meta >> deadlineBit) }

func withDeadline(meta uint64, deadline int64) uint64 {
	return meta&lowMask | uint64(deadline)<<deadlineBit
}

// wideNode is a node of a cache that must remember more of each entry. A
// cache has nodes of one kind only.
type wideNode[K comparable, V any] struct {
	node[K, V]
	size  int64        // bytes; guarded by the shard's lock
	extra atomic.Int64 // Sliding: its time to live; RefreshAfter: when to refresh, in ns of the clock
}

// wide returns the node's wide form. The cache must be of that kind.
func (n *node[K, V]) wide() *wideNode[K, V] {
	return (*wideNode[K, V])(unsafe.Pointer(n))
}

func (c *Cache[K, V]) newNode(key K, value V, meta uint64, size int64) *node[K, V] {
	if !c.isWide {
		n := &node[K, V]{key: key, value: value}
		n.meta.Store(meta)
		return n
	}
	w := &wideNode[K, V]{node: node[K, V]{key: key, value: value}, size: size}
	w.meta.Store(meta)
	return &w.node
}

// sizeOf returns the bytes that n was charged for. The shard must be locked.
func (c *Cache[K, V]) sizeOf(n *node[K, V]) int64 {
	if !c.isWide {
		return 0
	}
	return n.wide().size
}

// update changes the bits of mask to bits. Readers may count hits meanwhile.
func (n *node[K, V]) update(mask, bits uint64) {
	for {
		meta := n.meta.Load()
		if n.meta.CompareAndSwap(meta, meta&^mask|bits) {
			return
		}
	}
}

// hit counts a read, as long as the count is low: the node of a hot entry is
// not written to, so that cores can share it. Counting to 15 instead of 3 keeps
// no more hits (internal/bench -only hits) and writes more.
func (n *node[K, V]) hit(meta uint64) {
	if meta&freqMask != freqMask {
		n.meta.CompareAndSwap(meta, meta+1)
	}
}
