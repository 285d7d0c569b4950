package presence

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// MemoryStore is a Store within one process: for tests, and for several
// trackers in one program. Its methods may be called from any goroutine; it
// owns none. Events are delivered on the goroutine whose Apply caused them.
type MemoryStore struct {
	mu     sync.Mutex
	serial uint64
	leases map[string]*lease // by incarnation; the dead until their entries are reaped
	topics map[string]*shelf
}

type lease struct {
	node    string
	session *memorySession
	until   time.Time
}

// shelf is one topic in the store.
type shelf struct {
	epoch   string
	offset  uint64
	entries map[entryKey]Event // each as the Put that made it
	log     []Event            // the latest
	subs    map[*memorySession]bool
}

type entryKey struct{ user, incarnation string }

const (
	logSize   = 1024 // events kept for each topic
	queueSize = 4096 // events waiting for one session; more are lost, and read again
)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	s := &MemoryStore{}
	s.Lose()
	return s
}

// Lose makes the store forget everything, as an engine that restarts without
// its disk. Nodes notice and say again who is there.
func (s *MemoryStore) Lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = make(map[string]*lease)
	s.topics = make(map[string]*shelf)
}

// Len returns how many leases, topics and entries the store holds.
func (s *MemoryStore) Len() (leases, topics, entries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.topics {
		entries += len(sh.entries)
	}
	return len(s.leases), len(s.topics), entries
}

// Open implements Store.
func (s *MemoryStore) Open(_ context.Context, node string, ttl time.Duration, events func(Event)) (Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, l := range s.leases {
		if l.node == node && l.until.After(now) {
			l.until = now
		}
	}
	s.serial++
	m := &memorySession{store: s, name: node + "#" + strconv.FormatUint(s.serial, 10), ttl: ttl, events: events}
	s.leases[m.name] = &lease{node: node, session: m, until: now.Add(ttl)}
	return m, nil
}

func (s *MemoryStore) shelf(topic string) *shelf {
	sh := s.topics[topic]
	if sh == nil {
		s.serial++
		sh = &shelf{
			epoch:   strconv.FormatUint(s.serial, 10),
			entries: make(map[entryKey]Event),
			subs:    make(map[*memorySession]bool),
		}
		s.topics[topic] = sh
	}
	return sh
}

// drop frees a topic that nobody is in or looks at.
func (s *MemoryStore) drop(topic string) {
	if sh := s.topics[topic]; sh != nil && len(sh.entries) == 0 && len(sh.subs) == 0 {
		delete(s.topics, topic)
	}
}

// change makes op in the name of an incarnation, and returns whether anything
// changed.
func (sh *shelf) change(op Op, incarnation string) bool {
	own := entryKey{op.User, incarnation}
	e := Event{Kind: op.Kind, Topic: op.Topic, Pos: Position{sh.epoch, sh.offset + 1}, User: op.User, Incarnation: incarnation}
	switch op.Kind {
	case Put:
		e.Meta, e.Tag = slices.Clone(op.Meta), op.Tag
		sh.entries[own] = e
	case Drop:
		if _, ok := sh.entries[own]; !ok {
			return false
		}
		delete(sh.entries, own)
	case Leave:
		if op.Seen.Epoch == sh.epoch {
			e.Seen = op.Seen.Offset
		}
		n := len(sh.entries)
		for k, x := range sh.entries {
			if k.user == op.User && (k == own || x.Pos.Offset <= e.Seen) {
				delete(sh.entries, k)
			}
		}
		if len(sh.entries) == n {
			return false
		}
	}
	sh.offset++
	sh.log = append(sh.log, e)
	if len(sh.log) > 2*logSize {
		sh.log = slices.Clone(sh.log[logSize:])
	}
	for m := range sh.subs {
		m.enqueue(e)
	}
	return true
}

type memorySession struct {
	store  *MemoryStore
	name   string
	ttl    time.Duration
	events func(Event)

	mu    sync.Mutex
	queue []Event
	busy  bool
}

func (m *memorySession) Incarnation() string { return m.name }

func (m *memorySession) alive() bool {
	l := m.store.leases[m.name]
	return l != nil && time.Now().Before(l.until)
}

func (m *memorySession) Renew(context.Context) ([]string, error) {
	s := m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.alive() {
		return nil, ErrFenced
	}
	now := time.Now()
	s.leases[m.name].until = now.Add(m.ttl)
	var names []string
	for name, l := range s.leases {
		if l.until.After(now) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (m *memorySession) Subscribe(_ context.Context, topic string) error {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.store.shelf(topic).subs[m] = true
	return nil
}

func (m *memorySession) Unsubscribe(_ context.Context, topic string) error {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	if sh := m.store.topics[topic]; sh != nil {
		delete(sh.subs, m)
		m.store.drop(topic)
	}
	return nil
}

func (m *memorySession) Apply(_ context.Context, ops []Op) error {
	s := m.store
	s.mu.Lock()
	if !m.alive() {
		s.mu.Unlock()
		return ErrFenced
	}
	told := make(map[*memorySession]bool)
	for _, op := range ops {
		sh := s.shelf(op.Topic)
		if sh.change(op, m.name) {
			for sub := range sh.subs {
				told[sub] = true
			}
		}
		s.drop(op.Topic)
	}
	s.mu.Unlock()
	for sub := range told {
		sub.drain()
	}
	return nil
}

func (m *memorySession) Read(_ context.Context, topic string, from Position) (Update, error) {
	s := m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.topics[topic]
	if sh == nil {
		return Update{All: true}, nil
	}
	u := Update{Pos: Position{sh.epoch, sh.offset}}
	first := sh.offset - uint64(len(sh.log)) // the log reaches back to here
	if from.Epoch == sh.epoch && from.Offset >= first && from.Offset <= sh.offset {
		u.Events = slices.Clone(sh.log[from.Offset-first:])
		return u, nil
	}
	u.All = true
	for _, e := range sh.entries {
		u.Events = append(u.Events, e)
	}
	slices.SortFunc(u.Events, func(a, b Event) int { return int(a.Pos.Offset) - int(b.Pos.Offset) })
	return u, nil
}

func (m *memorySession) Positions(_ context.Context, topics []string) ([]Position, error) {
	s := m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Position, len(topics))
	for i, name := range topics {
		if sh := s.topics[name]; sh != nil {
			out[i] = Position{sh.epoch, sh.offset}
		}
	}
	return out, nil
}

func (m *memorySession) Reap(_ context.Context, age time.Duration) (int, error) {
	s := m.store
	s.mu.Lock()
	now := time.Now()
	for name, l := range s.leases {
		if now.Sub(l.until) >= age && !l.until.After(now) {
			delete(s.leases, name)
		}
	}
	n := 0
	told := make(map[*memorySession]bool)
	for name, sh := range s.topics {
		for k := range sh.entries {
			if s.leases[k.incarnation] == nil {
				sh.change(Op{Kind: Drop, Topic: name, User: k.user}, k.incarnation)
				n++
			}
		}
		for sub := range sh.subs {
			if s.leases[sub.name] == nil {
				delete(sh.subs, sub)
				continue
			}
			told[sub] = true
		}
		s.drop(name)
	}
	s.mu.Unlock()
	for sub := range told {
		sub.drain()
	}
	return n, nil
}

func (m *memorySession) Close(context.Context) error {
	s := m.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[m.name]; l != nil {
		l.until = time.Now()
	}
	for name, sh := range s.topics {
		delete(sh.subs, m)
		s.drop(name)
	}
	return nil
}

func (m *memorySession) enqueue(e Event) {
	m.mu.Lock()
	if len(m.queue) < queueSize {
		m.queue = append(m.queue, e)
	}
	m.mu.Unlock()
}

// drain delivers what is queued, one goroutine at a time, without a lock.
func (m *memorySession) drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy {
		return
	}
	m.busy = true
	for len(m.queue) > 0 {
		e := m.queue[0]
		m.queue = m.queue[1:]
		m.mu.Unlock()
		m.events(e)
		m.mu.Lock()
	}
	m.busy = false
}
