package signaling

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// spareWorkers is how many goroutines wait for sockets that have something to
// read.
const spareWorkers = 16

// workers serve sockets that have something to read, one each at a time. A
// goroutine that is done takes the next socket that is ready, or waits for one:
// to switch to another, or to grow the stack of a new one, costs more than most
// messages. The wheel sends one of them home with each tick, so that none is
// left when nothing happens.
type workers struct {
	hub   *Hub
	next  chan *socket // without a buffer: to one that waits
	spare atomic.Int32

	mu    sync.Mutex
	ready []*socket // nobody serves them yet
	taken int       // of ready
}

// add has sockets served after the next call of start.
func (w *workers) add(sockets []*socket) {
	w.mu.Lock()
	w.ready = append(w.ready, sockets...)
	w.mu.Unlock()
}

// start has those served that are ready. One goroutine may serve all of them.
// But when the scheduler comes back here and some are left, that one is stuck
// with a slow handler, or there are more processors: another one helps.
func (w *workers) start() {
	for s := w.take(); s != nil; s = w.take() {
		w.serve(s)
		runtime.Gosched()
	}
}

// take returns one that is ready, or nil.
func (w *workers) take() *socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken == len(w.ready) {
		return nil
	}
	s := w.ready[w.taken]
	w.ready[w.taken] = nil
	if w.taken++; w.taken == len(w.ready) {
		w.ready, w.taken = w.ready[:0], 0
	}
	return s
}

// serve has s served. It does not wait.
func (w *workers) serve(s *socket) {
	select {
	case w.next <- s:
	default:
		w.hub.running.Go(func() { w.run(s) })
	}
}

// run serves s, then what is ready, and waits for more unless enough do.
func (w *workers) run(s *socket) {
	for {
		for ; s != nil; s = w.take() {
			s.serve()
		}
		if w.spare.Add(1) > spareWorkers {
			w.spare.Add(-1)
			return
		}
		select {
		case s = <-w.next:
			w.spare.Add(-1)
			if s == nil {
				return
			}
		case <-w.hub.stop:
			return
		}
	}
}

// dismiss ends one that waits. Who is missed is started again.
func (w *workers) dismiss() {
	select {
	case w.next <- nil:
	default:
	}
}
