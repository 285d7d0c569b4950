package dating

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/plimsoll-go/plimsoll/lru"
	"github.com/plimsoll-go/plimsoll/presence"
)

// Account is asked for memory before it is used. A *memmgr.Account is one.
type Account interface {
	Reserve(bytes int64) error // an error at once, never waits
	Release(bytes int64)
}

// Options are what a Platform is made of.
type Options struct {
	Rules Rules
	// Store keeps what must last. Required.
	Store Store
	// Bus connects the nodes. Required; bus.NewMemory for one process.
	Bus Bus
	// Presence knows who is here, and holds the queue. Required. The Platform
	// uses it and does not shut it down. Its MaxMeta must be 256 or more.
	Presence *presence.Tracker
	// Deliver takes every event for a person with a socket on this node, in
	// the order of what happened. Required. It is called with no lock held and
	// must not wait; it may call the Platform.
	Deliver func(Event)
	// Node names this node among those on the bus: lower-case letters and
	// digits, at most 16. Default "n1".
	Node string

	// MaxSockets bounds the sockets of this node. Required, > 0.
	MaxSockets int
	// MaxUsers, MaxSessions and MaxRelations bound the caches. Default:
	// 2 x MaxSockets each.
	MaxUsers, MaxSessions, MaxRelations int
	// MediaBytes bounds the cache of pictures. Default 4 MiB.
	MediaBytes int64
	// Hashers bounds how many passwords are hashed at once; eight times as
	// many may wait. Default 2.
	Hashers int

	// CacheAccount is for the caches, Account for people, calls and chat. Nil:
	// only the bounds above.
	CacheAccount, Account Account
	// Watch, if set, is told of each look-up in the caches of users and of
	// sessions, and of each entry put there unasked: for measuring what size
	// they need. It must not wait.
	Watch func(CacheUse)
	// Logger, nil means silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	want := func(ok bool, field string, value any, wish string) {
		if !ok {
			errs = append(errs, fmt.Errorf("dating: Options.%s = %v, want %s", field, value, wish))
		}
	}
	rules, err := o.Rules.withDefaults()
	o.Rules = rules
	errs = append(errs, err)
	want(o.Store != nil, "Store", nil, "a store")
	want(o.Bus != nil, "Bus", nil, "a bus")
	want(o.Presence != nil, "Presence", nil, "a tracker")
	want(o.Deliver != nil, "Deliver", nil, "a function")
	want(o.MaxSockets > 0, "MaxSockets", o.MaxSockets, "> 0")
	def := func(name string, v *int, d int) {
		if *v == 0 {
			*v = d
		}
		want(*v > 0 || o.MaxSockets <= 0, name, *v, "> 0")
	}
	def("MaxUsers", &o.MaxUsers, 2*o.MaxSockets)
	def("MaxSessions", &o.MaxSessions, 2*o.MaxSockets)
	def("MaxRelations", &o.MaxRelations, 2*o.MaxSockets)
	def("Hashers", &o.Hashers, 2)
	if o.MediaBytes == 0 {
		o.MediaBytes = 4 << 20
	}
	want(o.MediaBytes > 0, "MediaBytes", o.MediaBytes, "> 0")
	if o.Node == "" {
		o.Node = "n1"
	}
	want(len(o.Node) <= 16 && strings.Trim(o.Node, "abcdefghijklmnopqrstuvwxyz0123456789") == "", "Node", o.Node, "up to 16 of a-z and 0-9")
	if o.Watch == nil {
		o.Watch = func(CacheUse) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}

// Platform is one node of the platform: the rules, on a Store and a Bus.
type Platform struct {
	rules       Rules
	store       Store
	bus         Bus
	presence    *presence.Tracker
	deliver     func(Event)
	node        string
	incarnation string
	maxSockets  int
	account     Account
	log         *slog.Logger
	watch       func(CacheUse)

	users     *lru.Cache[UserID, *User]
	sessions  *lru.Cache[TokenHash, Session]
	relations *lru.Cache[UserID, *relations]
	media     *lru.Cache[string, Media]
	hashers   hashers
	nobody    []byte
	notices   [couriers]chan command // for other nodes, in the order of each person's
	out       outbox
	versions  atomic.Uint64  // of relations, for QueueWindow
	accepts   sync.WaitGroup // calls that are being made durable
	tasks     sync.WaitGroup // Run, and what goes on behind an answer
	life      context.Context
	kill      context.CancelFunc

	mu       sync.Mutex
	state    lifeState
	people   map[UserID]*person // with a socket here
	sockets  map[string]*socket
	invites  map[string]*invite // of callers here
	calls    map[string]*call   // of invites of this node, and of nodes that stopped
	homes    map[string]*home   // the nodes that stopped, by name
	moves    map[string]string  // calls of this node that another one has taken, by room
	bereaved time.Time          // a node left: its calls are looked for
	said     []Pending          // chat on its way to the store
	stats    counters
}

// lifeState only goes up.
type lifeState int

const (
	fresh   lifeState = iota
	running           // Run joined the bus
	ready             // and has finished what was left open
	draining
	closed
)

// New builds a node. It reads nothing yet: Run does. Its error names every
// option that is wrong.
func New(o Options) (*Platform, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Platform{
		rules: o.Rules, store: o.Store, bus: o.Bus, presence: o.Presence, deliver: o.Deliver,
		node: o.Node, incarnation: randomID(8), maxSockets: o.MaxSockets, account: o.Account, log: o.Logger, watch: o.Watch,
		hashers: newHashers(o.Hashers),
		people:  make(map[UserID]*person), sockets: make(map[string]*socket),
		invites: make(map[string]*invite), calls: make(map[string]*call),
		homes: make(map[string]*home), moves: make(map[string]string),
	}
	for i := range p.notices {
		p.notices[i] = make(chan command, 256)
	}
	// What a login with an unknown address is compared with, so that it takes
	// as long as one with a known.
	if p.nobody, err = bcrypt.GenerateFromPassword([]byte(rand.Text()), o.Rules.PasswordCost); err != nil {
		return nil, fmt.Errorf("dating: hash a password: %w", err)
	}
	p.life, p.kill = context.WithCancel(context.Background())
	if err := p.makeCaches(o); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// Run joins the bus, finishes the calls that an earlier incarnation of this
// node left open, and then writes chat, says that the node lives and finishes
// the calls of dead nodes, until ctx ends or Shutdown is called. It blocks.
func (p *Platform) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.state != fresh {
		p.mu.Unlock()
		return errors.New("dating: Run was called before")
	}
	p.state = running
	p.tasks.Add(1)
	p.mu.Unlock()
	defer p.tasks.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.life, cancel)()

	leave, err := p.bus.Join(ctx, p.node, Handler{Message: p.heard, Request: p.asked, Left: p.left, Missed: p.missed})
	if err != nil {
		return fmt.Errorf("dating: join the bus: %w", err)
	}
	defer leave()
	anchors, err := p.anchor()
	if err != nil {
		return fmt.Errorf("dating: watch the counts: %w", err)
	}
	defer anchors()
	var courier sync.WaitGroup
	for _, notices := range p.notices {
		courier.Go(func() { p.courier(ctx, notices) })
	}
	defer courier.Wait()
	return p.keep(ctx)
}

// Ready reports why this node should get no new people: nil when it should.
func (p *Platform) Ready(ctx context.Context) error {
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	switch {
	case state >= draining:
		return refuse(Draining, "this server is going away")
	case state < ready:
		return refuse(Unavailable, "this server is starting")
	}
	if err := p.store.Ping(ctx); err != nil {
		return unavailable("the database does not answer", err)
	}
	if err := p.bus.Ping(ctx); err != nil {
		return unavailable("the bus does not answer", err)
	}
	return nil
}

// Drain refuses new people, invites and calls with Draining. Every invite of
// this node ends with the reason restart: call:expired, which leaves no
// cooldown. Its calls go on on another node, where their people find them when
// they come back; without one they end: session:finalized, with the reason
// restart. It returns when all were told, or when ctx ends; what is left then
// goes on behind it. Call it while the sockets are open. One that closes later
// is not held against its person.
func (p *Platform) Drain(ctx context.Context) {
	var open []*invite
	p.mu.Lock()
	p.state = max(p.state, draining)
	for _, in := range p.invites {
		if !in.held { // else whoever is at it ends it
			in.held = true
			open = append(open, in)
		}
	}
	p.mu.Unlock()
	quiet := make(chan struct{})
	if p.background(func() {
		defer close(quiet)
		for _, in := range open {
			p.closeInvite(in, CallExpiredKind, "restart")
		}
		p.accepts.Wait()
	}) {
		select {
		case <-quiet:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	calls := slices.Collect(maps.Values(p.calls))
	p.mu.Unlock()
	calls = p.handOver(ctx, calls)
	for _, c := range calls {
		p.end(c, "restart")
	}
	for _, c := range calls {
		select {
		case <-c.told:
		case <-ctx.Done():
			return
		}
	}
	p.out.wait()
}

// Shutdown drains, waits until the histories are written, and ends Run. When
// it returns nil no goroutine or timer of p is left; if ctx ends first, what
// could not be written is finished by the next start on the same store, and the
// error is ctx's.
func (p *Platform) Shutdown(ctx context.Context) error {
	p.Drain(ctx)
	p.mu.Lock()
	if p.state == closed {
		p.mu.Unlock()
		return nil
	}
	p.state = closed
	p.mu.Unlock()
	p.accepts.Wait()
	p.mu.Lock()
	invites, calls := slices.Collect(maps.Values(p.invites)), slices.Collect(maps.Values(p.calls))
	p.mu.Unlock()
	for _, in := range invites {
		p.closeInvite(in, CallExpiredKind, "restart")
	}
	for _, c := range calls {
		p.end(c, "restart")
	}
	var err error
	for _, c := range calls {
		select {
		case <-c.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	p.mu.Lock()
	p.kill()
	p.mu.Unlock()
	p.tasks.Wait()
	p.mu.Lock()
	lost := len(p.said) // the database was away to the end
	p.mu.Unlock()
	p.forgetSaid(lost)
	p.out.wait()
	p.closeCaches()
	return err
}

// admitLocked refuses new work once the node drains.
func (p *Platform) admitLocked() error {
	switch {
	case p.state >= draining:
		return refuse(Draining, "this server is going away")
	case p.state < ready:
		return refuse(Unavailable, "this server is starting")
	}
	return nil
}

func (p *Platform) reserve(n int64) error {
	if p.account == nil {
		return nil
	}
	if err := p.account.Reserve(n); err != nil {
		return &Error{Code: Overloaded, Message: "no memory is left for this", cause: err}
	}
	return nil
}

func (p *Platform) release(n int64) {
	if p.account != nil && n > 0 {
		p.account.Release(n)
	}
}

// randomID is n characters of 5 random bits each.
func randomID(n int) string { return strings.ToLower(rand.Text()[:n]) }

// now is the wall clock as it goes on the wire and into the store.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
