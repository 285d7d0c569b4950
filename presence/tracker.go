package presence

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"
)

// A Tracker knows who is here, in which topics, and tells those who watch.
//
// Every method may be called from any goroutine and none of them waits for
// I/O or for a callback. A Tracker owns one goroutine, two more with a Store;
// Shutdown ends them. Deliver functions run one after the other on the first,
// with no lock held: one that blocks delays what others are told, never what
// is true.
type Tracker struct {
	opts     Options
	log      *slog.Logger
	now      func() int64 // nanoseconds; monotonic, and meaningless on another node
	poke     chan struct{}
	quit     chan struct{}
	tasks    sync.WaitGroup
	rep      *replicator // nil without a Store
	fullDebt int64       // the largest debt of a budget of joins, in milliseconds

	// What many watch, on its way to them: run's own.
	later    []delivery
	handed   int   // of later
	part     int   // how many at a time
	nextPart int64 // when the next of them
	lateAt   int64 // when all that are left

	mu      sync.Mutex
	closed  bool
	users   directory
	extras  slab[extra]
	records slab[member] // those beyond a user's first
	topics  map[string]*topic
	latest  *topic        // that topic found
	numbers []*topic      // by topic.number
	unused  []uint32      // numbers of no topic
	away    wheel[*extra] // ends of graces and of heartbeats
	due     wheel[*topic] // the next diffs
	gone    list[*extra]  // remembered, the longest gone first
	version uint64        // of the latest diff of any topic
	sockets int
	here    int // users with a socket or in their grace
	members int // as told
	watches int // open watchers
	out     []delivery
	memo    memo
	bytes   int64 // what all of it costs: the balance with the Account
	asleep  int64 // when the loop wakes by itself
	stats   counters
}

// New starts a Tracker. Its errors name every option that is wrong.
func New(o Options) (*Tracker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	clock := o.clock
	if clock == nil {
		start := time.Now()
		clock = func() time.Duration { return time.Since(start) }
	}
	t := &Tracker{
		opts:   o,
		log:    o.Logger,
		now:    func() int64 { return int64(clock() + time.Hour) }, // never negative
		asleep: math.MaxInt64,
		poke:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		users:  newDirectory(),
		topics: make(map[string]*topic),
	}
	every := (int64(o.FlapEvery) + 1e6 - 1) / 1e6
	t.fullDebt = maxDebt
	if every < maxDebt/int64(o.FlapBurst) {
		t.fullDebt = every * int64(o.FlapBurst)
	}
	at := t.now() / slotTime
	t.away.at, t.due.at = at, at
	if o.Store != nil {
		t.rep = newReplicator(t)
		t.rep.start()
	}
	t.tasks.Go(t.run)
	return t, nil
}

// Shutdown ends the tracker: nothing is delivered after it, no goroutine of t
// is left, and every reserved byte is released. With a Store it first hands
// the users over: the other nodes keep them for a Grace, in which they can
// come back elsewhere. If ctx ends first that is skipped, the lease then does
// the same later, and the error is ctx's. A second call returns ErrClosed.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrClosed
	}
	t.closed = true
	t.mu.Unlock()
	close(t.quit)
	var err error
	if t.rep != nil {
		err = t.rep.stop(ctx)
	}
	t.tasks.Wait()
	t.mu.Lock()
	bytes := t.bytes
	t.bytes = 0
	t.sockets, t.here, t.members, t.watches, t.gone = 0, 0, 0, 0, list[*extra]{}
	t.users, t.extras, t.records = newDirectory(), slab[extra]{}, slab[member]{}
	t.away, t.due = wheel[*extra]{}, wheel[*topic]{}
	for _, tp := range t.topics {
		for _, w := range tp.watch.all {
			w.closed.Store(true)
		}
	}
	clear(t.topics)
	t.latest = nil
	t.mu.Unlock()
	t.release(bytes)
	return err
}

// change runs f with the lock held, after need bytes were reserved, and gives
// back what f did not use. need is the most that f can add to t.bytes.
func (t *Tracker) change(need int64, f func() error) error {
	if err := t.reserve(need); err != nil {
		return err
	}
	t.mu.Lock()
	before := t.bytes
	err := ErrClosed
	if !t.closed {
		err = f()
	}
	used := t.bytes - before
	wake := t.wakeLocked()
	t.mu.Unlock()
	t.release(need - used)
	if wake {
		t.wake()
	}
	return err
}

func (t *Tracker) reserve(n int64) error {
	if t.opts.Account == nil || n <= 0 {
		return nil
	}
	err := t.opts.Account.Reserve(n)
	if err != nil {
		t.mu.Lock()
		t.stats.refused.Memory++
		t.mu.Unlock()
	}
	return err
}

func (t *Tracker) release(n int64) {
	if t.opts.Account != nil && n > 0 {
		t.opts.Account.Release(n)
	}
}

// wakeLocked reports whether the loop sleeps past the next deadline.
func (t *Tracker) wakeLocked() bool {
	next := min(t.away.next(), t.due.next())
	if next >= t.asleep {
		return false
	}
	t.asleep = next // one poke is enough
	return true
}

func (t *Tracker) wake() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}
