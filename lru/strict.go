package lru

import "github.com/hashicorp/golang-lru/v2/simplelru"

// strictList is the order and index of a Strict cache: a simplelru without a
// bound of its own, since the budget bounds it. A Go map keeps the room of its
// largest size, so giving memory back means another list: the entries move to
// it a few at a time, the oldest first, so that nobody waits for all of them.
// Meanwhile everything in moved is older than everything in list. The shard
// must be locked.
type strictList[K comparable, V any] struct {
	list  *simplelru.LRU[K, *node[K, V]]
	moved *simplelru.LRU[K, *node[K, V]] // nil unless entries are moving
	peak  int                            // the largest length of list
}

const moveStep = 256 // entries that move in one hold of the lock

func newStrictList[K comparable, V any]() *strictList[K, V] {
	return &strictList[K, V]{list: newSimple[K, V]()}
}

func newSimple[K comparable, V any]() *simplelru.LRU[K, *node[K, V]] {
	l, err := simplelru.NewLRU[K, *node[K, V]](int(^uint(0)>>1), nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return l
}

func (l *strictList[K, V]) len() int {
	if l.moved != nil {
		return l.list.Len() + l.moved.Len()
	}
	return l.list.Len()
}

// peek returns the node of key, or nil, and leaves the order.
func (l *strictList[K, V]) peek(key K) *node[K, V] {
	n, ok := l.list.Peek(key)
	if !ok && l.moved != nil {
		n, _ = l.moved.Peek(key)
	}
	return n
}

// add makes n the newest, in the place of another node of its key, if any.
func (l *strictList[K, V]) add(n *node[K, V]) {
	if l.moved != nil {
		l.moved.Remove(n.key)
	}
	l.list.Add(n.key, n)
	l.peak = max(l.peak, l.list.Len())
	if l.moved != nil {
		l.move(2)
	}
}

// use makes n, which is in the list, the newest.
func (l *strictList[K, V]) use(n *node[K, V]) {
	if _, ok := l.list.Get(n.key); !ok {
		l.add(n)
	}
}

func (l *strictList[K, V]) remove(key K) {
	if !l.list.Remove(key) && l.moved != nil {
		l.moved.Remove(key)
	}
}

// oldest returns nil if the list is empty.
func (l *strictList[K, V]) oldest() *node[K, V] {
	if l.moved != nil {
		if _, n, ok := l.moved.GetOldest(); ok {
			return n
		}
	}
	_, n, _ := l.list.GetOldest()
	return n
}

// nodes returns all, the oldest first.
func (l *strictList[K, V]) nodes() []*node[K, V] {
	if l.moved != nil {
		return append(l.moved.Values(), l.list.Values()...)
	}
	return l.list.Values()
}

// shrink begins to move the entries, if that is worth it, or goes on. It
// reports whether any are left to move.
func (l *strictList[K, V]) shrink() (more bool) {
	if l.moved == nil {
		if l.list.Len() > l.peak/2 || l.peak < 16 {
			return false
		}
		l.moved = newSimple[K, V]()
	}
	return l.move(moveStep)
}

func (l *strictList[K, V]) move(n int) (more bool) {
	for range n {
		key, node, ok := l.list.RemoveOldest()
		if !ok {
			l.list, l.moved, l.peak = l.moved, nil, l.moved.Len()
			return false
		}
		l.moved.Add(key, node)
	}
	return true
}
