package lru

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// ErrNotFound is what a loader returns, wrapped or not, for a key that does
// not exist. With NegativeTTL set the cache remembers it.
var ErrNotFound = errors.New("lru: not found")

// ErrLoadCycle is returned to a loader that asks, by its context, for a key
// whose load waits for that loader itself.
var ErrLoadCycle = errors.New("lru: load waits for itself")

// ErrLoaderExited is returned if a loader ended its goroutine by
// runtime.Goexit.
var ErrLoaderExited = errors.New("lru: loader called runtime.Goexit")

// errAbandoned is the cause of a loader's cancelled context when no caller
// waits for it any more.
var errAbandoned = errors.New("lru: no caller waits for this load")

// A PanicError is what callers of a load get whose loader panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // of the loader
}

// Error returns the value of the panic.
func (e *PanicError) Error() string { return fmt.Sprintf("lru: loader panicked: %v", e.Value) }

// Unwrap returns Value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// call is one call of a loader, on a goroutine of its own, for one key or
// many. Its context keeps the values of the context that started it, but not
// its end: it is cancelled when no caller waits any more, or by Close.
type call[K comparable, V any] struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	fetch   func(context.Context) // sets value and err of the watches
	watches []*watch[K, V]
	waiters atomic.Int64
	refresh bool
	slot    bool // it holds one of MaxLoads
	done    chan struct{}
	waits   map[*call[K, V]]int // calls that its loader waits for; guarded by loads.mu
}

// join adds a waiter unless the call is abandoned.
func (cl *call[K, V]) join() bool {
	for {
		n := cl.waiters.Load()
		if n == 0 {
			return false
		}
		if cl.waiters.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave takes a waiter away.
func (cl *call[K, V]) leave() {
	if cl.waiters.Add(-1) == 0 {
		cl.cancel(errAbandoned)
	}
}

// loads is the part of a cache that knows the loader calls under way.
type loads[K comparable, V any] struct {
	slots                    chan struct{}
	count, failed, refreshes atomic.Uint64

	mu    sync.Mutex
	calls map[*call[K, V]]struct{}
}

func (l *loads[K, V]) start(most int) {
	l.slots = make(chan struct{}, most)
	l.calls = make(map[*call[K, V]]struct{})
}

// register counts cl among the calls under way, unless the cache is closed:
// Close sets closed first and then cancels what it finds here.
func (l *loads[K, V]) register(cl *call[K, V], closed *atomic.Bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if closed.Load() {
		return false
	}
	l.calls[cl] = struct{}{}
	return true
}

func (l *loads[K, V]) running() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}

func (l *loads[K, V]) all() []*call[K, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*call[K, V], 0, len(l.calls))
	for call := range l.calls {
		all = append(all, call)
	}
	return all
}

// block notes that waiter's loader waits for cl, unless cl waits for waiter.
func (l *loads[K, V]) block(waiter, cl *call[K, V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cl.waitsFor(waiter) {
		return false
	}
	if waiter.waits == nil {
		waiter.waits = make(map[*call[K, V]]int)
	}
	waiter.waits[cl]++
	return true
}

func (l *loads[K, V]) unblock(waiter, cl *call[K, V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiter.waits[cl]--; waiter.waits[cl] == 0 {
		delete(waiter.waits, cl)
	}
}

func (cl *call[K, V]) waitsFor(other *call[K, V]) bool {
	if cl == other {
		return true
	}
	for next := range cl.waits {
		if next.waitsFor(other) {
			return true
		}
	}
	return false
}

// callKey marks the context of a cache's loader.
type callKey struct{ cache any }

// callOf returns the call of c whose loader got ctx, or nil.
func (c *Cache[K, V]) callOf(ctx context.Context) *call[K, V] {
	cl, _ := ctx.Value(callKey{c}).(*call[K, V])
	return cl
}

// newCall makes a call that its caller waits for. It still has to run.
func (c *Cache[K, V]) newCall(ctx context.Context) *call[K, V] {
	cl := &call[K, V]{done: make(chan struct{})}
	cl.ctx, cl.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	cl.ctx = context.WithValue(cl.ctx, callKey{c}, cl)
	cl.waiters.Store(1)
	return cl
}

// run calls the loader, stores what it returned and wakes the waiters.
func (c *Cache[K, V]) run(cl *call[K, V]) {
	returned := false
	defer func() {
		if !returned {
			err := ErrLoaderExited
			if p := recover(); p != nil {
				err = &PanicError{Value: p, Stack: debug.Stack()}
			}
			for _, w := range cl.watches {
				w.err = err
			}
		}
		c.finish(cl)
	}()
	cl.fetch(cl.ctx)
	returned = true
}

// finish wakes the waiters whatever the callbacks do that keep runs.
func (c *Cache[K, V]) finish(cl *call[K, V]) {
	defer func() {
		c.loads.mu.Lock()
		delete(c.loads.calls, cl)
		c.loads.mu.Unlock()
		if cl.slot {
			<-c.loads.slots
		}
		close(cl.done)
	}()
	cl.cancel(nil)
	c.keepAll(cl, cl.watches)
}

// keepAll goes on with the others if a callback exits the goroutine.
func (c *Cache[K, V]) keepAll(cl *call[K, V], watches []*watch[K, V]) {
	next := 0
	defer func() {
		if next < len(watches) {
			c.keepAll(cl, watches[next:])
		}
	}()
	for next < len(watches) {
		next++
		c.keep(cl, watches[next-1])
	}
}

// keep stores what was loaded for w, unless it is out of date. The panic of a
// Size or OnEvict function is handed to those who wait.
func (c *Cache[K, V]) keep(cl *call[K, V], w *watch[K, V]) {
	h := c.hash(w.key)
	defer func() {
		if p := recover(); p != nil {
			w.err = &PanicError{Value: p, Stack: debug.Stack()}
		}
		s := c.shard(h)
		s.mu.Lock()
		s.unwatch(w)
		s.mu.Unlock()
	}()
	c.loads.count.Add(1)
	if cl.refresh {
		c.loads.refreshes.Add(1)
	}
	switch {
	case w.err == nil:
		c.put(h, w.key, w.value, write[K, V]{by: w})
	case !errors.Is(w.err, ErrNotFound):
		c.loads.failed.Add(1)
		if c.closed.Load() && errors.Is(w.err, context.Canceled) {
			w.err = ErrClosed
		}
	case c.opts.NegativeTTL > 0:
		c.put(h, w.key, *new(V), write[K, V]{ttl: c.opts.NegativeTTL, negative: true, by: w})
	case cl.refresh:
		c.deleteIf(h, w.key, Deleted, w)
	}
}
