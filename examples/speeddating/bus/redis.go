package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// RedisOptions are what a Redis bus is made of.
type RedisOptions struct {
	// Client talks to Redis 7 or later, or to a Redis Cluster. Required. The
	// bus uses it and does not close it.
	Client redis.UniversalClient
	// Prefix begins every key. Default "plimsoll".
	Prefix string
	// MaxQueueBytes bounds what waits for one other node, also while Redis is
	// away. Required, > 0.
	MaxQueueBytes int
	// MaxRequests bounds the requests of other nodes that are at work at once;
	// more are refused. Default 1024.
	MaxRequests int
	// Lease is how long a node that says nothing is believed to live. It says
	// so five times as often. Default 5 s.
	Lease time.Duration
	// Settle is how long no claims are made after Redis has lost its data: the
	// nodes say again meanwhile what they hold. Default 1.5 s.
	Settle time.Duration
	// Linger is how long a message waits for company on the way to a node that
	// gets many, so that a busy platform costs few commands; on a quiet one it
	// goes at once. Default 20 ms.
	Linger time.Duration
	// Logger, nil means silent.
	Logger *slog.Logger
}

func (o RedisOptions) withDefaults() (RedisOptions, error) {
	var errs []error
	if o.Client == nil {
		errs = append(errs, errors.New("bus: RedisOptions.Client = nil, want a client"))
	}
	if o.MaxQueueBytes <= 0 {
		errs = append(errs, fmt.Errorf("bus: RedisOptions.MaxQueueBytes = %d, want > 0", o.MaxQueueBytes))
	}
	def := func(name string, d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
		if *d < 0 {
			errs = append(errs, fmt.Errorf("bus: RedisOptions.%s = %v, want > 0", name, *d))
		}
	}
	def("Lease", &o.Lease, 5*time.Second)
	def("Settle", &o.Settle, 1500*time.Millisecond)
	def("Linger", &o.Linger, 20*time.Millisecond)
	if o.MaxRequests == 0 {
		o.MaxRequests = 1024
	}
	if o.MaxRequests < 0 {
		errs = append(errs, fmt.Errorf("bus: RedisOptions.MaxRequests = %d, want > 0", o.MaxRequests))
	}
	if o.Prefix == "" {
		o.Prefix = "plimsoll"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}

// Redis is a dating.Bus for the nodes of several processes.
type Redis struct {
	opt     RedisOptions
	cluster bool
	nodes   string // key: the living, by the end of their lease
	epoch   string // key: which life of the data this is

	mu     sync.Mutex
	joined map[string]*member
	claims map[string]held // of owners here, by key
	sweep  int
	life   string // of the data, as it was last seen
	stats  dating.BusStats
	moved  time.Time // when life changed under a running bus
	ok     time.Time // when Redis last answered
	away   bool      // the last try failed
}

var _ dating.Bus = (*Redis)(nil)

// OpenRedis looks at what Redis it is. The error is of the options, or that it
// does not answer.
func OpenRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Redis{
		opt: o, nodes: "{" + o.Prefix + "}nodes", epoch: "{" + o.Prefix + "}epoch",
		joined: make(map[string]*member), claims: make(map[string]held), sweep: 1024, ok: time.Now(),
	}
	_, r.cluster = o.Client.(*redis.ClusterClient)
	if err := o.Client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("bus: redis: %w", err)
	}
	return r, nil
}

// Ping says whether Redis answers: an error tells since when it does not.
func (r *Redis) Ping(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Leases are renewed once a second: long silence says so too.
	if since := time.Since(r.ok); since > 2*time.Second+r.opt.Lease/5 || r.away && since > time.Second {
		return fmt.Errorf("bus: redis does not answer for %v", since.Round(100*time.Millisecond))
	}
	return nil
}

// outcome notes whether Redis answered.
func (r *Redis) outcome(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.away
	if r.away = err != nil && !isAnswer(err); !r.away {
		r.ok = time.Now()
	}
	switch {
	case r.away && !was:
		r.opt.Logger.Warn("redis does not answer", "err", err)
	case !r.away && was:
		r.opt.Logger.Info("redis answers again")
	}
}

// isAnswer reports whether Redis itself said so. While it loads its data, or
// one of a cluster's masters is down, it is not there.
func isAnswer(err error) bool {
	if errors.Is(err, redis.Nil) {
		return true
	}
	var e redis.Error
	if !errors.As(err, &e) {
		return false
	}
	return !redis.HasErrorPrefix(err, "LOADING") && !redis.HasErrorPrefix(err, "CLUSTERDOWN") && !redis.HasErrorPrefix(err, "MASTERDOWN")
}

// reachable reports whether Redis has answered of late.
func (r *Redis) reachable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.away
}

func (r *Redis) count(f func(*dating.BusStats)) {
	r.mu.Lock()
	f(&r.stats)
	r.mu.Unlock()
}

// Stats gives the figures since the start.
func (r *Redis) Stats() dating.BusStats {
	r.mu.Lock()
	s := r.stats
	s.Nodes, s.Claims, s.Away = len(r.joined), len(r.claims), r.away || time.Since(r.ok) > 2*time.Second+r.opt.Lease/5
	joined := slices.Collect(maps.Values(r.joined))
	r.mu.Unlock()
	for _, m := range joined {
		m.mu.Lock()
		if m.life != nil {
			s.Nodes = max(s.Nodes, 1+len(m.life.peers))
			for _, p := range m.life.peers {
				s.Waiting += len(p.link.queue)
			}
		}
		m.mu.Unlock()
	}
	return s
}

// member gives the node of that name that has joined here.
func (r *Redis) member(name string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.joined[name]; m != nil && m.began.Load() {
		return m
	}
	return nil
}

func (r *Redis) inbox(full string) string { return r.opt.Prefix + ":{" + full + "}in" }
func (r *Redis) pulse(full string) string { return r.opt.Prefix + ":{" + full + "}pulse" }

// Join puts node on the bus: it lives under a lease, and when Join returns all
// others know of it. It fails if there is one of that name.
func (r *Redis) Join(ctx context.Context, name string, h dating.Handler) (leave func(), err error) {
	m := &member{bus: r, name: name, handler: h, people: make(map[dating.UserID]bool), asked: make(map[uint64]*question), lines: make(map[string][]func()),
		work: make(chan struct{}, r.opt.MaxRequests)}
	r.mu.Lock()
	if r.joined[name] != nil {
		r.mu.Unlock()
		return nil, fmt.Errorf("bus: there is a node %q already", name)
	}
	r.joined[name] = m
	r.mu.Unlock()
	if err := m.begin(ctx, ""); err != nil {
		r.mu.Lock()
		delete(r.joined, name)
		r.mu.Unlock()
		return nil, err
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			m.leave()
			r.mu.Lock()
			delete(r.joined, name)
			r.mu.Unlock()
		})
	}, nil
}

// Subscribe makes node hear what is published to id. It returns when every
// other node knows.
func (r *Redis) Subscribe(ctx context.Context, name string, id dating.UserID) error {
	m := r.member(name)
	if m == nil {
		return dating.ErrNoNode
	}
	return m.subscribe(ctx, id)
}

// Unsubscribe ends that.
func (r *Redis) Unsubscribe(name string, id dating.UserID) {
	m := r.member(name)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.people[id] {
		return
	}
	delete(m.people, id)
	for _, p := range m.life.peers {
		p.sendLocked(parcel{kind: gone, id: string(id)})
	}
}

// Publish reaches every other node that has subscribed to id. No other node
// gets a byte of it.
func (r *Redis) Publish(from string, id dating.UserID, payload []byte) {
	m := r.member(from)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	to := m.life.at[id]
	for _, p := range to {
		p.sendLocked(parcel{kind: toUser, id: string(id), body: payload})
	}
	r.count(func(s *dating.BusStats) { s.Published += uint64(len(to)) })
}

// Broadcast reaches every other node.
func (r *Redis) Broadcast(from string, payload []byte) {
	m := r.member(from)
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.life.peers {
		p.sendLocked(parcel{kind: toAll, body: payload})
	}
	r.count(func(s *dating.BusStats) { s.Published += uint64(len(m.life.peers)) })
}

// Peers gives the names of the other nodes.
func (r *Redis) Peers(name string) []string {
	m := r.member(name)
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.life.peers))
	for _, p := range m.life.peers {
		names = append(names, p.name)
	}
	return names
}

// errAway is what a request gets that would only wait for its time to end.
var errAway = errors.New("bus: redis does not answer")

// question is a request that waits.
type question struct {
	to     *peer
	answer chan parcel // room for one
}

// Request has a command carried out by one node, after those with the same key.
func (r *Redis) Request(ctx context.Context, from, name, key string, payload []byte) ([]byte, error) {
	m := r.member(from)
	if m == nil {
		return nil, dating.ErrNoNode
	}
	if err := r.Ping(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	q := &question{answer: make(chan parcel, 1)}
	m.mu.Lock()
	for _, p := range m.life.peers {
		if p.name == name {
			q.to = p
		}
	}
	if q.to == nil {
		m.mu.Unlock()
		return nil, dating.ErrNoNode
	}
	m.last++
	number := m.last
	m.asked[number] = q
	place, fits := q.to.sendLocked(parcel{kind: asking, number: number, id: key, body: payload})
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.asked, number)
		m.mu.Unlock()
	}()
	r.count(func(s *dating.BusStats) { s.Requests++ })
	if !fits {
		return nil, fmt.Errorf("%w: too much waits for node %s", errAway, name)
	}
	select {
	case a := <-q.answer:
		if a.kind == failing {
			return nil, fmt.Errorf("bus: node %s: %s", name, a.body)
		}
		return a.body, nil
	case <-q.to.over:
		return nil, dating.ErrNoNode
	case <-ctx.Done():
		m.mu.Lock()
		q.to.link.takeBack(place)
		m.mu.Unlock()
		return nil, fmt.Errorf("bus: node %s: %w", name, context.Cause(ctx))
	}
}
