package lru

// ring is a queue of nodes in which each node knows its place, so that one
// can be taken out of the middle: its slot stays empty until the head passes
// it or the ring is rebuilt. The shard must be locked.
type ring[K comparable, V any] struct {
	slots []*node[K, V]
	head  int // of the oldest slot
	used  int // slots from head, empty ones included
	live  int // nodes
}

// push appends n. bits is the ring's mark in the node's meta.
func (r *ring[K, V]) push(n *node[K, V], bits uint64) {
	if r.used == len(r.slots) {
		r.rebuild(r.live + r.live/8 + 8)
	}
	at := r.head + r.used
	if at >= len(r.slots) {
		at -= len(r.slots)
	}
	r.slots[at] = n
	r.used++
	r.live++
	n.update(placeMask|mainBit, uint64(at)<<placeShift&placeMask|bits)
}

// pop takes the oldest node out; nil if there is none.
func (r *ring[K, V]) pop() *node[K, V] {
	for r.used > 0 {
		n := r.slots[r.head]
		r.slots[r.head] = nil
		r.head++
		if r.head == len(r.slots) {
			r.head = 0
		}
		r.used--
		if n != nil {
			r.live--
			return n
		}
	}
	return nil
}

// unpop puts n back where pop took it from.
func (r *ring[K, V]) unpop(n *node[K, V]) {
	if r.head--; r.head < 0 {
		r.head = len(r.slots) - 1
	}
	r.slots[r.head] = n
	r.used++
	r.live++
}

// set puts other, or nothing, in the place of n.
func (r *ring[K, V]) set(n, other *node[K, V]) {
	at := int(n.meta.Load() & placeMask >> placeShift)
	for r.slots[at] != n { // a ring of more than 1<<16 slots
		at += 1 << 16
	}
	r.slots[at] = other
	if other == nil {
		r.live--
	}
}

// rebuild moves the nodes to the front of a new array.
func (r *ring[K, V]) rebuild(size int) {
	old := *r
	*r = ring[K, V]{slots: make([]*node[K, V], size)}
	for i := range old.used {
		at := old.head + i
		if at >= len(old.slots) {
			at -= len(old.slots)
		}
		if n := old.slots[at]; n != nil {
			r.slots[r.used] = n
			n.update(placeMask, uint64(r.used)<<placeShift&placeMask)
			r.used++
		}
	}
	r.live = r.used
}
