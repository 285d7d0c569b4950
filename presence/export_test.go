package presence

import "time"

// WithClock makes a tracker live by a clock that is wrong.
func WithClock(o Options, clock func() time.Duration) Options {
	o.clock = clock
	return o
}
