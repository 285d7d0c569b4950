package signaling

import "sync/atomic"

// spareWorkers is how many goroutines wait for sockets that have something to
// read.
const spareWorkers = 16

// workers serve sockets that have something to read, one each at a time. A
// goroutine that is done waits for another socket: growing the stack of a new
// one costs more than most messages. The wheel sends one of them home with each
// tick, so that none is left when nothing happens.
type workers struct {
	hub   *Hub
	next  chan *socket // without a buffer: to one that waits
	spare atomic.Int32
}

// serve has s served. It does not wait.
func (w *workers) serve(s *socket) {
	select {
	case w.next <- s:
	default:
		w.hub.running.Go(func() { w.run(s) })
	}
}

// run serves s, and others until there are enough that wait.
func (w *workers) run(s *socket) {
	for {
		s.serve()
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
