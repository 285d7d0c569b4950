package compress

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// BatcherOptions configures a Batcher.
type BatcherOptions struct {
	// MaxMessages is how many messages make a batch at most. Required, > 0.
	MaxMessages int
	// MaxBytes is how many bytes of messages make a batch at most. A single
	// message that is longer goes alone. Required, > 0.
	MaxBytes int
	// MaxDelay is how long a message may wait for others. Required, > 0.
	MaxDelay time.Duration
	// Account, if set, is asked for the bytes that are held. Without room a
	// message goes at once instead of waiting.
	Account Account
}

// A Batcher collects the messages for one receiver and hands them over as
// one: a JSON array. Fewer frames cost fewer packets, and messages that are
// encoded together shrink further.
//
// Add and Flush may be called from any goroutine. Batches are handed over in
// the order of Add, one at a time, on the goroutine that called Add, Flush or
// Close, or on that of a timer; no goroutine exists between batches.
type Batcher struct {
	opts BatcherOptions
	send func(batch []byte, messages int)

	sending sync.Mutex // held while send runs, so that batches keep order

	mu     sync.Mutex
	buf    []byte
	n      int
	held   int64
	round  uint64 // counts batches, so that a late timer sees it is late
	timer  *time.Timer
	closed bool
	stats  BatcherStats
}

// BatcherStats counts what a Batcher has done.
type BatcherStats struct {
	// Messages is the number of messages added.
	Messages uint64
	// Batches is the number of calls of send.
	Batches uint64
	// ByCount, ByBytes, ByDelay and ByFlush count them by what ended them.
	ByCount, ByBytes, ByDelay, ByFlush uint64
}

// ErrClosed is returned by a Batcher after Close.
var ErrClosed = errors.New("compress: closed")

// NewBatcher returns a Batcher that gives each batch to send: one message as
// it is, several as a JSON array. batch is valid until send returns; send
// should queue and not wait, and must not call the Batcher.
func NewBatcher(o BatcherOptions, send func(batch []byte, messages int)) (*Batcher, error) {
	var errs []error
	if o.MaxMessages <= 0 {
		errs = append(errs, fmt.Errorf("compress: BatcherOptions.MaxMessages = %d, want > 0", o.MaxMessages))
	}
	if o.MaxBytes <= 0 {
		errs = append(errs, fmt.Errorf("compress: BatcherOptions.MaxBytes = %d, want > 0", o.MaxBytes))
	}
	if o.MaxDelay <= 0 {
		errs = append(errs, fmt.Errorf("compress: BatcherOptions.MaxDelay = %v, want > 0", o.MaxDelay))
	}
	if send == nil {
		errs = append(errs, errors.New("compress: NewBatcher without send"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Batcher{opts: o, send: send}, nil
}

// Add adds a message, which is one JSON value, and copies it. It returns
// ErrClosed after Close.
func (b *Batcher) Add(message []byte) error {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if b.n > 0 && len(b.buf)+len(message)+2 > b.opts.MaxBytes {
		b.emitLocked(&b.stats.ByBytes)
	}
	b.stats.Messages++
	alone := len(message) >= b.opts.MaxBytes
	if !alone && b.opts.Account != nil {
		need := int64(len(message)) + 2
		if b.opts.Account.Reserve(need) == nil {
			b.held += need
		} else {
			alone = true
		}
	}
	if b.n == 0 {
		b.buf = append(b.buf[:0], '[')
	} else {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(b.buf, message...)
	b.n++
	switch {
	case alone || len(b.buf) >= b.opts.MaxBytes:
		b.emitLocked(&b.stats.ByBytes)
	case b.n >= b.opts.MaxMessages:
		b.emitLocked(&b.stats.ByCount)
	case b.n == 1:
		round := b.round
		b.timer = time.AfterFunc(b.opts.MaxDelay, func() { b.expire(round) })
	}
	b.mu.Unlock()
	return nil
}

// Flush hands over what is held, if anything.
func (b *Batcher) Flush() {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.emitLocked(&b.stats.ByFlush)
}

// Close hands over what is held and ends the Batcher. It may be called twice.
func (b *Batcher) Close() {
	b.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.buf = nil
}

// Stats returns the counts so far.
func (b *Batcher) Stats() BatcherStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *Batcher) expire(round uint64) {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.round == round {
		b.emitLocked(&b.stats.ByDelay)
	}
}

// maxKeptBatch is how large a buffer stays with an idle Batcher.
const maxKeptBatch = 1 << 10

// emitLocked gives the batch to send without b.mu, which it takes again.
// The caller holds b.sending.
func (b *Batcher) emitLocked(why *uint64) {
	if b.n == 0 {
		return
	}
	*why++
	b.stats.Batches++
	b.round++
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	buf, n, held := append(b.buf, ']'), b.n, b.held
	batch := buf
	if n == 1 {
		batch = buf[1 : len(buf)-1]
	}
	b.n, b.held, b.buf = 0, 0, nil
	b.mu.Unlock()
	b.send(batch, n)
	if b.opts.Account != nil && held > 0 {
		b.opts.Account.Release(held)
	}
	b.mu.Lock()
	if cap(buf) <= maxKeptBatch && !b.closed {
		b.buf = buf[:0]
	}
}
