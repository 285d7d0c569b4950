package signaling

import (
	"sync"
	"time"
)

// flusher writes for all peers that got a message within one tick, so that
// what comes together goes out in one write.
type flusher struct {
	hub   *Hub
	every time.Duration
	wake  chan struct{} // one slot

	mu    sync.Mutex
	dirty []*Peer
	spare []*Peer
}

func (f *flusher) add(p *Peer) {
	f.mu.Lock()
	f.dirty = append(f.dirty, p)
	first := len(f.dirty) == 1
	f.mu.Unlock()
	if first {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// run flushes until stop is closed.
func (f *flusher) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-f.wake:
		}
		if f.every > 0 {
			time.Sleep(f.every)
		}
		f.flush()
	}
}

func (f *flusher) flush() {
	f.mu.Lock()
	list := f.dirty
	f.dirty = f.spare[:0]
	f.mu.Unlock()
	for i, p := range list {
		p.flush()
		list[i] = nil
	}
	f.mu.Lock()
	f.spare = nil
	if cap(list) <= 1<<16 {
		f.spare = list[:0]
	}
	f.mu.Unlock()
}

// flush has what waits for p written, unless somebody is at it.
func (p *Peer) flush() {
	p.mu.Lock()
	p.dirty = false
	s := p.sock
	if s == nil || s.writing || s.dead || !s.hasWorkLocked() {
		p.mu.Unlock()
		return
	}
	s.writing = true
	p.mu.Unlock()
	if s.parked {
		s.pump()
	} else {
		p.hub.running.Go(s.pump)
	}
}
