package presence

import "time"

// WithClock makes a tracker live by a clock that is wrong.
func WithClock(o Options, clock func() time.Duration) Options {
	o.clock = clock
	return o
}

// Manual ends the tracker's own goroutine: only Flush makes diffs from here on.
func (t *Tracker) Manual() {
	close(t.quit)
	t.tasks.Wait()
	t.quit = make(chan struct{}) // for Shutdown
	t.handAll(t.later[t.handed:])
	t.later, t.handed = t.later[:0], 0
}

// Flush makes the diff of a topic of a Manual tracker and hands it to all at once.
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
