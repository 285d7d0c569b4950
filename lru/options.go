package lru

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Never, as a time to live, means that the entry does not expire.
const Never time.Duration = math.MaxInt64

// A Policy chooses which entry leaves a full cache.
type Policy uint8

const (
	// Adaptive resists scans: a new entry stays only if its key was wanted
	// more often than that of the entry that would have to go for it. Reads
	// take no lock. It is the default.
	Adaptive Policy = iota
	// Strict evicts the least recently used entry, exactly; it is
	// golang-lru's simplelru under one mutex, which reads take too.
	Strict
)

// Account is asked for memory before it is used. A *memmgr.Account is one.
type Account interface {
	Reserve(bytes int64) error // an error at once, never waits
	Release(bytes int64)
}

// Options configures New. It is copied and never changed later.
type Options[K comparable, V any] struct {
	// MaxEntries bounds the number of entries. Required, 1 … 1<<31-1.
	MaxEntries int

	// MaxBytes bounds the sum of Size over all entries. It goes with Size:
	// either both are set or none.
	MaxBytes int64

	// Size returns the bytes that an entry holds beside its slot in the
	// cache, such as len(value). It is called once for each write, with no
	// lock held. A negative result refuses the entry.
	Size func(K, V) int64

	// TTL is how long an entry lives after it was written; zero: for ever.
	// Deadlines are kept in milliseconds, rounded up.
	TTL time.Duration

	// Sliding makes each hit start the entry's time to live again.
	Sliding bool

	// Policy is Adaptive unless set to Strict.
	Policy Policy

	// NegativeTTL is how long GetOrLoad remembers that a loader returned
	// ErrNotFound; zero: not at all. Such an entry counts toward MaxEntries.
	NegativeTTL time.Duration

	// RefreshAfter, if set, makes a hit of GetOrLoad on an entry older than
	// this load it anew in the background, while the old value is served.
	// It excludes Sliding and must be below TTL if that is set.
	RefreshAfter time.Duration

	// MaxLoads bounds the loader calls under way at once; a further
	// GetOrLoad waits for a free one, within its context. Zero: 1024.
	MaxLoads int

	// OnEvict, if set, is called exactly once for each value that has left
	// the cache, on the goroutine that caused it, with no lock held: it may
	// call the cache.
	OnEvict func(K, V, Reason)

	// Account, if set, is asked before an entry is stored and given back
	// exactly that much when the entry goes: its Size and the cache's own
	// overhead for one entry. If it refuses, the cache evicts own entries
	// until it agrees, or else does not store.
	Account Account
}

// withDefaults reports every fault of o at once.
func (o Options[K, V]) withDefaults() (Options[K, V], error) {
	var errs []error
	fault := func(field string, value any, want string) {
		errs = append(errs, fmt.Errorf("lru: Options.%s = %v, want %s", field, value, want))
	}
	if o.MaxEntries <= 0 || int64(o.MaxEntries) > math.MaxInt32 {
		fault("MaxEntries", o.MaxEntries, "1 … 1<<31-1")
	}
	switch {
	case o.Size == nil && o.MaxBytes != 0:
		fault("Size", "nil", "a function, because MaxBytes is set")
	case o.Size != nil && o.MaxBytes <= 0:
		fault("MaxBytes", o.MaxBytes, "> 0, because Size is set")
	}
	if o.TTL < 0 {
		fault("TTL", o.TTL, ">= 0")
	}
	if o.NegativeTTL < 0 {
		fault("NegativeTTL", o.NegativeTTL, ">= 0")
	}
	if o.Policy > Strict {
		fault("Policy", o.Policy, "Adaptive or Strict")
	}
	if o.Sliding && o.TTL == 0 {
		fault("Sliding", o.Sliding, "a TTL with it")
	}
	switch {
	case o.RefreshAfter < 0:
		fault("RefreshAfter", o.RefreshAfter, ">= 0")
	case o.RefreshAfter > 0 && o.Sliding:
		fault("RefreshAfter", o.RefreshAfter, "0 with Sliding")
	case o.RefreshAfter > 0 && o.TTL > 0 && o.RefreshAfter >= o.TTL:
		fault("RefreshAfter", o.RefreshAfter, "below TTL")
	}
	if o.MaxLoads < 0 {
		fault("MaxLoads", o.MaxLoads, ">= 0")
	}
	if o.MaxLoads == 0 {
		o.MaxLoads = 1024
	}
	return o, errors.Join(errs...)
}
