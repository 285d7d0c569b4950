package lru

import "strconv"

// A Reason says why an entry left the cache.
type Reason uint8

const (
	// Capacity: MaxEntries was reached and the policy chose this entry.
	Capacity Reason = iota
	// Bytes: MaxBytes was reached, or the Account refused more memory.
	Bytes
	// Expired: its time to live was over.
	Expired
	// Replaced: another value was written under its key.
	Replaced
	// Deleted: Delete, Compute with OpDelete, or a refresh that found nothing.
	Deleted
	// Trimmed: Trim or Resize took the memory back.
	Trimmed
	// Purged: Purge or Close emptied the cache.
	Purged

	reasons = int(Purged) + 1
)

// String returns the reason's name in lower case.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "Reason(" + strconv.Itoa(int(r)) + ")"
}

var reasonNames = [reasons]string{"capacity", "bytes", "expired", "replaced", "deleted", "trimmed", "purged"}

// removal is one entry that has left the cache and is to be reported.
type removal[K comparable, V any] struct {
	key    K
	value  V
	reason Reason
}

// effects collects, under a shard's lock, what has to happen after it.
type effects[K comparable, V any] struct {
	removals []removal[K, V]
	release  int64 // bytes to give back to the Account
}

// settle does what fx collected. No lock may be held.
func (c *Cache[K, V]) settle(fx *effects[K, V]) {
	if fx.release > 0 && c.opts.Account != nil {
		c.opts.Account.Release(fx.release)
	}
	fx.release = 0
	if len(fx.removals) > 0 {
		list := fx.removals
		fx.removals = nil
		c.notify(list)
	}
}

// notify calls OnEvict for each removal. One that panics or exits its
// goroutine does not keep the others from being reported.
func (c *Cache[K, V]) notify(list []removal[K, V]) {
	next := 0
	defer func() {
		if next < len(list) {
			c.notify(list[next:])
		}
	}()
	for next < len(list) {
		r := list[next]
		next++
		c.opts.OnEvict(r.key, r.value, r.reason)
	}
}
