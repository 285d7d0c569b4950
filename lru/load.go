package lru

import (
	"context"
	"errors"
)

var errNoLoader = errors.New("lru: loader is nil")

// GetOrLoad returns the value of key, and loads it if there is none.
//
// Any number of callers that ask for one key at once share one call of load,
// and get its value or error alike; a panic becomes a *PanicError. An error
// is not kept, except ErrNotFound if NegativeTTL is set. A Set, Delete or
// Purge during the load wins: then those who waited get what was loaded, but
// it is not stored.
//
// A caller whose ctx ends returns its cause at once and leaves the load to the
// others. load runs on a goroutine of its own, with a context that has the
// values of the first caller's ctx and ends when nobody waits any more or the
// cache is closed. Asking, with that context, for a key that waits for this
// load returns ErrLoadCycle.
//
// Errors: those of load, *PanicError, ErrLoaderExited, ErrLoadCycle,
// ErrNotFound, ErrClosed, and the cause of ctx.
func (c *Cache[K, V]) GetOrLoad(ctx context.Context, key K, load func(context.Context, K) (V, error)) (V, error) {
	var zero V
	if load == nil {
		return zero, errNoLoader
	}
	h := c.hash(key)
	n, value, what := c.lookup(h, key)
	switch what {
	case present:
		if c.opts.RefreshAfter > 0 && c.dueForRefresh(n) {
			c.refresh(ctx, h, key, load)
		}
		return value, nil
	case negative:
		return zero, ErrNotFound
	}
	if key != key {
		return load(ctx, key) // nobody can ask for the same key
	}
	one := func(w *watch[K, V]) *call[K, V] {
		cl := c.newCall(ctx)
		cl.watches = []*watch[K, V]{w}
		cl.fetch = func(ctx context.Context) { w.value, w.err = load(ctx, key) }
		return cl
	}
	return c.loadOne(ctx, h, key, one)
}

func (c *Cache[K, V]) loadOne(ctx context.Context, h uint64, key K, start func(*watch[K, V]) *call[K, V]) (V, error) {
	var zero V
	w, value, what := c.attach(h, key, nil)
	if w == nil && what == absent {
		slot, err := c.slot(ctx)
		if err != nil {
			return zero, err
		}
		w = &watch[K, V]{}
		w.call = start(w)
		w.call.slot = slot
		if w, value, what = c.begin(h, key, w); w == nil && what == absent {
			return zero, ErrClosed
		}
	}
	switch {
	case what == present:
		return value, nil
	case what == negative:
		return zero, ErrNotFound
	}
	return c.wait(ctx, w)
}

// slot waits for one of MaxLoads. A loader that loads has one already.
func (c *Cache[K, V]) slot(ctx context.Context) (bool, error) {
	if c.callOf(ctx) != nil {
		return false, nil
	}
	select {
	case c.loads.slots <- struct{}{}:
		return true, nil
	default:
	}
	select {
	case c.loads.slots <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// begin runs w's call, unless key can be had without.
func (c *Cache[K, V]) begin(h uint64, key K, w *watch[K, V]) (*watch[K, V], V, found) {
	cl := w.call
	got, value, what := c.attach(h, key, w)
	if got == w {
		go c.run(cl)
		return got, value, what
	}
	cl.cancel(nil)
	if cl.slot {
		<-c.loads.slots
	}
	return got, value, what
}

// attach looks for key once more, under the lock: in the cache, then among
// the loads under way, which it joins. Else it registers w, if that is not
// nil and the cache is open.
func (c *Cache[K, V]) attach(h uint64, key K, w *watch[K, V]) (*watch[K, V], V, found) {
	var zero V
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.find(h, key); n != nil && !c.expired(n) {
		if n.meta.Load()&negativeBit != 0 {
			return nil, zero, negative
		}
		return nil, n.load(c.word), present
	}
	for other := s.watches[key]; other != nil; other = other.next {
		if other.call != nil && !other.superseded && other.call.join() {
			return other, zero, absent
		}
	}
	if w == nil || !c.loads.register(w.call, &c.closed) {
		return nil, zero, absent
	}
	s.watch(key, w)
	return w, zero, absent
}

// wait returns what w's call loaded for it.
func (c *Cache[K, V]) wait(ctx context.Context, w *watch[K, V]) (V, error) {
	var zero V
	if self := c.callOf(ctx); self != nil {
		if !c.loads.block(self, w.call) {
			w.call.leave()
			return zero, ErrLoadCycle
		}
		defer c.loads.unblock(self, w.call)
	}
	cut := w.call.ctx.Done() // by Close, or at the end
	for {
		select {
		case <-w.call.done:
			return w.value, w.err
		case <-ctx.Done():
			w.call.leave()
			return zero, context.Cause(ctx)
		case <-cut:
			if context.Cause(w.call.ctx) == ErrClosed {
				return zero, ErrClosed
			}
			cut = nil
		}
	}
}

// dueForRefresh reports whether the caller shall load n's key anew. Only one
// is told so, and the next one no sooner than RefreshAfter later.
func (c *Cache[K, V]) dueForRefresh(n *node[K, V]) bool {
	at := &n.wide().extra
	due := at.Load()
	if due > c.clock.recent() {
		return false
	}
	return at.CompareAndSwap(due, c.clock.now()+int64(c.opts.RefreshAfter))
}

// refresh loads key in the background, if one of MaxLoads is free and no load
// of it is under way.
func (c *Cache[K, V]) refresh(ctx context.Context, h uint64, key K, load func(context.Context, K) (V, error)) {
	select {
	case c.loads.slots <- struct{}{}:
	default:
		return
	}
	w := &watch[K, V]{}
	cl := c.newCall(ctx)
	cl.refresh, cl.slot = true, true
	cl.watches = []*watch[K, V]{w}
	cl.fetch = func(ctx context.Context) { w.value, w.err = load(ctx, key) }
	w.call = cl

	s := c.shard(h)
	s.mu.Lock()
	started := s.watches[key] == nil && c.loads.register(cl, &c.closed)
	if started {
		s.watch(key, w)
	}
	s.mu.Unlock()
	if !started {
		cl.cancel(nil)
		<-c.loads.slots
		return
	}
	go c.run(cl)
}
