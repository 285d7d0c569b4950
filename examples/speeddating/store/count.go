package store

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// counters count what the database was asked. The zero value is ready.
type counters struct {
	statements, transactions, refused, retries, errors atomic.Uint64

	mu      sync.Mutex
	seconds [60]struct {
		unix int64
		n    uint64
	}
}

// statement counts one, and remembers in which second it was.
func (c *counters) statement() {
	c.statements.Add(1)
	now := time.Now().Unix()
	c.mu.Lock()
	s := &c.seconds[now%60]
	if s.unix != now {
		s.unix, s.n = now, 0
	}
	s.n++
	c.mu.Unlock()
}

func (c *counters) lastMinute() (n uint64) {
	now := time.Now().Unix()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seconds {
		if now-s.unix < 60 {
			n += s.n
		}
	}
	return n
}

func (c *counters) stats() dating.StoreStats {
	return dating.StoreStats{
		Statements:   c.statements.Load(),
		PerMinute:    float64(c.lastMinute()),
		Transactions: c.transactions.Load(),
		Refused:      c.refused.Load(),
		Retries:      c.retries.Load(),
		Errors:       c.errors.Load(),
	}
}
