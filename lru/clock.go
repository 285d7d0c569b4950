package lru

import (
	"sync/atomic"
	"time"
)

// tick is how often the coarse clock moves while it is in use.
const tick = 16 * time.Millisecond

// clock tells monotonic milliseconds since one millisecond before it was
// made, so that every time is positive.
//
// Reading the system's clock costs as much as a look-up. While the cache is
// read, a timer keeps a coarse time, and a reader asks the system only within
// two ticks of a deadline. Without use the timer stops: the cache owns no
// goroutine. If the timer is late, because the machine is starved, look-ups
// themselves move the coarse time on (see check).
type clock struct {
	base   time.Time
	coarse atomic.Int64 // nanoseconds; 0 while the timer is stopped
	used   atomic.Bool  // since the last tick
	armed  atomic.Bool
}

func (c *clock) start() { c.base = time.Now().Add(-time.Millisecond) }

// now asks the system. It never runs behind the coarse clock.
func (c *clock) now() int64 {
	return max(int64(time.Since(c.base)), c.coarse.Load(), int64(time.Millisecond))
}

// passed reports whether the deadline, in milliseconds, has been reached.
func (c *clock) passed(deadline int64) bool {
	coarse := c.coarse.Load()
	if coarse != 0 && deadline*int64(time.Millisecond)-coarse > 2*int64(tick) {
		if !c.used.Load() {
			c.used.Store(true)
		}
		return false
	}
	return c.passedPrecisely(deadline)
}

func (c *clock) passedPrecisely(deadline int64) bool {
	c.arm()
	return c.now() >= deadline*int64(time.Millisecond)
}

// recent returns a time that is at most a tick or two behind.
func (c *clock) recent() int64 {
	if coarse := c.coarse.Load(); coarse != 0 {
		if !c.used.Load() {
			c.used.Store(true)
		}
		return coarse
	}
	c.arm()
	return c.now()
}

// arm starts the timer, unless it runs.
func (c *clock) arm() {
	if !c.armed.Load() && c.armed.CompareAndSwap(false, true) {
		c.used.Store(true)
		c.coarse.Store(c.now())
		time.AfterFunc(tick, c.onTick)
	}
}

// onTick makes a new timer each time, because one that was made inside a
// synctest bubble could not be used again outside.
func (c *clock) onTick() {
	if !c.used.Swap(false) {
		c.coarse.Store(0)
		c.armed.Store(false)
		return
	}
	c.advance()
	time.AfterFunc(tick, c.onTick)
}

// check moves a coarse clock that has been left behind.
func (c *clock) check() {
	if c.coarse.Load() != 0 {
		c.advance()
	}
}

func (c *clock) advance() {
	for {
		coarse := c.coarse.Load()
		now := c.now()
		if coarse == 0 || coarse >= now || c.coarse.CompareAndSwap(coarse, now) {
			return
		}
	}
}

// deadlineAfter returns the millisecond at which something expires that starts
// now and lives for ttl; 0 means never.
func deadlineAfter(now int64, ttl time.Duration) int64 {
	at := now + int64(ttl)
	if at < now || at > maxDeadline*int64(time.Millisecond) {
		return 0
	}
	return (at + int64(time.Millisecond) - 1) / int64(time.Millisecond)
}
