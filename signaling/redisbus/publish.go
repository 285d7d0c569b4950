package redisbus

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/redis/go-redis/v9"
)

//go:embed publish.lua
var publishLua string

var publish = redis.NewScript(publishLua)

const (
	marked     = 8       // bytes before each message in a stream
	batch      = 256     // messages in one call
	batchBytes = 1 << 20 // and their bytes, unless it is one
	attempt    = time.Second
	memos      = 65536 // topics whose epoch is remembered, over all partitions
)

// publisher sends the messages of one partition, one call at a time.
type publisher struct {
	bus  *Bus
	part int
	name string

	mu      sync.Mutex
	waiting []*message
	running bool
	number  uint64
	memo    map[string]memo
}

// memo is what is remembered of a topic.
type memo struct {
	epoch   string
	touched time.Time // when its life was prolonged
}

type message struct {
	ctx   context.Context
	topic string
	data  string // its mark, which tells it from others, and the data
	touch bool
	pos   signaling.Position
	err   error
	done  chan struct{}
}

func newPublisher(b *Bus, part int) *publisher {
	return &publisher{bus: b, part: part, name: rand.Text()[:16], memo: map[string]memo{}}
}

// Publish implements [signaling.Bus]. ErrFull: it was not published.
// signaling.ErrTooLarge: nor was this.
func (b *Bus) Publish(ctx context.Context, topic string, data []byte) (signaling.Position, error) {
	if ctx.Err() != nil {
		return signaling.Position{}, context.Cause(ctx)
	}
	if len(data) > b.opt.MaxMessageBytes {
		return signaling.Position{}, signaling.ErrTooLarge
	}
	if n, size := b.pending.Add(1), b.pendingBytes.Add(int64(len(data))); n > int64(b.opt.MaxPending) || size > int64(b.opt.MaxPendingBytes) {
		b.settle(len(data))
		b.refused.Add(1)
		return signaling.Position{}, ErrFull
	}
	mark := binary.BigEndian.AppendUint64(make([]byte, 0, marked+len(data)), b.serial.Add(1))
	m := &message{ctx: ctx, topic: topic, data: string(append(mark, data...)), done: make(chan struct{})}
	p := b.pubs[b.parts.Of(topic)]
	p.mu.Lock()
	if !p.running && !b.begin(p.run) {
		p.mu.Unlock()
		b.settle(len(data))
		return signaling.Position{}, ErrClosed
	}
	p.running = true
	p.waiting = append(p.waiting, m)
	p.mu.Unlock()
	select {
	case <-m.done:
		return m.pos, m.err
	case <-ctx.Done():
		return signaling.Position{}, context.Cause(ctx)
	}
}

// settle says that a message waits no more.
func (b *Bus) settle(size int) {
	b.pending.Add(-1)
	b.pendingBytes.Add(-int64(size))
}

// over ends the wait for a message.
func (p *publisher) over(m *message) {
	p.bus.settle(len(m.data) - marked)
	close(m.done)
}

// run sends what waits, and ends when nothing does.
func (p *publisher) run() {
	for {
		p.mu.Lock()
		var calls []*message
		size := 0
		for len(p.waiting) > 0 && len(calls) < batch && (size == 0 || size+len(p.waiting[0].data) <= batchBytes) {
			m := p.waiting[0]
			p.waiting[0] = nil
			p.waiting = p.waiting[1:]
			if m.ctx.Err() != nil {
				m.err = context.Cause(m.ctx)
				p.over(m)
				continue
			}
			calls = append(calls, m)
			size += len(m.data)
		}
		if len(calls) == 0 {
			p.waiting, p.running = nil, false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		p.send(calls)
		for _, m := range calls {
			p.over(m)
		}
	}
}

// send makes one call until Redis has answered it, or nobody waits any more.
func (p *publisher) send(calls []*message) {
	b := p.bus
	p.number++
	keys := []string{b.guard(p)}
	args := []any{p.number, b.opt.MaxMessages, b.opt.Retain.Milliseconds()}
	now := time.Now()
	for _, m := range calls {
		know := p.memo[m.topic]
		m.touch = now.Sub(know.touched) > b.opt.Retain/4
		keys = append(keys, b.stream(m.topic, p.part))
		args = append(args, know.epoch, m.touch, m.data)
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 300*time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, attempt)
		b.calls.Add(1)
		ids, err := publish.Run(ctx, b.client, keys, args...).Text()
		cancel()
		if err == nil {
			p.answered(calls, ids, now)
			return
		}
		if b.ctx.Err() != nil {
			err = ErrClosed
		}
		if b.ctx.Err() != nil || !temporary(err) || !wanted(calls) {
			for _, m := range calls {
				m.err = fmt.Errorf("redisbus: publish: %w", err)
			}
			return
		}
		select {
		case <-b.ctx.Done():
		case <-time.After(wait/2 + mrand.N(wait)):
		}
	}
}

func wanted(calls []*message) bool {
	for _, m := range calls {
		if m.ctx.Err() == nil {
			return true
		}
	}
	return false
}

// temporary tells what may go by itself: everything but an answer that says
// what is wrong with the call.
func temporary(err error) bool {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok {
		return true
	}
	for _, prefix := range []string{"LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MOVED", "ASK", "BUSY", "NOSCRIPT", "UNKILLABLE"} {
		if strings.HasPrefix(answer.Error(), prefix) {
			return true
		}
	}
	return false
}

func (p *publisher) answered(calls []*message, ids string, now time.Time) {
	p.bus.published.Add(uint64(len(calls)))
	for _, m := range calls {
		var id string
		id, ids, _ = strings.Cut(ids, " ")
		m.pos, m.err = position(id)
		know := p.memo[m.topic]
		if m.touch || know.epoch != m.pos.Epoch {
			if len(p.memo) >= memos/len(p.bus.pubs) {
				for other := range p.memo { // any
					delete(p.memo, other)
					break
				}
			}
			if m.touch || know.epoch == "" {
				know.touched = now
			}
			p.memo[m.topic] = memo{m.pos.Epoch, know.touched}
		}
	}
}

// position reads the id of a stream's entry.
func position(id string) (signaling.Position, error) {
	epoch, offset, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(offset, 10, 64)
	if !ok || err != nil || n == 0 || n == math.MaxUint64 {
		return signaling.Position{}, fmt.Errorf("redisbus: not an id of ours: %q", id)
	}
	return signaling.Position{Epoch: epoch, Offset: n}, nil
}

// guard is the key that remembers p's last call.
func (b *Bus) guard(p *publisher) string { return b.base(p.part) + "g:" + p.name }

// forgetGuards removes what kept calls from being made twice. Redis would by
// itself, a minute later.
func (b *Bus) forgetGuards() {
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	_, _ = b.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, p := range b.pubs {
			if p.number > 0 {
				pipe.Del(ctx, b.guard(p))
			}
		}
		return nil
	})
}
