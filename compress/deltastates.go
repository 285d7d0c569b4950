package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"sync"
)

// DeltaStates makes the frames of a Delta for viewers who do not all see the
// same list: one leaves himself out, another has turned the page. Lists that
// are equal are one state, and a frame between two states is encoded once,
// however many viewers take the step.
//
// Its frames carry no version: they are for a transport that loses nothing
// and keeps order, such as one WebSocket. Receivers are those of a Delta.
// DeltaStates may be used from any goroutine.
type DeltaStates[T any] struct {
	schema *schema
	opts   DeltaOptions
	seed   maphash.Seed

	mu     sync.Mutex
	states map[uint64][]*DeltaState[T] // by hash
	count  int
	serial uint64
	bytes  int64
	work   comparison
	next   deltaRows // memory for the next state
}

// A DeltaState is one list as some viewers see it. It never changes, and it
// lives as long as somebody has not released it.
type DeltaState[T any] struct {
	of    *DeltaStates[T]
	rows  []T
	enc   deltaRows
	extra []byte
	hash  uint64
	id    uint64
	size  int64

	refs   int         // guarded by of.mu
	whole  []byte      // the snapshot, once it was asked for
	frames []deltaStep // the latest ones, at most maxSteps
}

// deltaStep is a frame that leads to another state. The number, not the
// state, is kept: a state must not keep those after it alive.
type deltaStep struct {
	to    uint64
	frame []byte
}

const maxSteps = 4

// NewDeltaStates returns a DeltaStates for lists of T, whose tags are those
// of NewDelta. MaxBytes bounds all states together.
func NewDeltaStates[T any](o DeltaOptions) (*DeltaStates[T], error) {
	s, err := schemaOf(reflect.TypeFor[T](), o.Fields)
	if o.MaxBytes <= 0 {
		err = errors.Join(err, fmt.Errorf("compress: DeltaOptions.MaxBytes = %d, want > 0", o.MaxBytes))
	}
	if err != nil {
		return nil, err
	}
	return &DeltaStates[T]{schema: s, opts: o, seed: maphash.MakeSeed(), states: make(map[uint64][]*DeltaState[T])}, nil
}

// State returns the state of these rows and of what is beside them, for the
// caller to Release. Rows must not change afterwards. The error is
// ErrStateTooLarge, or that of encoding/json for extra.
func (d *DeltaStates[T]) State(rows []T, extra any) (*DeltaState[T], error) {
	beside, err := json.Marshal(extra)
	if err != nil {
		return nil, fmt.Errorf("compress: delta extra: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.next.encode(d.schema, rows, d.opts.MaxBytes); err != nil {
		return nil, err
	}
	hash := maphash.Bytes(d.seed, d.next.buf) + 31*maphash.Bytes(d.seed, beside)
	for _, s := range d.states[hash] {
		if bytes.Equal(s.extra, beside) && s.enc.equal(&d.next) {
			s.refs++
			return s, nil
		}
	}
	d.serial++
	s := &DeltaState[T]{of: d, rows: rows, enc: d.next.clone(), extra: beside, hash: hash, id: d.serial, refs: 1}
	s.size = int64(len(s.enc.buf)+4*len(s.enc.ends)+len(beside)) + int64(len(rows))*int64(reflect.TypeFor[T]().Size()) + deltaStateBytes
	if err := d.reserveLocked(s.size); err != nil {
		return nil, err
	}
	d.states[hash] = append(d.states[hash], s)
	d.count++
	return s, nil
}

// deltaStateBytes is what a state takes besides its rows.
const deltaStateBytes = 300

func (d *DeltaStates[T]) reserveLocked(n int64) error {
	if d.bytes+n > int64(d.opts.MaxBytes) {
		return fmt.Errorf("%w: over %d bytes in all", ErrStateTooLarge, d.opts.MaxBytes)
	}
	if a := d.opts.Account; a != nil {
		if err := a.Reserve(n); err != nil {
			return fmt.Errorf("%w: %w", ErrStateTooLarge, err)
		}
	}
	d.bytes += n
	return nil
}

func (d *DeltaStates[T]) releaseLocked(n int64) {
	d.bytes -= n
	if d.opts.Account != nil {
		d.opts.Account.Release(n)
	}
}

// Stats returns how many states there are and the bytes that they hold.
func (d *DeltaStates[T]) Stats() (states int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count, d.bytes
}

// Rows are those that the state was made of. They must not be changed.
func (s *DeltaState[T]) Rows() []T { return s.rows }

// Retain says that one more viewer sees s, who will Release it.
func (s *DeltaState[T]) Retain() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.refs++
}

// Release says that one viewer does not see s any more.
func (s *DeltaState[T]) Release() {
	d := s.of
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.refs--; s.refs != 0 {
		return
	}
	list := d.states[s.hash]
	for i, other := range list {
		if other == s {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if d.states[s.hash] = list; len(list) == 0 {
		delete(d.states, s.hash)
	}
	d.count--
	d.releaseLocked(s.size)
}

// Snapshot returns the frame that leads to s from anywhere.
func (s *DeltaState[T]) Snapshot() []byte {
	d := s.of
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.whole != nil {
		return s.whole
	}
	frame := appendSnapshot(nil, 0, d.schema, &s.enc, s.extra)
	if n := int64(len(frame)); s.refs > 0 && d.reserveLocked(n) == nil {
		s.whole, s.size = frame, s.size+n
	}
	return frame
}

// To returns the frame that leads from s to next, nil if they are the same.
func (s *DeltaState[T]) To(next *DeltaState[T]) []byte {
	if s == next {
		return nil
	}
	d := s.of
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, step := range s.frames {
		if step.to == next.id {
			return step.frame
		}
	}
	d.work.lists(d.schema, &s.enc, &next.enc)
	frame := d.work.appendFrame(nil, 0, d.schema, &s.enc, &next.enc, s.extra, next.extra)
	if n := int64(cap(frame)); s.refs > 0 && d.reserveLocked(n) == nil {
		s.size += n
		if len(s.frames) == maxSteps {
			gone := int64(cap(s.frames[0].frame))
			s.size -= gone
			d.releaseLocked(gone)
			s.frames = append(s.frames[:0], s.frames[1:]...)
		}
		s.frames = append(s.frames, deltaStep{next.id, frame})
	}
	return frame
}
