package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/redis/go-redis/v9"
)

const (
	maxQueue = 4096 // events that wait for one session
	maxOps   = 512  // in one script
	maxNames = 512  // topics in one script
)

// session is a presence.Session.
type session struct {
	store  *Store
	name   string
	lease  time.Duration
	events func(presence.Event)

	mu     sync.Mutex
	queue  []presence.Event
	busy   bool
	reaped bool
}

// Incarnation implements presence.Session.
func (x *session) Incarnation() string { return x.name }

// Renew implements presence.Session.
func (x *session) Renew(ctx context.Context) ([]string, error) {
	s := x.store
	var alive []string
	for part := range s.parts.Len() {
		answer, err := renewScript.Run(ctx, s.client, []string{s.leases(part), s.gen(part)}, x.name, x.lease.Milliseconds()).Result()
		if err != nil {
			return nil, fmt.Errorf("redisstore: renew: %w", err)
		}
		names, ok := answer.([]any)
		if !ok {
			return nil, presence.ErrFenced
		}
		if part > 0 {
			continue // all know the same
		}
		for _, name := range names {
			text, _ := name.(string)
			alive = append(alive, text)
		}
	}
	return alive, nil
}

// Subscribe implements presence.Session.
func (x *session) Subscribe(ctx context.Context, name string) error {
	s := x.store
	part := s.parts.Of(name)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	t := s.topics[name]
	if t == nil {
		t = &topic{subs: map[*session]struct{}{}}
		s.topics[name] = t
	}
	t.refs++
	s.mu.Unlock()
	err := s.link.Subscribe(ctx, part, s.log(part, name))
	s.mu.Lock()
	defer s.mu.Unlock()
	_, twice := t.subs[x]
	if err != nil || twice || !s.openLocked(x) {
		s.leaveLocked(name, t)
	} else {
		t.subs[x] = struct{}{}
	}
	if err != nil {
		return fmt.Errorf("redisstore: subscribe: %w", err)
	}
	return nil
}

// openLocked tells whether x is not retired.
func (s *Store) openLocked(x *session) bool {
	for _, other := range s.sessions {
		if other == x {
			return true
		}
	}
	return false
}

// Unsubscribe implements presence.Session.
func (x *session) Unsubscribe(_ context.Context, name string) error {
	s := x.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.topics[name]; t != nil {
		if _, ok := t.subs[x]; ok {
			delete(t.subs, x)
			s.leaveLocked(name, t)
		}
	}
	return nil
}

// Apply implements presence.Session. The changes of one partition are one
// script, 512 at a time.
func (x *session) Apply(ctx context.Context, ops []presence.Op) error {
	s := x.store
	parts := make(map[int][]presence.Op)
	for _, op := range ops {
		part := s.parts.Of(op.Topic)
		parts[part] = append(parts[part], op)
	}
	for part, ops := range parts {
		for some := range slices.Chunk(ops, maxOps) {
			if err := x.applySome(ctx, part, some); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *session) applySome(ctx context.Context, part int, ops []presence.Op) error {
	s := x.store
	keys := []string{s.leases(part), s.gen(part), s.index(part)}
	args := []any{x.name, s.opt.MaxLog, s.opt.Retain.Milliseconds()}
	numbers := make(map[string]int)
	for _, op := range ops {
		n, ok := numbers[op.Topic]
		if !ok {
			n = len(numbers)
			numbers[op.Topic] = n
			keys = append(keys, s.members(part, op.Topic), s.log(part, op.Topic))
		}
		var tag [8]byte
		binary.BigEndian.PutUint64(tag[:], op.Tag)
		args = append(args, int(op.Kind), n, op.Topic, op.User, op.Meta, tag[:], op.Seen.Epoch, op.Seen.Offset)
	}
	done, err := applyScript.Run(ctx, s.client, keys, args...).Bool()
	if err != nil {
		return fmt.Errorf("redisstore: apply: %w", err)
	}
	if !done {
		return presence.ErrFenced
	}
	return nil
}

// Read implements presence.Session.
func (x *session) Read(ctx context.Context, topic string, from presence.Position) (presence.Update, error) {
	s := x.store
	part := s.parts.Of(topic)
	answer, err := readScript.Run(ctx, s.client,
		[]string{s.gen(part), s.log(part, topic), s.members(part, topic)}, from.Epoch, from.Offset).Slice()
	if err != nil {
		return presence.Update{}, fmt.Errorf("redisstore: read: %w", err)
	}
	return update(topic, from, answer)
}

// Positions implements presence.Session.
func (x *session) Positions(ctx context.Context, topics []string) ([]presence.Position, error) {
	s := x.store
	out := make([]presence.Position, len(topics))
	parts := make(map[int][]int)
	for i, name := range topics {
		part := s.parts.Of(name)
		parts[part] = append(parts[part], i)
	}
	for part, indexes := range parts {
		for some := range slices.Chunk(indexes, maxNames) {
			keys := []string{s.gen(part)}
			for _, i := range some {
				keys = append(keys, s.log(part, topics[i]))
			}
			answer, err := positionsScript.Run(ctx, s.client, keys).StringSlice()
			if err != nil {
				return nil, fmt.Errorf("redisstore: positions: %w", err)
			}
			for j, i := range some {
				out[i] = position(answer[2*j], answer[2*j+1])
			}
		}
	}
	return out, nil
}

// Reap implements presence.Session. It looks at the members only when somebody
// is dead for so long, and once in a session's life.
func (x *session) Reap(ctx context.Context, age time.Duration) (int, error) {
	total := 0
	x.mu.Lock()
	reaped := x.reaped
	x.mu.Unlock()
	for part := range x.store.parts.Len() {
		n, err := x.reapPart(ctx, part, age, reaped)
		total += n
		if err != nil {
			return total, fmt.Errorf("redisstore: reap: %w", err)
		}
	}
	x.mu.Lock()
	x.reaped = true
	x.mu.Unlock()
	return total, nil
}

func (x *session) reapPart(ctx context.Context, part int, age time.Duration, reaped bool) (total int, err error) {
	s := x.store
	dead, err := deadScript.Run(ctx, s.client, []string{s.leases(part)}, age.Milliseconds()).StringSlice()
	if err != nil || len(dead) == 0 && reaped {
		return 0, err
	}
	for cursor := uint64(0); ; {
		var topics []string
		topics, cursor, err = s.client.SScan(ctx, s.index(part), cursor, "", 100).Result()
		if err != nil {
			return total, err
		}
		for _, name := range topics {
			keys := []string{s.leases(part), s.gen(part), s.index(part), s.members(part, name), s.log(part, name)}
			n, err := reapScript.Run(ctx, s.client, keys, age.Milliseconds(), s.opt.MaxLog, s.opt.Retain.Milliseconds(), name).Int()
			if err != nil {
				return total, err
			}
			total += n
		}
		if cursor == 0 {
			break
		}
	}
	if len(dead) > 0 {
		err = s.client.ZRem(ctx, s.leases(part), anys(dead)...).Err()
	}
	return total, err
}

func anys(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = name
	}
	return out
}

// Close implements presence.Session.
func (x *session) Close(ctx context.Context) error {
	s := x.store
	s.mu.Lock()
	s.retireLocked(x)
	for node, other := range s.sessions {
		if other == x {
			delete(s.sessions, node)
		}
	}
	s.mu.Unlock()
	for part := range s.parts.Len() {
		err := closeScript.Run(ctx, s.client, []string{s.leases(part), s.gen(part), s.index(part)}, x.name).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("redisstore: close: %w", err)
		}
	}
	return nil
}

// hear queues events and delivers what is queued, on one goroutine at a time,
// without a lock.
func (x *session) hear(events []presence.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	fit := min(len(events), maxQueue-len(x.queue))
	x.queue = append(x.queue, events[:fit]...)
	x.store.dropped.Add(uint64(len(events) - fit))
	if x.busy {
		return
	}
	x.busy = true
	for len(x.queue) > 0 {
		e := x.queue[0]
		x.queue = x.queue[1:]
		x.mu.Unlock()
		x.store.events.Add(1)
		x.events(e)
		x.mu.Lock()
	}
	x.queue, x.busy = nil, false
}
