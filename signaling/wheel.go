package signaling

import (
	"sync"
	"time"
)

const wheelSlots = 256

// wheel calls each peer when its next deadline comes: one goroutine and eight
// bytes a peer instead of a timer each.
type wheel struct {
	hub  *Hub
	tick time.Duration

	mu    sync.Mutex
	now   int64 // ticks done
	slots [wheelSlots][]*Peer
}

// newWheel picks a tick fine enough for the shortest of the deadlines.
func newWheel(h *Hub, shortest time.Duration) *wheel {
	return &wheel{hub: h, tick: min(max(shortest/8, 5*time.Millisecond), 250*time.Millisecond)}
}

// set has p.due called at the given time, or a little later, and no longer at
// any other time.
func (w *wheel) set(p *Peer, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removeLocked(p)
	tick := min(max(int64(at/w.tick)+1, w.now+1), w.now+wheelSlots-1)
	slot := tick % wheelSlots
	p.slot, p.ix = int32(slot), int32(len(w.slots[slot]))
	w.slots[slot] = append(w.slots[slot], p)
}

func (w *wheel) remove(p *Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removeLocked(p)
}

func (w *wheel) removeLocked(p *Peer) {
	if p.slot < 0 {
		return
	}
	list := w.slots[p.slot]
	last := len(list) - 1
	list[p.ix] = list[last]
	list[p.ix].ix = p.ix
	list[last] = nil
	if w.slots[p.slot] = list[:last]; last == 0 && cap(list) > 8 {
		w.slots[p.slot] = nil
	}
	p.slot = -1
}

// run turns the wheel until stop is closed.
func (w *wheel) run(stop <-chan struct{}) {
	t := time.NewTicker(w.tick)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		now := w.hub.now()
		for w.turn(now) {
		}
		w.hub.workers.dismiss()
	}
}

// turn does the next tick if its time has come.
func (w *wheel) turn(now time.Duration) bool {
	w.mu.Lock()
	if time.Duration(w.now+1)*w.tick > now {
		w.mu.Unlock()
		return false
	}
	w.now++
	list := w.slots[w.now%wheelSlots]
	w.slots[w.now%wheelSlots] = nil
	for _, p := range list {
		p.slot = -1
	}
	w.mu.Unlock()
	for _, p := range list {
		p.due(now)
	}
	return true
}
