package signaling

import (
	"sync"
	"sync/atomic"
)

// budgetChunk is the grain in which the Account is asked, so that it is not
// asked for every message.
const budgetChunk = 64 << 10

// budget bounds the bytes of all queues of a hub.
type budget struct {
	max     int64
	used    atomic.Int64
	account Account

	granted atomic.Int64 // from account, >= used; changed under mu only
	mu      sync.Mutex
}

func (b *budget) reserve(n int64) bool {
	used := b.used.Add(n)
	if used > b.max || b.account != nil && used > b.granted.Load() && !b.grow() {
		b.release(n)
		return false
	}
	return true
}

func (b *budget) grow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := b.used.Load() - b.granted.Load()
	if missing <= 0 {
		return true
	}
	missing = (missing + budgetChunk - 1) / budgetChunk * budgetChunk
	if b.account.Reserve(missing) != nil {
		return false
	}
	b.granted.Add(missing)
	return true
}

func (b *budget) release(n int64) {
	used := b.used.Add(-n)
	if b.account == nil || b.granted.Load()-used < 4*budgetChunk {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if spare := (b.granted.Load() - b.used.Load() - budgetChunk) / budgetChunk * budgetChunk; spare > 0 {
		b.granted.Add(-spare)
		b.account.Release(spare)
	}
}

// close gives everything back to the account.
func (b *budget) close() {
	if b.account == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.granted.Swap(0); n > 0 {
		b.account.Release(n)
	}
}
