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
	all   bool     // something was broadcast
	dirty *[]*Peer // nil if nobody
}

// lists are for as many peers as one flush visits. They are in a pool because
// that lets them go when nothing is flushed for a while.
var lists = sync.Pool{New: func() any { return new([]*Peer) }}

// add has p flushed within the tick.
func (f *flusher) add(p *Peer) {
	f.mu.Lock()
	first := f.dirty == nil && !f.all
	if f.dirty == nil {
		f.dirty = lists.Get().(*[]*Peer)
	}
	*f.dirty = append(*f.dirty, p)
	f.mu.Unlock()
	if first {
		f.rouse()
	}
}

// everyone has every peer flushed within the tick.
func (f *flusher) everyone() {
	f.mu.Lock()
	first := f.dirty == nil && !f.all
	f.all = true
	f.mu.Unlock()
	if first {
		f.rouse()
	}
}

func (f *flusher) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
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
	all, list := f.all, f.dirty
	f.all, f.dirty = false, nil
	f.mu.Unlock()
	if all {
		f.flushAll()
	}
	if list != nil {
		flushList(list)
	}
}

// flushList writes for the peers of a list, which goes back to the pool.
func flushList(list *[]*Peer) {
	for _, p := range *list {
		p.flush()
	}
	clear(*list)
	*list = (*list)[:0]
	lists.Put(list)
}

// flushAll gives every peer what was broadcast, and writes.
func (f *flusher) flushAll() {
	h := f.hub
	n := h.lane.next.Load()
	walk := lists.Get().(*[]*Peer)
	h.mu.Lock()
	*walk = append(*walk, h.list...)
	h.mu.Unlock()
	flushList(walk)
	h.lane.trim(h, n)
}

// flush has what waits for p written, unless somebody is at it.
func (p *Peer) flush() {
	p.mu.Lock()
	p.dirty = true // what follows is this flush's work
	err := p.hearLocked()
	p.dirty = false
	s := p.sock
	if err != nil || s == nil || s.writing || s.dead || !s.hasWorkLocked() {
		p.mu.Unlock()
		p.tooSlow(err)
		return
	}
	s.writing = true
	s.beginUnlock()
}
