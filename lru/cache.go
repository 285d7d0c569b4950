package lru

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Cache is a bounded map from K to V. Make one with New.
//
// All methods may be called by any number of goroutines at once, from
// callbacks and loaders too. A Cache owns no goroutine, except one for each
// loader call under way, and needs no Close to be collected.
type Cache[K comparable, V any] struct {
	opts    Options[K, V]
	hasher  hasher[K]
	shards  []shard[K, V]
	shift   uint     // the shard is the hash shifted right by this
	word    wordKind // how V is kept
	isWide  bool     // nodes are wideNodes
	inPlace bool     // Set may replace a value without the lock
	strict  bool

	overhead int64 // bytes of one entry beside what Size says
	clock    clock
	climber  climber
	stripes  stripes
	budget   budget
	loads    loads[K, V]
	stolen   atomic.Uint32 // spreads evictions over the shards
	closed   atomic.Bool
}

const (
	leastShard = 512  // entries; below, the policy sees too few of them
	mostShard  = 4096 // entries; a shard this large is rebuilt in less than 1 ms
)

// New returns an empty cache, or an error that names every fault of o.
func New[K comparable, V any](o Options[K, V]) (*Cache[K, V], error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache[K, V]{
		opts:   o,
		word:   wordKindOf[V](),
		isWide: o.Size != nil || o.Sliding || o.RefreshAfter > 0,
		strict: o.Policy == Strict,
	}
	c.inPlace = c.word != notWord && !c.isWide && !c.strict && o.OnEvict == nil
	c.overhead = entryOverhead[K, V](c.isWide, c.strict)
	c.budget.limit(o.MaxEntries, o.MaxBytes)
	c.hasher.start()
	c.clock.start()
	c.climber.start()
	c.stripes.start()
	c.loads.start(o.MaxLoads)
	c.shards = make([]shard[K, V], shardsFor(o.MaxEntries, c.strict))
	c.shift = uint(64 - bits.Len(uint(len(c.shards)-1)))
	for i := range c.shards {
		c.shards[i].reset(c.strict)
	}
	return c, nil
}

// shardsFor returns a power of two.
func shardsFor(entries int, strict bool) int {
	n := 1
	if strict {
		return n
	}
	for n < 8*runtime.GOMAXPROCS(0) && entries/(2*n) >= leastShard ||
		n < 4096 && entries/n > mostShard {
		n *= 2
	}
	return n
}

// entryOverhead is what an entry costs at the usual fill of table and rings;
// TestBudget holds it against the heap.
func entryOverhead[K comparable, V any](wide, strict bool) int64 {
	size := int64(unsafe.Sizeof(node[K, V]{}))
	if wide {
		size = int64(unsafe.Sizeof(wideNode[K, V]{}))
	}
	if size > 32 { // the heap's size classes
		size = (size + 15) &^ 15
	}
	if strict {
		var key K
		return size + 2*int64(unsafe.Sizeof(key)) + 112 // simplelru's entry and map slot
	}
	return size + 28 // lane, ring slot and sketch
}

func (c *Cache[K, V]) hash(key K) uint64 { return c.hasher.hash(key) }

func (c *Cache[K, V]) shard(h uint64) *shard[K, V] { return &c.shards[h>>c.shift] }

// share is the number of entries that a shard is expected to hold.
func (c *Cache[K, V]) share() int {
	return int(c.budget.maxEntries.Load()>>(64-c.shift)) + 1
}

func (s *shard[K, V]) reset(strict bool) {
	s.earliest, s.sweeping, s.sweptMin = 0, 0, 0
	if strict {
		s.strict = newStrictList[K, V]()
		return
	}
	s.window, s.main = ring[K, V]{}, ring[K, V]{}
	s.sketch = sketch{}
	s.table.Store(newTable[K, V](0))
}

// Len returns the number of entries, those included that have expired and
// were not met since, and negative ones. It is never above MaxEntries.
func (c *Cache[K, V]) Len() int { return int(c.budget.entries.Load()) }

// Bytes returns the sum of Size over all entries. It is never above MaxBytes.
func (c *Cache[K, V]) Bytes() int64 { return c.budget.bytes.Load() }

// timed reports whether entries may expire.
func (n *node[K, V]) timed() bool { return n.meta.Load()>>deadlineBit != 0 }

// ttlOf returns how long an entry lives that is written with ttl.
func (c *Cache[K, V]) ttlOf(ttl time.Duration) time.Duration {
	if ttl == 0 {
		ttl = c.opts.TTL
	}
	if ttl == 0 {
		ttl = Never
	}
	return ttl
}
