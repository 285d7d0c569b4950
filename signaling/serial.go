package signaling

import "sync"

// serial runs functions one at a time, in the order in which they came.
type serial struct {
	mu      sync.Mutex
	busy    bool
	waiting []func()
}

// run runs fn in its turn and returns after it. It must not be called from
// within a function that s runs.
func (s *serial) run(fn func()) {
	s.mu.Lock()
	if s.busy {
		done := make(chan struct{})
		s.waiting = append(s.waiting, func() { fn(); close(done) })
		s.mu.Unlock()
		<-done
		return
	}
	s.busy = true
	s.mu.Unlock()
	fn()
	s.leave()
}

// post runs fn in its turn on another goroutine, which start starts.
func (s *serial) post(start func(func()), fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		s.waiting = append(s.waiting, fn)
		return
	}
	s.busy = true
	start(func() {
		fn()
		s.leave()
	})
}

// leave runs what came meanwhile and lets the next one in.
func (s *serial) leave() {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.busy, s.waiting = false, nil
			s.mu.Unlock()
			return
		}
		fn := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		fn()
	}
}
