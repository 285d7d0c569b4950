package dating_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store"
	"github.com/plimsoll-go/plimsoll/presence"
)

// world is a platform of one or more nodes on one store and one bus. Most
// tests run it in a synctest bubble, where time passes when everybody waits.
type world struct {
	t      *testing.T
	path   string
	store  *store.SQLite
	bus    *bus.Memory
	forget atomic.Value // the node whose next answer does not arrive
	share  presence.Store
	rules  dating.Rules
	nodes  []*server

	faulty  dating.Store // in the place of store
	account *ledger
}

// server is one node and what its browsers were told.
type server struct {
	*dating.Platform
	w       *world
	tracker *presence.Tracker
	ran     chan error

	mu     sync.Mutex
	events []dating.Event
	hook   func(dating.Event)
}

func newWorld(t *testing.T, nodes int, rules dating.Rules) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "dating.db"), bus: bus.NewMemory(), rules: rules}
	if rules.FlushEvery == 0 { // a test that sleeps for a day should not beat 86,400 times
		w.rules.FlushEvery, w.rules.NodeLease = time.Minute, time.Hour
	}
	w.rules.PasswordCost = 4
	var err error
	w.store, err = store.OpenSQLite(t.Context(), w.path, store.Options{})
	require.NoError(t, err)
	if nodes > 1 {
		w.share = presence.NewMemoryStore()
	}
	for i := range nodes {
		w.start("n" + string(rune('1'+i)))
	}
	return w
}

func (w *world) start(name string) *server {
	w.t.Helper()
	s := &server{w: w, ran: make(chan error, 1)}
	var err error
	s.tracker, err = presence.New(presence.Options{
		MaxUsers: 4000, MaxSockets: 4000, MaxTopics: 8, MaxWatchers: 4000, MaxMeta: 256, Store: w.share, Node: name,
	})
	require.NoError(w.t, err)
	var st dating.Store = w.store
	if w.faulty != nil {
		st = w.faulty
	}
	var account dating.Account
	if w.account != nil {
		account = w.account
	}
	s.Platform, err = dating.New(dating.Options{
		Account: account, Rules: w.rules, Store: st, Bus: &forgetful{w.bus, &w.forget}, Presence: s.tracker, Deliver: s.deliver, Node: name, MaxSockets: 2000,
	})
	require.NoError(w.t, err)
	go func() { s.ran <- s.Run(context.Background()) }()
	require.Eventually(w.t, func() bool { return s.Ready(context.Background()) == nil }, 10*time.Second, time.Millisecond)
	w.nodes = append(w.nodes, s)
	return s
}

func (s *server) stop() {
	require.NoError(s.w.t, s.Shutdown(context.Background()))
	if s.ran != nil {
		require.NoError(s.w.t, <-s.ran)
	}
	require.NoError(s.w.t, s.tracker.Shutdown(context.Background()))
}

func (w *world) close() {
	for _, s := range w.nodes {
		s.stop()
	}
	require.NoError(w.t, w.store.Close())
}

func (s *server) deliver(e dating.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(e)
	}
}

// person is somebody with browsers.
type person struct {
	*server
	id      dating.UserID
	token   string
	session dating.Session
	tab     string // the first
}

var tabs struct {
	sync.Mutex
	n int
}

// guest signs up and opens a tab.
func (s *server) guest(name string) *person {
	s.w.t.Helper()
	c, err := s.SignUp(context.Background(), dating.Newcomer{Name: name, Gender: "unspecified"})
	require.NoError(s.w.t, err)
	p := &person{server: s, id: c.UserID, token: c.Token}
	p.session, err = s.Authenticate(context.Background(), c.Token)
	require.NoError(s.w.t, err)
	p.tab = p.open()
	return p
}

// open opens a (further) tab, free one queues.
func (p *person) open() string {
	p.w.t.Helper()
	tabs.Lock()
	tabs.n++
	id := "tab-" + string(p.id) + "-" + time.Duration(tabs.n).String()
	tabs.Unlock()
	require.NoError(p.w.t, p.SocketOpened(context.Background(), p.id, id, p.session))
	return id
}

func (s *server) free(name string) *person {
	s.w.t.Helper()
	p := s.guest(name)
	p.queue()
	return p
}

func (p *person) queue() {
	p.w.t.Helper()
	require.NoError(p.w.t, p.JoinQueue(context.Background(), p.id, p.tab))
}

// at is the same person on another node.
func (p *person) at(s *server) *person {
	p.w.t.Helper()
	other := &person{server: s, id: p.id, token: p.token, session: p.session}
	other.tab = other.open()
	return other
}

func (p *person) invite(to *person, seconds int) (dating.InviteView, error) {
	return p.Invite(context.Background(), p.id, p.tab, to.id, seconds)
}

func (p *person) accept(invite string, seconds int) (dating.CallStart, error) {
	return p.Accept(context.Background(), p.id, p.tab, invite, seconds)
}

// call has p call to, who accepts.
func (p *person) call(to *person, seconds int) dating.CallStart {
	p.w.t.Helper()
	in, err := p.invite(to, seconds)
	require.NoError(p.w.t, err)
	start, err := to.accept(in.InviteID, seconds)
	require.NoError(p.w.t, err)
	return start
}

// told gives the events of a kind for a person so far, on one node.
func (p *person) told(kind string) []dating.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []dating.Event
	for _, e := range p.events {
		if e.To == p.id && e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// last gives the data of the only event of a kind.
func last[T any](p *person, kind string) T {
	p.w.t.Helper()
	list := p.told(kind)
	require.NotEmpty(p.w.t, list, "%s was not told", kind)
	return list[len(list)-1].Data.(T)
}

func (p *person) calls() []dating.HistoryEntry {
	p.w.t.Helper()
	h, err := p.History(context.Background(), p.id, "")
	require.NoError(p.w.t, err)
	return h.Calls
}

func refused(t *testing.T, code dating.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, dating.CodeOf(err), "%v", err)
}

// bubble runs f in a synctest bubble on a world of so many nodes.
func bubble(t *testing.T, nodes int, f func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nodes, dating.Rules{})
		defer w.close()
		f(t, w)
	})
}

func bubbleRules(t *testing.T, nodes int, rules dating.Rules, f func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nodes, rules)
		defer w.close()
		f(t, w)
	})
}

// forgetful is a bus on which the answer to a request may be lost, since the
// node that was asked has left.
type forgetful struct {
	*bus.Memory
	forget *atomic.Value
}

func (b *forgetful) Request(ctx context.Context, from, node, key string, payload []byte) ([]byte, error) {
	answer, err := b.Memory.Request(ctx, from, node, key, payload)
	if b.forget.CompareAndSwap(from, "") {
		return nil, dating.ErrNoNode
	}
	return answer, err
}
