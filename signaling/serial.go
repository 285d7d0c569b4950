package signaling

import "sync"

// serial runs functions one at a time, in the order in which they came.
type serial struct {
	mu      sync.Mutex
	busy    bool
	waiting []func()
}

// enter gives the caller its turn if nothing is before it; leave ends it.
func (s *serial) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := !s.busy
	s.busy = true
	return free
}

// line gives fn its turn, behind everything that was before this call. The
// caller must then call wait, which returns after fn; not from within a
// function that s runs.
func (s *serial) line(fn func()) (wait func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		done := make(chan struct{})
		s.waiting = append(s.waiting, func() { fn(); close(done) })
		return func() { <-done }
	}
	s.busy = true
	return func() {
		fn()
		s.leave()
	}
}

// run runs fn in its turn and returns after it.
func (s *serial) run(fn func()) { s.line(fn)() }

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
