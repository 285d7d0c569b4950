// Package lru is a bounded cache with scan-resistant or strict LRU eviction,
// expiry and loading, whose readers take no lock.
//
// Use it for what is costly to get and may be forgotten: rows of a database,
// sessions, rendered pages. Do not use it for what must not be lost, for what
// the program could hold in full without a bound, or for a handful of entries
// under a lock that their owner holds anyway (there simplelru, on which Strict
// is built, does).
//
// # Quick start
//
//	users, err := lru.New(lru.Options[string, *User]{
//		MaxEntries: 10_000,
//		TTL:        5 * time.Minute,
//	})
//	…
//	user, err := users.GetOrLoad(ctx, id, store.User)
//
// # Memory
//
// A cache never holds more than MaxEntries, nor more than MaxBytes if it is
// given a Size function; both hold at every instant, since a writer takes its
// share of the bound before its entry becomes visible. Beside key and value an
// entry costs at most 64 bytes, 80 with Size, Sliding or RefreshAfter, 210 with
// Strict (TestBudget holds that; 16 of it are the string header of such a key),
// fresh or after any churn. Index and rings grow with the entries, so that a
// large bound alone costs little. Trim and Resize give memory back in steps of
// well below a millisecond (BenchmarkTrim prints them). With an Account every
// entry is reserved there before it is stored and released when it goes.
//
// How a cache is cut into shards is settled by New's MaxEntries. One that is
// made for a million entries and resized to a hundred works, but evicts less
// wisely than one made for a hundred.
//
// A Set that replaces a value allocates nothing if V is a pointer, map,
// channel, function or a number of one machine word; otherwise, and for a new
// entry, it allocates the entry alone.
//
// # Concurrency
//
// Everything may be called from everywhere, callbacks and loaders included: no
// lock is held while they run. A hit of the default policy is a hash, two or
// three cache lines, and a write only while the entry is not yet known to be
// hot. Strict takes one mutex for each look-up; it is for callers to whom the
// exact order matters more than speed; All and Sweep copy its whole list.
//
// A cache owns no goroutine, except for each loader call while that runs. The
// timer behind the coarse clock is armed only while entries with a deadline
// are read. An entry is never gone before its time, and is served at most one
// millisecond after it (a tick of 16 ms later if it is sliding), or later only
// by as much as a starved machine delays the timer.
//
// # Overload
//
// A full cache evicts: Stats.Evictions counts by reason, and OnEvict sees each
// value. An entry larger than the cache, a NaN key, or one for which the
// Account has no memory is refused alone; Stats.Refused counts those. Loader
// calls are bounded by MaxLoads, and those that ask for one more wait, within
// their context.
//
// # Errors
//
// New and Resize name every fault of their arguments. Loads return what the
// loader returned, or ErrNotFound, ErrClosed, ErrLoadCycle, ErrLoaderExited, a
// *PanicError, or the cause of the caller's context.
package lru
