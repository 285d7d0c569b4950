package redislink

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	chunk      = 512 // channels in one command
	retryFirst = 20 * time.Millisecond
	retryMost  = 500 * time.Millisecond
	patience   = time.Second // for an answer
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("redislink: closed")

// Options configure a Link.
type Options struct {
	// Message is called with what arrives. Acked is called whenever a channel is
	// subscribed: the first time, and again when a connection was lost, so that
	// messages may be missing. One partition's calls come one after the other;
	// they must not block.
	Message func(channel, payload string)
	Acked   func(channel string)
	// Base begins the names of a partition's channels.
	Base func(partition int) string
	// Probe is how often each connection is tested.
	Probe time.Duration
	// Logger hears of connections lost. Not nil.
	Logger *slog.Logger
}

// Link keeps channels subscribed, with one connection a partition in use, and
// two goroutines each, which end in Close. Its methods may be called from any
// goroutine. The number of channels is bounded by the caller alone.
//
// A connection that breaks is made again, with jitter. One that is open but
// brings nothing for a second, not even a probe, which is published as other
// messages are, is starved, and made again as well.
type Link struct {
	client redis.UniversalClient
	opt    Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	lines []*line

	lost, starved atomic.Uint64
}

// line is the connection of one partition.
type line struct {
	link  *Link
	probe string        // the channel of its probes
	dirty chan struct{} // has room for one

	mu       sync.Mutex
	conn     *redis.PubSub // nil: being made
	channels map[string]*channel
	add, cut []string       // to be told to the server
	cutting  map[string]int // told, and not yet acknowledged
	heard    uint64         // the last probe that came back

	traffic atomic.Uint64 // whatever came
}

type channel struct {
	ready chan struct{} // closed once acknowledged
}

// New returns a Link with no channel.
func New(client redis.UniversalClient, partitions int, o Options) *Link {
	l := &Link{client: client, opt: o, lines: make([]*line, partitions)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Stats returns how many connections were lost, and how many of these because
// they were starved.
func (l *Link) Stats() (lost, starved uint64) { return l.lost.Load(), l.starved.Load() }

// Close ends all connections and waits for the goroutines.
func (l *Link) Close() {
	l.mu.Lock()
	l.cancel()
	for _, n := range l.lines {
		if n != nil {
			n.drop(nil)
		}
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *Link) line(partition int) (*line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, ErrClosed
	}
	n := l.lines[partition]
	if n == nil {
		n = &line{
			link: l, probe: l.opt.Base(partition) + "probe:" + randomName(), dirty: make(chan struct{}, 1),
			channels: map[string]*channel{}, cutting: map[string]int{},
		}
		l.lines[partition] = n
		l.wg.Go(n.read)
		l.wg.Go(n.write)
	}
	return n, nil
}

// Subscribe returns when the channel is subscribed, or was and is about to be
// again. After an error too it is wanted until Unsubscribe.
func (l *Link) Subscribe(ctx context.Context, partition int, name string) error {
	n, err := l.line(partition)
	if err != nil {
		return err
	}
	n.mu.Lock()
	ch := n.channels[name]
	if ch == nil {
		ch = &channel{ready: make(chan struct{})}
		n.channels[name] = ch
		n.add = append(n.add, name)
		n.wake()
	}
	ready := ch.ready
	n.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.ctx.Done():
		return ErrClosed
	}
}

// Unsubscribe ends the interest in a channel, without waiting.
func (l *Link) Unsubscribe(partition int, name string) {
	n, err := l.line(partition)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.channels[name] != nil {
		delete(n.channels, name)
		n.cut = append(n.cut, name)
		n.wake()
	}
}

func (n *line) wake() {
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// drop closes the connection if it is this one, or any if nil.
func (n *line) drop(conn *redis.PubSub) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil && (conn == nil || conn == n.conn) {
		n.conn.Close()
		n.conn = nil
	}
}

// read makes the connection, again and again, and hears what it brings.
func (n *line) read() {
	l := n.link
	wait := retryFirst
	for l.ctx.Err() == nil {
		began := time.Now()
		err := n.session()
		n.drop(nil)
		if l.ctx.Err() != nil {
			return
		}
		l.lost.Add(1)
		l.opt.Logger.Warn("redis: subscription lost", slog.String("probe", n.probe), slog.Any("err", err))
		if c, ok := l.client.(*redis.ClusterClient); ok {
			c.ReloadState(l.ctx) // the slot may be elsewhere
		}
		if time.Since(began) > 5*time.Second {
			wait = retryFirst
		}
		select {
		case <-l.ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, retryMost)
	}
}

// session is the life of one connection.
func (n *line) session() error {
	l := n.link
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	conn, err := Listen(ctx, l.client, patience, n.probe)
	if err != nil {
		return err
	}
	n.mu.Lock()
	// Whoever waits goes on waiting; whoever subscribed before is told again.
	n.conn, n.cut, n.cutting = conn, nil, map[string]int{}
	n.add = n.add[:0]
	for name := range n.channels {
		n.add = append(n.add, name)
	}
	n.wake()
	n.mu.Unlock()
	for {
		msg, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		n.traffic.Add(1)
		switch m := msg.(type) {
		case *redis.Message:
			if m.Channel == n.probe {
				n.returned(m.Payload)
			} else {
				l.opt.Message(m.Channel, m.Payload)
			}
		case *redis.Subscription:
			if err := n.acknowledged(m); err != nil {
				return err
			}
		}
	}
}

var errMoved = errors.New("the slot was moved")

func (n *line) acknowledged(m *redis.Subscription) error {
	n.mu.Lock()
	ch := n.channels[m.Channel]
	if m.Kind == "sunsubscribe" {
		defer n.mu.Unlock()
		if n.cutting[m.Channel]--; n.cutting[m.Channel] >= 0 {
			if n.cutting[m.Channel] == 0 {
				delete(n.cutting, m.Channel)
			}
			return nil
		}
		return errMoved
	}
	n.mu.Unlock()
	if ch == nil {
		return nil
	}
	n.link.opt.Acked(m.Channel)
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-ch.ready:
	default:
		close(ch.ready)
	}
	return nil
}

// write tells the server what is wanted, and sends the probes.
func (n *line) write() {
	l := n.link
	tick := time.NewTicker(l.opt.Probe)
	defer tick.Stop()
	var suspect *redis.PubSub // has not brought the probe number sent
	var sent, traffic uint64
	var since time.Time // when a probe was published and nothing had come yet
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-n.dirty:
			n.tell()
		case <-tick.C:
			n.mu.Lock()
			conn, heard := n.conn, n.heard
			n.mu.Unlock()
			if conn == nil {
				continue
			}
			if now := n.traffic.Load(); conn != suspect || heard == sent || now != traffic {
				suspect, traffic, since = conn, now, time.Time{}
			} else if !since.IsZero() && time.Since(since) >= patience {
				l.starved.Add(1)
				l.opt.Logger.Warn("redis: subscription starves", slog.String("probe", n.probe))
				n.drop(conn)
				continue
			}
			sent++
			ctx, cancel := context.WithTimeout(l.ctx, patience)
			err := l.client.SPublish(ctx, n.probe, sent).Err()
			cancel()
			if err != nil { // then it is no wonder that nothing came
				since = time.Time{}
			} else if since.IsZero() {
				since = time.Now()
			}
		}
	}
}

func (n *line) tell() {
	n.mu.Lock()
	conn := n.conn
	if conn == nil { // the next session says all
		n.mu.Unlock()
		return
	}
	var add, cut []string
	for _, name := range n.add {
		if n.channels[name] != nil {
			add = append(add, name)
		}
	}
	for _, name := range n.cut {
		if n.channels[name] == nil {
			cut = append(cut, name)
			n.cutting[name]++
		}
	}
	n.add, n.cut = nil, nil
	n.mu.Unlock()
	send := func(names []string, command func(context.Context, ...string) error) {
		for len(names) > 0 {
			k := min(len(names), chunk)
			if command(n.link.ctx, names[:k]...) != nil {
				n.drop(conn)
				return
			}
			names = names[k:]
		}
	}
	send(cut, conn.SUnsubscribe)
	send(add, conn.SSubscribe)
}
