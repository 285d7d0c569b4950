package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pingWithin = time.Second // a database that takes longer does not answer
	pingFor    = time.Second // how long an answer is good for

	// probeBytes is what is written to see whether a full disk has room again.
	probeBytes = 64 << 10
)

// ping is the last look at the database, and the one under way.
type ping struct {
	mu    sync.Mutex
	began time.Time
	ended time.Time
	err   error
	done  chan struct{} // closed when the one under way has ended; nil: none is

	// failing is set by a write that the database could not do and cleared by
	// one that it did. While it is set, reading is no sign of health.
	failing atomic.Bool
}

// wrote notes how a write ended.
func (p *ping) wrote(err error) { p.failing.Store(err != nil && !isAnswer(err)) }

// ask gives the answer of a look that is under way or ended a moment ago, or
// else of a new one.
func (p *ping) ask(ctx context.Context, look func() error) error {
	p.mu.Lock()
	if p.done == nil {
		if !p.ended.IsZero() && time.Since(p.ended) < pingFor {
			defer p.mu.Unlock()
			return p.err
		}
		// A look that hangs is not repeated; the end of the store ends it.
		done := make(chan struct{})
		p.began, p.done = time.Now(), done
		go func() {
			err := look()
			p.mu.Lock()
			p.ended, p.err, p.done = time.Now(), err, nil
			p.mu.Unlock()
			close(done)
		}()
	}
	done, left := p.done, pingWithin-time.Since(p.began)
	p.mu.Unlock()
	late := time.NewTimer(left)
	defer late.Stop()
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-late.C:
		return fmt.Errorf("store: no answer within %v", pingWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probe is what a look writes while p is failing.
func probe() []byte {
	b := make([]byte, probeBytes)
	_, _ = rand.Read(b) // never fails; noise, so that nothing can compress it
	return b
}
