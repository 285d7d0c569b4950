package redisbus

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/redis/go-redis/v9"
)

// subscription is a signaling.Subscription. Who has made it busy, and nobody
// else, may deliver and move its position: the connection's goroutine for a
// message that is next in order, a repairer for all else.
type subscription struct {
	bus     *Bus
	topic   *topic
	deliver func(signaling.Event)
	foreign bool   // the position is the caller's, and may be of another epoch
	mark    uint64 // of the message at pos; 0: unknown

	mu     sync.Mutex
	pos    signaling.Position // zero: the stream is yet to begin
	busy   bool
	again  bool // something came while it was busy
	closed bool
}

// entry is a message as a stream or a channel has it.
type entry struct {
	pos  signaling.Position
	mark uint64
	data string
}

// start finds where a new subscription begins. It is busy until then.
func (s *subscription) start(ctx context.Context, after signaling.Position) error {
	if after == (signaling.Position{}) {
		last, err := s.bus.edge(ctx, s.topic, true)
		if err != nil {
			return err
		}
		s.move(last)
		s.done()
		return nil
	}
	s.mu.Lock()
	s.pos, s.foreign = after, true
	s.mu.Unlock()
	s.bus.repair(s)
	return nil
}

// Position implements signaling.Subscription.
func (s *subscription) Position() signaling.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos
}

// Close implements signaling.Subscription.
func (s *subscription) Close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if !was {
		s.bus.leave(s)
	}
}

// take makes s busy, or has whom it is busy with look again.
func (s *subscription) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		s.again = true
	}
	if s.busy || s.closed {
		return false
	}
	s.busy = true
	return true
}

// done makes s free, or sees to what came meanwhile.
func (s *subscription) done() {
	s.mu.Lock()
	again := s.again && !s.closed
	s.again = false
	s.busy = again
	s.mu.Unlock()
	if again {
		s.bus.repair(s)
	}
}

func (s *subscription) move(e entry) {
	s.mark, s.foreign = e.mark, false
	s.mu.Lock()
	s.pos = e.pos
	s.mu.Unlock()
}

// give delivers what follows s.pos, and reports whether s goes on.
func (s *subscription) give(e entry) bool {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return false
	}
	s.move(e)
	s.bus.delivered.Add(1)
	s.deliver(signaling.Event{Position: e.pos, Data: []byte(e.data)})
	return true
}

// gap tells that what is up to e was missed.
func (s *subscription) gap(e entry) bool {
	s.mu.Lock()
	closed, from := s.closed, s.pos
	s.mu.Unlock()
	if closed {
		return false
	}
	s.bus.opt.Logger.Warn("redisbus: gap", slog.String("topic", s.topic.name), slog.Any("from", from), slog.Any("to", e.pos))
	s.move(e)
	s.bus.gaps.Add(1)
	s.deliver(signaling.Event{Position: e.pos, Gap: true})
	return true
}

// heard is called with what a channel brings.
func (b *Bus) heard(channel, payload string) {
	id, data, _ := strings.Cut(payload, " ")
	e, ok := read(id, data)
	if !ok {
		return
	}
	for _, s := range b.subscribed(channel) {
		s.hear(e)
	}
}

// hear delivers e if it is the next one.
func (s *subscription) hear(e entry) {
	if !s.take() {
		return
	}
	next := signaling.Position{Epoch: s.pos.Epoch, Offset: s.pos.Offset + 1}
	switch {
	case e.pos == next, s.pos == signaling.Position{} && e.pos.Offset == 1:
		s.give(e)
		s.done()
	case e.pos.Epoch == next.Epoch && e.pos.Offset < next.Offset && (e.pos != s.pos || e.mark == s.mark):
		s.bus.doubled.Add(1)
		s.done()
	default:
		s.bus.repair(s)
	}
}

// acked is called when a channel is subscribed, again perhaps.
func (b *Bus) acked(channel string) {
	for _, s := range b.subscribed(channel) {
		if s.take() {
			b.repair(s)
		}
	}
}

// read makes an entry of what Redis sent.
func read(id, data string) (e entry, ok bool) {
	pos, err := position(id)
	if err != nil || len(data) < marked {
		return entry{}, false
	}
	return entry{pos, binary.BigEndian.Uint64([]byte(data[:marked])), data[marked:]}, true
}

// entries leaves out what others may have put into a stream: as offsets go, it
// is a gap.
func entries(list []redis.XMessage) []entry {
	out := make([]entry, 0, len(list))
	for _, x := range list {
		data, _ := x.Values["d"].(string)
		if e, ok := read(x.ID, data); ok {
			out = append(out, e)
		}
	}
	return out
}

// edge returns the first or last entry of a topic; a zero one if it has none.
func (b *Bus) edge(ctx context.Context, t *topic, last bool) (entry, error) {
	name := b.stream(t.name, t.part)
	cmd := b.client.XRangeN
	from, to := "-", "+"
	if last {
		cmd, from, to = b.client.XRevRangeN, "+", "-"
	}
	list, err := cmd(ctx, name, from, to, 1).Result()
	if found := entries(list); len(found) > 0 {
		return found[0], nil
	}
	return entry{}, err
}
