package lru

import (
	"context"
	"errors"
	"fmt"
)

// GetOrLoadMany returns the values of keys, and loads those that are missing
// by one call of load, which gets each once. A key that load leaves out of
// its map does not exist: it is not in the result either, and is remembered
// if NegativeTTL is set. Keys that somebody else is loading are waited for,
// not loaded again. For the rest it is as GetOrLoad.
//
// If some keys fail, it returns what there is of the others and the joined
// errors.
func (c *Cache[K, V]) GetOrLoadMany(ctx context.Context, keys []K, load func(context.Context, []K) (map[K]V, error)) (map[K]V, error) {
	if load == nil {
		return nil, errNoLoader
	}
	out := make(map[K]V, len(keys))
	var missing []K
	seen := make(map[K]struct{}, len(keys))
	for _, key := range keys {
		if _, ok := seen[key]; ok {
			continue
		}
		if key != key {
			return nil, fmt.Errorf("lru: key %v does not equal itself", key)
		}
		seen[key] = struct{}{}
		switch _, value, what := c.lookup(c.hash(key), key); what {
		case present:
			out[key] = value
		case absent:
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	waits, err := c.beginMany(ctx, missing, load, out)
	errs := []error{err}
	failed := make(map[*call[K, V]]bool)
	for _, w := range waits {
		value, err := c.wait(ctx, w)
		switch {
		case err == nil:
			out[w.key] = value
		case !errors.Is(err, ErrNotFound) && !failed[w.call]:
			failed[w.call] = true // all its keys fail alike
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// beginMany returns what to wait for: loads of others, and one call for all
// keys that nobody loads. What it finds in the cache now it puts into out.
func (c *Cache[K, V]) beginMany(ctx context.Context, missing []K, load func(context.Context, []K) (map[K]V, error), out map[K]V) ([]*watch[K, V], error) {
	slot, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	cl := c.newCall(ctx)
	cl.slot = slot
	var waits []*watch[K, V]
	var own []K
	for _, key := range missing {
		w := &watch[K, V]{call: cl}
		got, value, what := c.attach(c.hash(key), key, w)
		switch {
		case got == w:
			cl.watches = append(cl.watches, w)
			own = append(own, key)
			cl.waiters.Add(1)
			waits = append(waits, w)
		case got != nil:
			waits = append(waits, got)
		case what == present:
			out[key] = value
		case what == absent:
			err = ErrClosed
		}
	}
	// The waiter of newCall was there so that nobody could abandon the call
	// before it ran.
	cl.fetch = func(ctx context.Context) {
		values, err := load(ctx, own)
		for _, w := range cl.watches {
			value, ok := values[w.key]
			switch {
			case err != nil:
				w.err = err
			case !ok:
				w.err = ErrNotFound
			default:
				w.value = value
			}
		}
	}
	if len(own) == 0 {
		cl.cancel(nil)
		if slot {
			<-c.loads.slots
		}
		return waits, err
	}
	go c.run(cl)
	cl.leave()
	return waits, err
}
