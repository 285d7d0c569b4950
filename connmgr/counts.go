package connmgr

import (
	"hash/maphash"
	"math/bits"
)

// buckets is a hash table's array of chain heads. It has a power of two of
// them, at most 1.5 items each when n items are in the table, and never grows.
type buckets struct {
	heads []uint32
	seed  maphash.Seed
}

func newBuckets(n int) buckets {
	size := 1 << bits.Len(uint(max(n-1, 0)))
	if size > 16 && n <= size*3/4 {
		size /= 2
	}
	return buckets{heads: make([]uint32, size), seed: maphash.MakeSeed()}
}

func bucketOf[K comparable](b *buckets, key K) *uint32 {
	h := maphash.Comparable(b.seed, key)
	return &b.heads[h&uint64(len(b.heads)-1)]
}

// counts says how many connections there are for each key. A key without
// connections takes no memory. Not safe for concurrent use.
type counts[K comparable] struct {
	buckets buckets
	entries slab[count[K], *count[K]]
}

type count[K comparable] struct {
	key   K
	n     uint32
	chain uint32
}

func (c *count[K]) link() *uint32 { return &c.chain }

// newCounts returns counts for at most n different keys at a time.
func newCounts[K comparable](n int) counts[K] {
	return counts[K]{buckets: newBuckets(n)}
}

// find returns the number of key's entry, 0 if there is none.
func (c *counts[K]) find(key K) uint32 {
	for i := *bucketOf(&c.buckets, key); i != 0; {
		e := c.entries.at(i)
		if e.key == key {
			return i
		}
		i = e.chain
	}
	return 0
}

// at returns the count of entry i, 0 for entry 0.
func (c *counts[K]) at(i uint32) int {
	if i == 0 {
		return 0
	}
	return int(c.entries.at(i).n)
}

// inc counts one more under key, whose entry is i (0 if it has none), and
// returns the number of its entry.
func (c *counts[K]) inc(i uint32, key K) uint32 {
	if i == 0 {
		i = c.entries.alloc()
		head := bucketOf(&c.buckets, key)
		e := c.entries.at(i)
		e.key, e.chain = key, *head
		*head = i
	}
	c.entries.at(i).n++
	return i
}

// dec counts one less under entry i. Entry 0 counts nothing.
func (c *counts[K]) dec(i uint32) {
	if i == 0 {
		return
	}
	e := c.entries.at(i)
	if e.n--; e.n > 0 {
		return
	}
	p := bucketOf(&c.buckets, e.key)
	for *p != i {
		p = &c.entries.at(*p).chain
	}
	*p = e.chain
	c.entries.release(i)
}
