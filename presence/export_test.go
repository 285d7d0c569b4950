package presence

import "time"

// WithClock makes a tracker live by a clock that is wrong.
func WithClock(o Options, clock func() time.Duration) Options {
	o.clock = clock
	return o
}

// Flush makes and delivers the diff of a topic now. Only for a tracker whose
// Tick is so long that its own goroutine does not.
func (t *Tracker) Flush(name string) {
	now := t.now()
	t.mu.Lock()
	tp := t.topics[name]
	tp.tickAt = now
	t.flush(tp, now)
	t.mu.Unlock()
	t.handAll(t.out)
	t.out = t.out[:0]
}
