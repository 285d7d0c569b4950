package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Memory is a dating.Bus for the nodes of one process.
type Memory struct {
	mu     sync.Mutex
	nodes  map[string]*node
	claims map[string]claim
	sweep  int // forget the claims that are over when there are so many
	stats  dating.BusStats
}

type node struct {
	handler dating.Handler
	people  map[dating.UserID]bool
	lines   map[string]*line // by sender
}

// line brings one sender's messages to one node: in order, one at a time, and
// with no lock held while the node is at it. Whoever finds the line free
// delivers, also what others put in meanwhile.
type line struct {
	mu      sync.Mutex
	waiting [][]byte
	busy    bool
}

// lineMax bounds what waits in a line. More is dropped and counted.
const lineMax = 4096

type claim struct {
	owner string
	until time.Time
}

var _ dating.Bus = (*Memory)(nil)

// NewMemory returns an empty bus.
func NewMemory() *Memory {
	return &Memory{nodes: make(map[string]*node), claims: make(map[string]claim), sweep: 1024}
}

// Join puts a node on the bus. It fails if there is one of that name.
func (m *Memory) Join(_ context.Context, name string, h dating.Handler) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes[name] != nil {
		return nil, fmt.Errorf("bus: there is a node %q already", name)
	}
	n := &node{handler: h, people: make(map[dating.UserID]bool), lines: make(map[string]*line)}
	m.nodes[name] = n
	return func() { m.remove(name, n) }, nil
}

// remove tells the others.
func (m *Memory) remove(name string, n *node) {
	var others []*node
	m.mu.Lock()
	if m.nodes[name] == n {
		delete(m.nodes, name)
		for _, other := range m.nodes {
			delete(other.lines, name)
			others = append(others, other)
		}
	}
	m.mu.Unlock()
	for _, other := range others {
		if other.handler.Left != nil {
			other.handler.Left(name)
		}
	}
}

// Kill takes a node off the bus as if its process had ended.
func (m *Memory) Kill(name string) {
	m.mu.Lock()
	n := m.nodes[name]
	m.mu.Unlock()
	if n != nil {
		m.remove(name, n)
	}
}

// Subscribe makes node hear what is published to id.
func (m *Memory) Subscribe(_ context.Context, name string, id dating.UserID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[name]
	if n == nil {
		return dating.ErrNoNode
	}
	n.people[id] = true
	return nil
}

// Unsubscribe ends that.
func (m *Memory) Unsubscribe(name string, id dating.UserID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[name]; n != nil {
		delete(n.people, id)
	}
}

// Publish reaches every other node that has subscribed to id.
func (m *Memory) Publish(from string, id dating.UserID, payload []byte) {
	m.tell(from, payload, func(n *node) bool { return n.people[id] })
}

// Broadcast reaches every other node.
func (m *Memory) Broadcast(from string, payload []byte) {
	m.tell(from, payload, func(*node) bool { return true })
}

func (m *Memory) tell(from string, payload []byte, wants func(*node) bool) {
	type receiver struct {
		n *node
		l *line
	}
	var to []receiver
	m.mu.Lock()
	m.stats.Published++
	for name, n := range m.nodes {
		if name == from || !wants(n) {
			continue
		}
		l := n.lines[from]
		if l == nil {
			l = new(line)
			n.lines[from] = l
		}
		to = append(to, receiver{n, l})
	}
	m.mu.Unlock()
	for _, r := range to {
		taken := r.l.send(payload, func(b []byte) { r.n.handler.Message(from, b) })
		m.mu.Lock()
		if taken {
			m.stats.Delivered++
		} else {
			m.stats.Dropped++
		}
		m.mu.Unlock()
	}
}

func (l *line) send(payload []byte, deliver func([]byte)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= lineMax {
		return false
	}
	l.waiting = append(l.waiting, payload)
	if l.busy {
		return true
	}
	l.busy = true
	for len(l.waiting) > 0 {
		all := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		for _, b := range all {
			deliver(b)
		}
		l.mu.Lock()
	}
	l.busy = false
	return true
}

// Peers gives the names of the other nodes.
func (m *Memory) Peers(name string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for other := range m.nodes {
		if other != name {
			names = append(names, other)
		}
	}
	return names
}

// Ping says that the process is there.
func (m *Memory) Ping(context.Context) error { return nil }

// Request has a command carried out by one node, on the caller's goroutine.
func (m *Memory) Request(ctx context.Context, from, name, _ string, payload []byte) ([]byte, error) {
	m.mu.Lock()
	n := m.nodes[name]
	m.stats.Requests++
	m.mu.Unlock()
	if n == nil {
		return nil, dating.ErrNoNode
	}
	return n.handler.Request(ctx, from, payload)
}

// Claim takes all keys for owner until ttl is over, or none.
func (m *Memory) Claim(_ context.Context, owner string, ttl time.Duration, keys ...string) (bool, error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		if c, ok := m.claims[k]; ok && c.owner != owner && now.Before(c.until) {
			return false, nil
		}
	}
	for _, k := range keys {
		m.claims[k] = claim{owner, now.Add(ttl)}
	}
	if len(m.claims) >= m.sweep {
		for k, c := range m.claims {
			if !now.Before(c.until) {
				delete(m.claims, k)
			}
		}
		m.sweep = max(1024, 2*len(m.claims))
	}
	return true, nil
}

// Release gives back those of keys that owner holds.
func (m *Memory) Release(_ context.Context, owner string, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		if m.claims[k].owner == owner {
			delete(m.claims, k)
		}
	}
	return nil
}

// Holder gives who holds key, empty if nobody.
func (m *Memory) Holder(_ context.Context, key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.claims[key]
	if ok && !time.Now().Before(c.until) {
		delete(m.claims, key)
		ok = false
	}
	if !ok {
		return "", nil
	}
	return c.owner, nil
}

// Stats gives the figures since the start.
func (m *Memory) Stats() dating.BusStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Nodes, s.Claims = len(m.nodes), len(m.claims)
	return s
}
