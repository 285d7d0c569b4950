package connmgr

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MemoryLedger is a [Ledger] for several Managers in one process.
//
// Its methods may be called concurrently; it owns no goroutine.
type MemoryLedger struct {
	max     int
	mu      sync.Mutex
	holds   map[Hold]*memoryHold
	claims  map[string]*list.List // of *memoryHold, the oldest first
	inboxes map[string]*inbox
}

type memoryHold struct {
	Hold
	expires time.Time
	claims  map[string]*list.Element
}

// An inbox keeps the evictions of one server until they are delivered, the
// latest maxReleases of them.
type inbox struct {
	ids  []string
	more chan struct{} // has room for one
}

// NewMemoryLedger returns a MemoryLedger for at most maxHolds connections,
// which must be positive.
func NewMemoryLedger(maxHolds int) (*MemoryLedger, error) {
	if maxHolds < 1 {
		return nil, fmt.Errorf("connmgr: NewMemoryLedger: maxHolds = %d, want > 0", maxHolds)
	}
	return &MemoryLedger{
		max:     maxHolds,
		holds:   map[Hold]*memoryHold{},
		claims:  map[string]*list.List{},
		inboxes: map[string]*inbox{},
	}, nil
}

// Len returns the number of holds, those included whose lease ended and that
// nobody has looked at since.
func (l *MemoryLedger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.holds)
}

// Acquire implements [Ledger].
func (l *MemoryLedger) Acquire(ctx context.Context, hold Hold, lease time.Duration, claims []Claim) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	h := l.holds[hold]
	if h == nil && len(l.holds) >= l.max {
		for _, other := range l.holds {
			if !other.expires.After(now) {
				l.remove(other)
			}
		}
		if len(l.holds) >= l.max {
			return errors.New("connmgr: memory ledger is full")
		}
	}
	victims := map[*memoryHold]bool{}
	for _, c := range claims {
		if h != nil && h.claims[c.Key] != nil {
			continue
		}
		if err := l.room(h, c, now, victims); err != nil {
			return err
		}
	}
	for v := range victims {
		l.remove(v)
		l.tell(v.Hold)
	}
	if h == nil {
		h = &memoryHold{Hold: hold, claims: map[string]*list.Element{}}
		l.holds[hold] = h
	}
	h.expires = now.Add(lease)
	for _, c := range claims {
		if h.claims[c.Key] == nil {
			if l.claims[c.Key] == nil {
				l.claims[c.Key] = list.New()
			}
			h.claims[c.Key] = l.claims[c.Key].PushBack(h)
		}
	}
	return nil
}

// room adds to victims who must go for c, if c allows that.
func (l *MemoryLedger) room(h *memoryHold, c Claim, now time.Time, victims map[*memoryHold]bool) error {
	holders := l.claims[c.Key]
	if holders == nil {
		if c.Max < 1 {
			return &LedgerError{Key: c.Key, Max: c.Max}
		}
		return nil
	}
	if holders.Len() >= c.Max { // those whose lease ended do not count
		for e := holders.Front(); e != nil; {
			other := e.Value.(*memoryHold)
			e = e.Next()
			if !other.expires.After(now) && other != h {
				l.remove(other)
			}
		}
	}
	n := holders.Len()
	for e := holders.Front(); e != nil; e = e.Next() {
		if victims[e.Value.(*memoryHold)] {
			n--
		}
	}
	for e := holders.Front(); c.Evict && n >= c.Max && e != nil; e = e.Next() {
		if v := e.Value.(*memoryHold); !victims[v] && v != h {
			victims[v] = true
			n--
		}
	}
	if n >= c.Max {
		return &LedgerError{Key: c.Key, Max: c.Max}
	}
	return nil
}

func (l *MemoryLedger) remove(h *memoryHold) {
	delete(l.holds, h.Hold)
	for key, e := range h.claims {
		holders := l.claims[key]
		holders.Remove(e)
		if holders.Len() == 0 {
			delete(l.claims, key)
		}
	}
}

func (l *MemoryLedger) inbox(server string) *inbox {
	b := l.inboxes[server]
	if b == nil {
		b = &inbox{more: make(chan struct{}, 1)}
		l.inboxes[server] = b
	}
	return b
}

func (l *MemoryLedger) tell(h Hold) {
	b := l.inbox(h.Server)
	if len(b.ids) >= maxReleases {
		b.ids = b.ids[1:]
	}
	b.ids = append(b.ids, h.ID)
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// Renew implements [Ledger].
func (l *MemoryLedger) Renew(ctx context.Context, server string, lease time.Duration, ids []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		if h := l.holds[Hold{server, id}]; h != nil {
			h.expires = now.Add(lease)
		}
	}
	return ctx.Err()
}

// Release implements [Ledger].
func (l *MemoryLedger) Release(_ context.Context, server string, ids []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if h := l.holds[Hold{server, id}]; h != nil {
			l.remove(h)
		}
	}
	return nil
}

// Evictions implements [Ledger].
func (l *MemoryLedger) Evictions(ctx context.Context, server string, evicted func(id string)) error {
	l.mu.Lock()
	b := l.inbox(server)
	l.mu.Unlock()
	for {
		l.mu.Lock()
		ids := b.ids
		b.ids = nil
		l.mu.Unlock()
		for _, id := range ids {
			evicted(id)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.more:
		}
	}
}
