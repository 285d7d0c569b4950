package lru

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Stats is what a cache has counted since New. Figures that belong together
// agree once no call is under way.
type Stats struct {
	Hits         uint64 // look-ups that the cache answered
	Misses       uint64 // look-ups that it did not
	NegativeHits uint64 // the Hits that answered "does not exist"

	Loads      uint64 // loader calls, one for each key asked of a bulk loader
	LoadErrors uint64 // the Loads that failed; ErrNotFound is not a failure
	Refreshes  uint64 // the Loads that ran ahead of expiry
	Loading    int    // loader calls under way

	Evictions Evictions // entries that left, by reason
	Refused   Refused   // entries that were not stored, by reason

	Entries    int   // entries now, expired and negative ones included
	Bytes      int64 // the sum of their Size
	MaxEntries int
	MaxBytes   int64 // 0 without Size
}

// HitRate returns Hits / (Hits + Misses), and 0 before the first look-up.
func (s Stats) HitRate() float64 {
	if s.Hits+s.Misses == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

// Evictions counts entries that left a cache, by Reason.
type Evictions struct {
	Capacity, Bytes, Expired, Replaced, Deleted, Trimmed, Purged uint64
}

// Refused counts entries that were not stored.
type Refused struct {
	TooLarge uint64 // Size above MaxBytes
	BadSize  uint64 // Size negative
	BadKey   uint64 // a key that does not equal itself (NaN)
	Account  uint64 // the Account gave no memory although the cache gave back its own
	Closed   uint64 // written after Close
}

func (r *Refused) add(o Refused) {
	r.TooLarge += o.TooLarge
	r.BadSize += o.BadSize
	r.BadKey += o.BadKey
	r.Account += o.Account
	r.Closed += o.Closed
}

// stripe holds the counters of some of the goroutines. Stripes lie on cache
// lines of their own.
type stripe struct {
	hits, misses, negative, replaced atomic.Uint64
	_                                [96]byte
}

// stripes counts without a line that all cores write to.
type stripes struct {
	all   []stripe
	shift uint
}

func (s *stripes) start() {
	n := bits.Len(uint(min(4*runtime.GOMAXPROCS(0), 64) - 1))
	s.all = make([]stripe, 1<<n)
	s.shift = 64 - uint(n)
}

// own returns the calling goroutine's stripe, picked by the address of its
// stack: cheap, and the same for a goroutine most of the time. Only the
// spread depends on it, never a count.
func (s *stripes) own() *stripe {
	var mark byte
	h := uint64(uintptr(unsafe.Pointer(&mark))>>11) * 0x9e3779b97f4a7c15
	return &s.all[h>>s.shift]
}

func (s *stripes) lookups() (hits, misses uint64) {
	for i := range s.all {
		hits += s.all[i].hits.Load()
		misses += s.all[i].misses.Load()
	}
	return hits, misses
}

// Stats returns what the cache has counted.
func (c *Cache[K, V]) Stats() Stats {
	var out Stats
	var replaced uint64
	for i := range c.stripes.all {
		s := &c.stripes.all[i]
		out.Hits += s.hits.Load()
		out.Misses += s.misses.Load()
		out.NegativeHits += s.negative.Load()
		replaced += s.replaced.Load()
	}
	var evicted [reasons]uint64
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for r, n := range s.evicted {
			evicted[r] += n
		}
		out.Refused.add(s.refused)
		s.mu.Unlock()
	}
	out.Evictions = Evictions{
		Capacity: evicted[Capacity], Bytes: evicted[Bytes], Expired: evicted[Expired],
		Replaced: evicted[Replaced] + replaced, Deleted: evicted[Deleted],
		Trimmed: evicted[Trimmed], Purged: evicted[Purged],
	}
	out.Loads = c.loads.count.Load()
	out.LoadErrors = c.loads.failed.Load()
	out.Refreshes = c.loads.refreshes.Load()
	out.Loading = c.loads.running()
	out.Entries = c.Len()
	out.Bytes = c.Bytes()
	out.MaxEntries = int(c.budget.maxEntries.Load())
	if c.opts.Size != nil {
		out.MaxBytes = c.budget.maxBytes.Load()
	}
	return out
}
