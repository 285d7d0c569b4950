package lru

import (
	"sync"
	"sync/atomic"
)

// windowBits is the precision of the window's share of the cache.
const windowBits = 16

// climber tunes the window by hill climbing on the hit ratio, as in
// "Adaptive Software Cache Management" (Einziger et al., Middleware 2018):
// after ten requests for each entry it goes on in the same direction if the
// ratio rose, else turns back, in steps that grow smaller.
type climber struct {
	window atomic.Uint64 // share << windowBits

	mu    sync.Mutex
	step  float64
	ratio float64 // of the last period
	hits  uint64  // until the last period
	total uint64
}

const (
	firstWindow = 0.05
	firstStep   = 0.0625
	leastWindow = 0.01
	mostWindow  = 0.80
	stepDecay   = 0.98
	restartAt   = 0.05 // a change of the ratio that asks for large steps again
	period      = 10   // requests for each entry
)

func (c *climber) share() uint64 { return c.window.Load() }

func (c *climber) start() {
	c.step = -firstStep // most streams want a small window
	c.set(firstWindow)
}

func (c *climber) set(window float64) {
	c.window.Store(uint64(window * (1 << windowBits)))
}

// observe is told the counts so far; it acts once in a period.
func (c *climber) observe(hits, misses uint64, entries int) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	total := hits + misses
	if total < c.total+uint64(entries)*period || total == c.total {
		return
	}
	ratio := float64(hits-c.hits) / float64(total-c.total)
	first := c.total == 0
	change := ratio - c.ratio
	c.hits, c.total, c.ratio = hits, total, ratio
	if first {
		return
	}
	if change < 0 {
		c.step = -c.step
	}
	if change >= restartAt || change <= -restartAt {
		if c.step < 0 {
			c.step = -firstStep
		} else {
			c.step = firstStep
		}
	}
	window := float64(c.share())/(1<<windowBits) + c.step
	c.step *= stepDecay
	c.set(min(max(window, leastWindow), mostWindow))
}
