package memmgr

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

type collectStats struct {
	count    uint64
	total    time.Duration
	notUntil time.Time
	busy     bool
}

// wantsCollectLocked decides whether the watchdog needs a GC cycle: to see
// whether a level can be left or what a round has brought, or to get garbage
// out of the way of the limit.
func (m *Manager) wantsCollectLocked(now time.Time, level Level) (collect, release bool) {
	w := &m.watch
	c := &w.collected
	if m.o.CollectEvery < 0 || c.busy || now.Before(c.notUntil) || level == Normal {
		return false, false
	}
	for i := range w.readings {
		r := &w.readings[i]
		if r.name == SourceTotal && r.ratio() >= r.own.Leave {
			release = true
		}
	}
	gcs := w.sample.GCCycles
	collect = release || w.ladder.waitsForGC(now, gcs) || w.round.waitsForGC(gcs) ||
		level == Critical && gcs == w.stuck.enteredGC
	c.busy = collect
	return collect, release
}

func (m *Manager) collectLoop(r *running) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case release := <-r.collect:
			start := time.Now()
			if release {
				debug.FreeOSMemory()
			} else {
				runtime.GC()
			}
			d := time.Since(start)
			m.mu.Lock()
			c := &m.watch.collected
			c.busy = false
			c.count++
			c.total += d
			c.notUntil = time.Now().Add(max(m.o.CollectEvery, 20*d))
			m.mu.Unlock()
		}
	}
}

// armGCTrigger makes each end of a GC cycle send on c, until ctx ends.
func armGCTrigger(ctx context.Context, c chan<- struct{}) {
	type mark struct{ _ *byte }
	var arm func(struct{})
	arm = func(struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case c <- struct{}{}:
		default:
		}
		runtime.AddCleanup(&mark{new(byte)}, arm, struct{}{})
	}
	runtime.AddCleanup(&mark{new(byte)}, arm, struct{}{})
}
