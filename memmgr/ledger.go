package memmgr

import (
	"sync"
	"sync/atomic"
	"time"
)

// An account's use and a generation share one word, so that one
// compare-and-swap both takes the bytes and proves that nobody lowered the
// grant since it was read.
const (
	usedBits = 44 // 16 TiB
	usedMask = 1<<usedBits - 1
	genStep  = 1 << usedBits

	// maxBytes bounds every byte count of the ledger.
	maxBytes = 1 << (usedBits - 1)
)

// Account is one named share of a Manager's budget. Reserve before the memory
// is used, Release when it is not used any more; both may be called from any
// goroutine, never block on anything but a short critical section, and do not
// allocate. It has the two methods that every package of this module takes as
// its Account option.
//
// An account below its guaranteed minimum is always granted, whatever the
// others hold and whatever the level. Above it, it takes from the shared rest
// as long as there is some, its own maximum allows it and the level is below
// its FreezeAt.
//
// All methods of a nil *Account are no-ops that grant everything, so that a
// part of a program can be run without a Manager.
type Account struct {
	// Written by every Reserve and Release, so alone on their cache lines.
	_     [64]byte
	word  atomic.Uint64 // generation<<usedBits | used
	grant atomic.Int64  // used may grow up to here without asking the ledger
	_     [48]byte

	ledger   *ledger
	name     string
	min, max int64
	freezeAt Level
	offHeap  bool

	peak     atomic.Int64 // highest use seen by the sampler and the slow path
	refused  [reasons]atomic.Uint64
	over     atomic.Uint64 // bytes released that were never reserved
	errs     [reasons]*LimitError
	baseline int64 // use when the level was last normal; the sampler's
}

// ledger holds what the accounts have not been granted.
type ledger struct {
	chunk    int64 // grants grow and shrink by about this much
	accounts []*Account

	mu     sync.Mutex // guards what is below and every change of a grant
	budget int64
	shared int64 // budget less all grants
	level  Level
}

func newLedger(budget int64, opts []AccountOptions) *ledger {
	l := &ledger{budget: budget, shared: budget}
	for _, o := range opts {
		a := &Account{
			ledger: l, name: o.Name, min: o.Min, max: o.Max,
			freezeAt: o.FreezeAt, offHeap: o.OffHeap,
		}
		for r := range a.errs {
			a.errs[r] = &LimitError{What: o.Name, Reason: Reason(r), Max: o.Max, RetryAfter: time.Second}
		}
		a.errs[ReasonBudget].Max = budget
		a.grant.Store(o.Min)
		l.shared -= o.Min
		l.accounts = append(l.accounts, a)
	}
	l.chunk = min(max(l.shared/1024, 1), 64<<10)
	return l
}

// Reserve takes n bytes from the account, or returns a *LimitError at once
// that says why not; it never waits. Reserving 0 bytes does nothing.
func (a *Account) Reserve(n int64) error {
	if a == nil {
		return nil
	}
	if n >= 0 {
		for {
			w := a.word.Load() // before the grant: lowering a grant ends with a new generation
			if n > a.grant.Load()-int64(w&usedMask) {
				break
			}
			if a.word.CompareAndSwap(w, w+uint64(n)) {
				return nil
			}
		}
	}
	return a.reserveSlow(n)
}

func (a *Account) reserveSlow(n int64) error {
	l := a.ledger
	l.mu.Lock()
	reason, ok := l.growLocked(a, n)
	l.mu.Unlock()
	if !ok {
		a.refused[reason].Add(1)
		return a.errs[reason]
	}
	return nil
}

// growLocked grants a n more bytes if the rules allow it.
func (l *ledger) growLocked(a *Account, n int64) (Reason, bool) {
	if n < 0 || n > maxBytes {
		return ReasonInvalid, false
	}
	for {
		w := a.word.Load()
		used, grant := int64(w&usedMask), a.grant.Load()
		if used+n <= grant {
			if a.word.CompareAndSwap(w, w+uint64(n)) {
				notePeak(&a.peak, used+n)
				return 0, true
			}
			continue
		}
		switch {
		case used+n > a.max:
			return ReasonMax, false
		case l.level >= a.freezeAt:
			return ReasonPressure, false
		}
		need := used + n - grant
		if l.shared < need {
			l.stripLocked(a)
		}
		if l.shared < need {
			return ReasonBudget, false
		}
		take := min((need+l.chunk-1)/l.chunk*l.chunk, a.max-grant, l.shared)
		l.shared -= take
		a.grant.Store(grant + take)
	}
}

// stripLocked takes back what accounts other than skip were granted and do
// not use, so that no refusal is owed to a neighbour's slack.
func (l *ledger) stripLocked(skip *Account) {
	for _, a := range l.accounts {
		if a != skip {
			l.shrinkLocked(a, 0)
		}
	}
}

// shrinkLocked lowers a's grant to its use plus slack, but not below its
// minimum.
func (l *ledger) shrinkLocked(a *Account, slack int64) {
	old := a.grant.Load()
	for {
		w := a.word.Load()
		to := max(a.min, min(int64(w&usedMask)+slack, old))
		if to >= old {
			a.grant.Store(old)
			return
		}
		// First the lower grant, then the new generation: a Reserve that read
		// the old grant has read the old generation too, and fails to swap.
		a.grant.Store(to)
		if a.word.CompareAndSwap(w, w+genStep) {
			l.shared += old - to
			return
		}
	}
}

// Release gives back n bytes that were reserved. Releasing more than is
// reserved is a fault of the caller: the account stays at zero and Stats
// counts the excess.
func (a *Account) Release(n int64) {
	if a == nil || n == 0 {
		return
	}
	if n < 0 || n > maxBytes {
		a.over.Add(1)
		return
	}
	used := int64(a.word.Add(-uint64(n)) & usedMask)
	if used > maxBytes {
		a.releasedTooMuch()
		return
	}
	if g := a.grant.Load(); g > a.min && g-used > 4*a.ledger.chunk {
		a.giveBack()
	}
}

func (a *Account) giveBack() {
	l := a.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.level < a.freezeAt { // frozen, it may go on as it did: up to what it held
		l.shrinkLocked(a, 2*l.chunk)
	}
}

func (a *Account) releasedTooMuch() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	for {
		w := a.word.Load()
		used := w & usedMask
		if used <= maxBytes {
			return // somebody's reservation covered it again
		}
		missing := usedMask + 1 - used
		if a.word.CompareAndSwap(w, w+missing) {
			a.over.Add(missing)
			return
		}
	}
}

// Used returns the bytes that are reserved now.
func (a *Account) Used() int64 {
	if a == nil {
		return 0
	}
	used := int64(a.word.Load() & usedMask)
	if used > maxBytes { // a Release of too much is being repaired
		return 0
	}
	return used
}

// Name returns the name that Options gave the account.
func (a *Account) Name() string {
	if a == nil {
		return ""
	}
	return a.name
}

// setLevel tells the ledger the level. Slack is taken back when it rises, so
// that a frozen account has none to grow into.
func (l *ledger) setLevel(level Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if level > l.level {
		l.stripLocked(nil)
	}
	l.level = level
}

// used sums the accounts: all, and only those that count Go heap.
func (l *ledger) used() (all, heap int64) {
	for _, a := range l.accounts {
		u := a.Used()
		all += u
		if !a.offHeap {
			heap += u
		}
		notePeak(&a.peak, u)
	}
	return all, heap
}

func notePeak(peak *atomic.Int64, v int64) {
	for {
		old := peak.Load()
		if v <= old || peak.CompareAndSwap(old, v) {
			return
		}
	}
}
