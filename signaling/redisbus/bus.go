package redisbus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/plimsoll-go/plimsoll/internal/redislink"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/redis/go-redis/v9"
)

// Bus is a [signaling.Bus] in Redis. See the package for its goroutines.
type Bus struct {
	client redis.UniversalClient
	opt    Options
	parts  redislink.Partitions
	link   *redislink.Link
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	pubs   []*publisher // one a partition

	mu        sync.Mutex
	topics    map[string]*topic
	repairs   []*subscription // busy ones
	repairers int
	chunk     int // subscriptions read at once
	page      int // messages read of one

	pending, pendingBytes                         atomic.Int64
	serial                                        atomic.Uint64 // numbers the messages
	published, calls, refused, delivered, doubled atomic.Uint64
	repairsDone, repaired, gaps, readErrors       atomic.Uint64
}

var _ signaling.Bus = (*Bus)(nil)

// topic is one that this node has subscribed to.
type topic struct {
	name string
	part int
	refs int // calls of Subscribe under way, and subs
	subs map[*subscription]struct{}
}

// New returns a Bus on client, which stays the caller's to close, after the
// Bus. Its error names every fault of the options. Redis is not asked yet.
func New(client redis.UniversalClient, o Options) (*Bus, error) {
	cluster, err := redislink.Check("redisbus", client)
	o, optErr := o.withDefaults(cluster)
	if err = errors.Join(err, optErr); err != nil {
		return nil, err
	}
	b := &Bus{
		client: client, opt: o, parts: redislink.NewPartitions(o.Partitions), topics: map[string]*topic{},
		chunk: min(256, max(1, 1<<20/o.MaxMessageBytes)), page: min(64, max(4, 1<<20/o.MaxMessageBytes)),
	}
	b.serial.Store(rand.Uint64()) // marks of several buses differ
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.link = redislink.New(client, o.Partitions, redislink.Options{
		Message: b.heard, Acked: b.acked, Base: b.base, Probe: o.Probe, Logger: o.Logger,
	})
	for i := range o.Partitions {
		b.pubs = append(b.pubs, newPublisher(b, i))
	}
	b.wg.Go(b.compare)
	return b, nil
}

// Close ends the subscriptions and what waits, and returns when no goroutine
// is left.
func (b *Bus) Close() {
	b.mu.Lock() // nobody begins a goroutine after this
	b.cancel()
	b.mu.Unlock()
	b.link.Close()
	b.wg.Wait()
	b.forgetGuards()
}

// Stats returns what the Bus counts.
func (b *Bus) Stats() Stats {
	b.mu.Lock()
	topics := len(b.topics)
	b.mu.Unlock()
	lost, starved := b.link.Stats()
	return Stats{
		Pending: int(b.pending.Load()), PendingBytes: int(b.pendingBytes.Load()), Topics: topics,
		Published: b.published.Load(), Calls: b.calls.Load(), Refused: b.refused.Load(),
		Delivered: b.delivered.Load(), Doubled: b.doubled.Load(), Repairs: b.repairsDone.Load(),
		Repaired: b.repaired.Load(), Gaps: b.gaps.Load(), Lost: lost, Starved: starved, ReadErrors: b.readErrors.Load(),
	}
}

// begin starts a goroutine that Close waits for, unless it is too late.
func (b *Bus) begin(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.wg.Go(f)
	return true
}

// Names: base is all that a partition's have in common. A topic's stream is at
// base + "s:" + topic, and its channel the same.
func (b *Bus) base(part int) string { return b.parts.Tag(part) + b.opt.Prefix + ":" }

func (b *Bus) stream(topic string, part int) string { return b.base(part) + "s:" + topic }

// subscribed returns who hears a channel.
func (b *Bus) subscribed(channel string) []*subscription {
	_, rest, _ := strings.Cut(channel, "}")
	name, _ := strings.CutPrefix(rest, b.opt.Prefix+":s:")
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil {
		return nil
	}
	subs := make([]*subscription, 0, len(t.subs))
	for s := range t.subs {
		subs = append(subs, s)
	}
	return subs
}

// Subscribe implements [signaling.Bus].
func (b *Bus) Subscribe(ctx context.Context, name string, after signaling.Position, deliver func(signaling.Event)) (signaling.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return nil, ErrClosed
	}
	t := b.topics[name]
	if t == nil {
		t = &topic{name: name, part: b.parts.Of(name), subs: map[*subscription]struct{}{}}
		b.topics[name] = t
	}
	t.refs++
	b.mu.Unlock()
	s := &subscription{bus: b, topic: t, deliver: deliver, busy: true}
	err := b.link.Subscribe(ctx, t.part, b.stream(t.name, t.part))
	if err == nil {
		b.mu.Lock()
		t.subs[s] = struct{}{}
		b.mu.Unlock()
		err = s.start(ctx, after)
	}
	if err != nil {
		s.Close()
		if errors.Is(err, redislink.ErrClosed) {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("redisbus: subscribe: %w", err)
	}
	return s, nil
}

// leave ends a subscription's part in its topic.
func (b *Bus) leave(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := s.topic
	delete(t.subs, s)
	if t.refs--; t.refs == 0 {
		delete(b.topics, t.name)
		b.link.Unsubscribe(t.part, b.stream(t.name, t.part))
	}
}
