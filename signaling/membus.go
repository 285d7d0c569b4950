package signaling

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
)

// MemoryBus is a Bus within one process: for tests, and for several hubs in
// one program. A topic without a subscriber is forgotten MaxTopics topics
// later.
type MemoryBus struct {
	opt   MemoryBusOptions
	epoch string

	mu     sync.Mutex
	topics map[string]*memTopic
	idle   []string // topics without a subscriber, the longest first
}

// MemoryBusOptions configure a MemoryBus.
type MemoryBusOptions struct {
	// MaxTopics bounds topics without a subscriber whose log is kept. Required, > 0.
	MaxTopics int
	// MaxMessages bounds the log of one topic. Required, > 0.
	MaxMessages int
	// MaxBytes bounds the log of one topic; a larger message is refused.
	// Required, > 0.
	MaxBytes int
}

type memTopic struct {
	name  string
	next  uint64 // offset of the latest message
	log   [][]byte
	bytes int
	subs  map[*memSub]struct{}
}

type memSub struct {
	bus     *MemoryBus
	topic   *memTopic
	deliver func(Event)
	running bool // a goroutine is delivering
	closed  bool
	sent    uint64 // offset of the last event
	gap     bool   // the first event is one
}

// NewMemoryBus returns a bus. Its error names every fault of the options.
func NewMemoryBus(o MemoryBusOptions) (*MemoryBus, error) {
	var errs []error
	for _, f := range []struct {
		name  string
		value int
	}{{"MaxTopics", o.MaxTopics}, {"MaxMessages", o.MaxMessages}, {"MaxBytes", o.MaxBytes}} {
		if f.value <= 0 {
			errs = append(errs, fmt.Errorf("signaling: MemoryBusOptions.%s = %d, want > 0", f.name, f.value))
		}
	}
	return &MemoryBus{opt: o, epoch: rand.Text(), topics: map[string]*memTopic{}}, errors.Join(errs...)
}

// Publish implements Bus. ErrTooLarge: data is larger than MaxBytes.
func (b *MemoryBus) Publish(ctx context.Context, topic string, data []byte) (Position, error) {
	if err := context.Cause(ctx); err != nil {
		return Position{}, err
	}
	if len(data) > b.opt.MaxBytes {
		return Position{}, ErrTooLarge
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topicLocked(topic)
	t.next++
	t.log = append(t.log, data)
	t.bytes += len(data)
	for len(t.log) > b.opt.MaxMessages || t.bytes > b.opt.MaxBytes {
		t.bytes -= len(t.log[0])
		t.log[0] = nil
		t.log = t.log[1:]
	}
	for s := range t.subs {
		s.wakeLocked()
	}
	return Position{b.epoch, t.next}, nil
}

// Subscribe implements Bus. A subscriber that is slower than the log is long
// gets a gap.
func (b *MemoryBus) Subscribe(ctx context.Context, topic string, after Position, deliver func(Event)) (Subscription, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topicLocked(topic)
	s := &memSub{bus: b, topic: t, deliver: deliver, sent: t.next}
	if after != (Position{}) {
		if after.Epoch == b.epoch && after.Offset <= t.next {
			s.sent = after.Offset
		} else {
			s.gap = true
		}
	}
	t.subs[s] = struct{}{}
	s.wakeLocked()
	return s, nil
}

func (b *MemoryBus) topicLocked(name string) *memTopic {
	t := b.topics[name]
	if t == nil {
		t = &memTopic{name: name, subs: map[*memSub]struct{}{}}
		b.topics[name] = t
		b.retireLocked(t)
	}
	return t
}

// retireLocked puts a topic without subscribers in line to be forgotten.
func (b *MemoryBus) retireLocked(t *memTopic) {
	b.idle = append(b.idle, t.name)
	for len(b.idle) > b.opt.MaxTopics {
		old := b.topics[b.idle[0]]
		b.idle = b.idle[1:]
		if old != nil && old != t && len(old.subs) == 0 {
			delete(b.topics, old.name)
		}
	}
}

// wakeLocked has what is new delivered, on a goroutine that ends when it is.
func (s *memSub) wakeLocked() {
	if !s.running && !s.closed && (s.gap || s.sent < s.topic.next) {
		s.running = true
		go s.run()
	}
}

func (s *memSub) run() {
	b, t := s.bus, s.topic
	b.mu.Lock()
	defer b.mu.Unlock()
	for !s.closed && (s.gap || s.sent < t.next) {
		first := t.next - uint64(len(t.log)) + 1
		e := Event{Position: Position{b.epoch, s.sent + 1}}
		switch {
		case s.gap:
			e = Event{Position: Position{b.epoch, t.next}, Gap: true}
		case s.sent+1 < first:
			e = Event{Position: Position{b.epoch, first - 1}, Gap: true}
		default:
			e.Data = t.log[s.sent+1-first]
		}
		s.gap, s.sent = false, e.Position.Offset
		b.mu.Unlock()
		s.deliver(e)
		b.mu.Lock()
	}
	s.running = false
}

// Position implements Subscription.
func (s *memSub) Position() Position {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return Position{s.bus.epoch, s.sent}
}

// Close implements Subscription.
func (s *memSub) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	delete(s.topic.subs, s)
	if len(s.topic.subs) == 0 {
		s.bus.retireLocked(s.topic)
	}
}
