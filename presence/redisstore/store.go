package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redislink"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/redis/go-redis/v9"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("redisstore: closed")

// Options configure a Store. All servers must use the same Prefix and Partitions.
type Options struct {
	// Prefix begins the names of all keys and channels. It must hold no
	// braces. Default "plimsoll:presence".
	Prefix string
	// Partitions spreads the topics over a Cluster. Default 16; without a
	// Cluster it is 1.
	Partitions int
	// MaxLog is how many changes of a topic are kept, and up to a hundred
	// more. Default 1024.
	MaxLog int
	// Retain is how long the changes of a topic without members are kept.
	// Default 1 min, at least 1 s.
	Retain time.Duration
	// Probe is how often a connection for events is tested. Default 1 s.
	Probe time.Duration
	// Logger hears of lost connections. Nil is silent.
	Logger *slog.Logger
}

func (o Options) withDefaults(cluster bool) (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "plimsoll:presence"
	}
	if o.Partitions == 0 {
		o.Partitions = 16
	}
	if o.MaxLog == 0 {
		o.MaxLog = 1024
	}
	if o.Retain == 0 {
		o.Retain = time.Minute
	}
	if o.Probe == 0 {
		o.Probe = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if strings.ContainsAny(o.Prefix, "{}") {
		errs = append(errs, fmt.Errorf("redisstore: Options.Prefix = %q, want no braces", o.Prefix))
	}
	if o.Partitions < 1 || o.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("redisstore: Options.Partitions = %d, want 1 to 1024", o.Partitions))
	}
	if o.MaxLog < 1 {
		errs = append(errs, fmt.Errorf("redisstore: Options.MaxLog = %d, want > 0", o.MaxLog))
	}
	if o.Retain < time.Second {
		errs = append(errs, fmt.Errorf("redisstore: Options.Retain = %v, want >= 1s", o.Retain))
	}
	if o.Probe < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("redisstore: Options.Probe = %v, want >= 10ms", o.Probe))
	}
	if !cluster {
		o.Partitions = 1
	}
	return o, errors.Join(errs...)
}

// Stats counts what a Store did since New.
type Stats struct {
	Topics  int    // subscribed, by any session
	Events  uint64 // given to sessions
	Dropped uint64 // events that a session was too slow for
	Lost    uint64 // connections for events
	Starved uint64 // of these, open and silent
}

// Store is a [presence.Store] in Redis. See the package for its goroutines.
type Store struct {
	client redis.UniversalClient
	opt    Options
	parts  redislink.Partitions
	link   *redislink.Link

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session // by node, the latest
	topics   map[string]*topic

	events, dropped atomic.Uint64
}

// topic is one that a session of this Store has subscribed to.
type topic struct {
	refs int // calls of Subscribe under way, and subs
	subs map[*session]struct{}
}

var _ presence.Store = (*Store)(nil)

// New returns a Store on client, which stays the caller's to close, after the
// Store. Its error names every fault of the options. Redis is not asked yet.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	cluster, err := redislink.Check("redisstore", client)
	o, optErr := o.withDefaults(cluster)
	if err = errors.Join(err, optErr); err != nil {
		return nil, err
	}
	s := &Store{
		client: client, opt: o, parts: redislink.NewPartitions(o.Partitions),
		sessions: map[string]*session{}, topics: map[string]*topic{},
	}
	s.link = redislink.New(client, o.Partitions, redislink.Options{
		Message: s.heard, Acked: func(string) {}, Base: s.base, Probe: o.Probe, Logger: o.Logger,
	})
	return s, nil
}

// Close ends the events of all sessions, and returns when no goroutine is left.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.link.Close()
}

// Stats returns what the Store counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	topics := len(s.topics)
	s.mu.Unlock()
	lost, starved := s.link.Stats()
	return Stats{Topics: topics, Events: s.events.Load(), Dropped: s.dropped.Load(), Lost: lost, Starved: starved}
}

// Names. A partition's leases, the generation of its epochs, and the topics that
// have members; a topic's members and its log, whose name is its channel's too.
func (s *Store) base(part int) string   { return s.parts.Tag(part) + s.opt.Prefix + ":" }
func (s *Store) leases(part int) string { return s.base(part) + "n" }
func (s *Store) gen(part int) string    { return s.base(part) + "g" }
func (s *Store) index(part int) string  { return s.base(part) + "t" }
func (s *Store) members(part int, topic string) string {
	return s.base(part) + "m:" + topic
}

func (s *Store) log(part int, topic string) string {
	return s.base(part) + "l:" + topic
}

// Open implements [presence.Store].
func (s *Store) Open(ctx context.Context, node string, lease time.Duration, events func(presence.Event)) (presence.Session, error) {
	x := &session{store: s, name: rand.Text() + ":" + node, lease: lease, events: events}
	for part := range s.parts.Len() {
		err := openScript.Run(ctx, s.client, []string{s.leases(part), s.gen(part)}, x.name, lease.Milliseconds()).Err()
		if err != nil {
			return nil, fmt.Errorf("redisstore: open: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if old := s.sessions[node]; old != nil {
		s.retireLocked(old)
	}
	s.sessions[node] = x
	return x, nil
}

// retireLocked ends the subscriptions of a session.
func (s *Store) retireLocked(x *session) {
	for name, t := range s.topics {
		if _, ok := t.subs[x]; ok {
			delete(t.subs, x)
			s.leaveLocked(name, t)
		}
	}
}

func (s *Store) leaveLocked(name string, t *topic) {
	if t.refs--; t.refs == 0 {
		delete(s.topics, name)
		part := s.parts.Of(name)
		s.link.Unsubscribe(part, s.log(part, name))
	}
}

// heard gives events to the sessions that have subscribed.
func (s *Store) heard(channel, payload string) {
	_, rest, _ := strings.Cut(channel, "}")
	name, _ := strings.CutPrefix(rest, s.opt.Prefix+":l:")
	s.mu.Lock()
	var subs []*session
	if t := s.topics[name]; t != nil {
		for x := range t.subs {
			subs = append(subs, x)
		}
	}
	s.mu.Unlock()
	if len(subs) == 0 {
		return
	}
	events := published(name, payload)
	for _, x := range subs {
		x.hear(events)
	}
}
