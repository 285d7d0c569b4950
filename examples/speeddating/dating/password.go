package dating

import (
	"context"
	"sync/atomic"
)

// hashers bounds how many passwords are hashed at once, and how many wait.
type hashers struct {
	slots   chan struct{}
	waiting *atomic.Int64
}

func newHashers(n int) hashers {
	return hashers{slots: make(chan struct{}, n), waiting: new(atomic.Int64)}
}

// run calls f when there is a free slot. TooMany if eight times as many wait.
func (h hashers) run(ctx context.Context, f func() error) error {
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > int64(9*cap(h.slots)) {
		return refuse(TooMany, "too many people log in just now")
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return unavailable("waiting to hash a password", ctx.Err())
	}
	defer func() { <-h.slots }()
	return f()
}
