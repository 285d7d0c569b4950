package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	gatherRounds = 4   // under way at once, of one kind
	gatherKeys   = 256 // in one round
	gatherWaits  = 8   // times Options.Queue: keys that may wait
)

// gather asks for many keys in one statement when many ask at once: when a server
// dies, all its people come to the others in the same second. A round begins
// at once while fewer than gatherRounds are under way; who comes after that is in
// the next one. So nobody waits for company, and a round never tells what was
// so before one asked.
type gather[K comparable, V any] struct {
	fetch func(ctx context.Context, keys []K) (map[K]V, error)
	most  int            // keys that may wait
	full  *atomic.Uint64 // counts who was refused

	mu       sync.Mutex
	underWay int
	waiting  []*round[K, V] // all but the last are full
	waits    int            // keys in waiting
}

// round is one statement. What it got is there when done is closed.
type round[K comparable, V any] struct {
	keys []K
	got  map[K]V
	err  error
	done chan struct{}
}

// get gives what there is for key. Two that ask for the same may share it.
func (g *gather[K, V]) get(ctx context.Context, key K) (v V, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	r, err := g.join(key)
	if err != nil {
		return v, false, err
	}
	select {
	case <-r.done:
		v, ok = r.got[key]
		return v, ok, r.err
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

func (g *gather[K, V]) join(key K) (*round[K, V], error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.underWay < gatherRounds {
		g.underWay++
		r := &round[K, V]{keys: []K{key}, done: make(chan struct{})}
		go g.run(r)
		return r, nil
	}
	if g.waits >= g.most {
		g.full.Add(1)
		return nil, ErrFull
	}
	g.waits++
	if n := len(g.waiting); n > 0 && len(g.waiting[n-1].keys) < gatherKeys {
		r := g.waiting[n-1]
		r.keys = append(r.keys, key)
		return r, nil
	}
	r := &round[K, V]{keys: []K{key}, done: make(chan struct{})}
	g.waiting = append(g.waiting, r)
	return r, nil
}

// run asks for one round after the other until none waits.
func (g *gather[K, V]) run(r *round[K, V]) {
	for r != nil {
		// Nobody's own context: the others go on when one has given up.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r.got, r.err = g.fetch(ctx, r.keys)
		cancel()
		close(r.done)
		g.mu.Lock()
		r = nil
		if len(g.waiting) > 0 {
			r = g.waiting[0]
			g.waiting[0] = nil
			g.waiting = g.waiting[1:]
			g.waits -= len(r.keys)
		} else {
			g.underWay--
		}
		g.mu.Unlock()
	}
}
