package lru

import (
	"context"
	"errors"
)

// ErrClosed is returned by loads after Close, and by those that it cut off.
var ErrClosed = errors.New("lru: cache is closed")

// Close empties the cache and cancels the context of every loader call; their
// callers get ErrClosed. After it Get finds nothing, Set refuses, and loads
// return ErrClosed. Close may be called anywhere and any number of times. It
// does not wait for loaders: Shutdown does.
func (c *Cache[K, V]) Close() {
	c.closed.Store(true)
	for _, call := range c.loads.all() {
		call.cancel(ErrClosed)
	}
	c.Purge()
}

// Shutdown closes the cache and waits for its loader calls to return, until
// ctx ends; then it returns the context's error. Called by a loader with the
// loader's context, it does not wait for that one.
func (c *Cache[K, V]) Shutdown(ctx context.Context) error {
	c.Close()
	self := c.callOf(ctx)
	for _, call := range c.loads.all() {
		if call == self {
			continue
		}
		select {
		case <-call.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
