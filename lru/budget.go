package lru

import (
	"math"
	"sync/atomic"
)

// budget is the cache's bound, shared by all shards. A writer takes from it
// before its entry becomes visible, so the bound holds at every instant.
type budget struct {
	entries    atomic.Int64
	bytes      atomic.Int64
	_          [48]byte
	maxEntries atomic.Int64
	maxBytes   atomic.Int64
	_          [48]byte
}

// grant is the part of the budget that one writer holds while it makes room.
type grant struct{ entries, bytes int64 }

func (b *budget) limit(entries int, bytes int64) {
	if bytes == 0 {
		bytes = math.MaxInt64
	}
	b.maxEntries.Store(int64(entries))
	b.maxBytes.Store(bytes)
}

// extend completes g to one entry of n bytes, or reports what is lacking.
func (b *budget) extend(g *grant, n int64) (lacking Reason, ok bool) {
	if g.entries < 1 {
		if !take(&b.entries, 1, b.maxEntries.Load()) {
			return Capacity, false
		}
		g.entries++
	}
	if missing := n - g.bytes; missing > 0 {
		if !take(&b.bytes, missing, b.maxBytes.Load()) {
			return Bytes, false
		}
		g.bytes += missing
	}
	return 0, true
}

// give returns entries and bytes to the budget.
func (b *budget) give(entries, bytes int64) {
	if entries != 0 {
		b.entries.Add(-entries)
	}
	if bytes != 0 {
		b.bytes.Add(-bytes)
	}
}

// over reports whether the cache holds more than a lowered bound allows.
func (b *budget) over() bool {
	return b.entries.Load() > b.maxEntries.Load() || b.bytes.Load() > b.maxBytes.Load()
}

func take(counter *atomic.Int64, n, limit int64) bool {
	for {
		held := counter.Load()
		if n > limit-held {
			return false
		}
		if counter.CompareAndSwap(held, held+n) {
			return true
		}
	}
}
