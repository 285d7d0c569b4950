package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const (
	inboxLength = 20_000                 // entries; more only if nobody reads, and then the sender repeats
	inboxKeep   = time.Minute            // the inbox of a node that is no more
	readBlock   = time.Second            // one wait for new entries
	suspectFrom = 250 * time.Millisecond // without an acknowledgement a node's pulse is felt
	pulseless   = 200 * time.Millisecond // without a pulse and an acknowledgement a node is dead
	deadKept    = 10 * time.Minute       // the dead are remembered
)

// member is a node that has joined here. Its incarnation, a life, is replaced
// by another one when others have declared it dead.
type member struct {
	bus     *Redis
	name    string
	handler dating.Handler
	work    chan struct{} // a place for each request at work
	tasks   sync.WaitGroup
	began   atomic.Bool // life is there

	mu     sync.Mutex
	life   *life
	left   bool
	people map[dating.UserID]bool
	asked  map[uint64]*question
	lines  map[string][]func() // requests at work, by sender and key, and those that wait for them
	last   uint64              // request
}

// life is an incarnation: an inbox, a lease, and the other nodes. member.mu
// guards its maps. Three goroutines belong to it, and one to each peer; stop
// ends them.
type life struct {
	m      *member
	full   string // name.random
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	peers  map[string]*peer // by full name
	at     map[dating.UserID][]*peer
	dead   map[string]time.Time // declared so by this node
	absent map[string]time.Time // from the list of the living, since
	calm   time.Time            // since when Redis answers without interruption
	probed time.Time            // when the reader last saw what this node sent itself
	ended  bool
}

// peer is another node. Its goroutine writes letters.
type peer struct {
	l      *life
	name   string
	full   string
	link   *link
	people map[dating.UserID]struct{}
	nudge  chan struct{}
	over   chan struct{} // closed when it is dropped
	told   chan struct{} // closed when it has told where its people are
	knows  bool
	faint  time.Time // since when it has no pulse
}

// begin starts a life and makes it known. before names the one that it follows.
func (m *member) begin(ctx context.Context, before string) error {
	l := &life{
		m: m, full: m.name + "." + strings.ToLower(rand.Text()[:10]), peers: make(map[string]*peer),
		at: make(map[dating.UserID][]*peer), dead: make(map[string]time.Time), absent: make(map[string]time.Time),
		calm: time.Now(), probed: time.Now(),
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	alive, err := l.enter(ctx, before)
	if err != nil {
		l.cancel()
		return err
	}
	m.mu.Lock()
	if m.left {
		m.mu.Unlock()
		l.cancel()
		return errors.New("bus: the node has left")
	}
	m.life = l
	m.began.Store(true)
	for _, full := range alive {
		l.meetLocked(full)
	}
	waits := make([]*peer, 0, len(l.peers))
	for _, p := range l.peers {
		waits = append(waits, p)
	}
	m.mu.Unlock()
	l.tasks.Go(l.read)
	l.tasks.Go(l.keep)
	l.tasks.Go(l.beat)
	// Who is dead without our knowing does not answer, and is found out.
	patience := time.NewTimer(m.bus.opt.Lease + 2*time.Second)
	defer patience.Stop()
	for _, p := range waits {
		select {
		case <-p.told:
		case <-p.over:
		case <-patience.C:
			m.bus.opt.Logger.Warn("another node does not say where its people are", "node", p.name)
			return nil
		case <-ctx.Done():
			m.leave()
			return context.Cause(ctx)
		}
	}
	return nil
}

// meetLocked makes another node known, and tells it where our people are.
func (l *life) meetLocked(full string) *peer {
	if p := l.peers[full]; p != nil || full == l.full || l.ended {
		return p
	}
	name, _, _ := strings.Cut(full, ".")
	p := &peer{l: l, name: name, full: full, link: newLink(), people: make(map[dating.UserID]struct{}),
		nudge: make(chan struct{}, 1), over: make(chan struct{}), told: make(chan struct{})}
	l.peers[full] = p
	p.introduceLocked()
	l.tasks.Go(p.write)
	return p
}

// introduceLocked says which people are here.
func (p *peer) introduceLocked() {
	p.link.add(parcel{kind: hello})
	for id := range p.l.m.people {
		p.link.add(parcel{kind: here, id: string(id)})
	}
	p.link.add(parcel{kind: told})
	p.link.urgent = true
	p.wake()
}

// sendLocked puts a parcel in line. It is false if the line is full: then all
// that waited is thrown away, and the other node is told that it missed some.
func (p *peer) sendLocked(c parcel) (number uint64, fits bool) {
	if p.link.bytes+c.cost() > p.l.m.bus.opt.MaxQueueBytes {
		n := len(p.link.queue)
		p.link.overflow()
		p.introduceLocked()
		p.l.m.bus.count(func(s *dating.BusStats) { s.Dropped += uint64(n + 1) })
		return 0, false
	}
	number = p.link.add(c)
	p.wake()
	return number, true
}

func (p *peer) wake() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// dropLocked forgets a node.
func (p *peer) dropLocked() {
	l := p.l
	if l.peers[p.full] != p {
		return
	}
	delete(l.peers, p.full)
	for id := range p.people {
		l.removeLocked(p, id)
	}
	close(p.over)
	p.link.wake()
}

func (l *life) removeLocked(p *peer, id dating.UserID) {
	delete(p.people, id)
	rest := make([]*peer, 0, len(l.at[id]))
	for _, o := range l.at[id] {
		if o != p {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		delete(l.at, id)
	} else {
		l.at[id] = rest
	}
}

// write sends letters until the peer is dropped, at the pace that Linger says,
// a moment after there is something to say.
func (p *peer) write() {
	l, bus := p.l, p.l.m.bus
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	pace := pace{every: bus.opt.Linger}
	retry := time.Duration(0)
	for {
		wait := time.Hour
		l.m.mu.Lock()
		if len(p.link.queue) > p.link.sent {
			wait = max(gather, pace.wait(time.Now()), retry)
		} else if at := p.link.due(); !at.IsZero() {
			wait = max(0, time.Until(at), retry)
		}
		l.m.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-l.ctx.Done():
			return
		case <-p.over:
			return
		case <-p.nudge:
			if retry == 0 {
				wait = max(gather, pace.wait(time.Now()))
			}
			if !sleep(l.ctx, wait) {
				return
			}
		case <-timer.C:
		}
		l.m.mu.Lock()
		letter, some := p.link.next(time.Now())
		var packed []byte
		if letter.from = l.full; some {
			packed = letter.pack() // under the lock: its parcels are the queue's
		}
		l.m.mu.Unlock()
		if !some {
			continue
		}
		pace.took(time.Now())
		if err := l.post(p.full, packed); err != nil {
			retry = min(max(2*retry, 20*time.Millisecond), 250*time.Millisecond)
			retry += mrand.N(retry/2 + 1)
			continue
		}
		retry = 0
		l.m.mu.Lock()
		p.link.went(letter, time.Now())
		more := len(p.link.queue) > p.link.sent
		l.m.mu.Unlock()
		bus.count(func(s *dating.BusStats) { s.Letters++; s.Bytes += uint64(len(packed)) })
		if more {
			p.wake()
		}
	}
}

var errNoInbox = errors.New("bus: the node has no inbox")

// post puts a letter in the inbox of a node, if it has one.
func (l *life) post(full string, packed []byte) error {
	ctx, cancel := context.WithTimeout(l.ctx, 2*time.Second)
	defer cancel()
	err := l.m.bus.opt.Client.XAdd(ctx, &redis.XAddArgs{
		Stream: l.m.bus.inbox(full), NoMkStream: true, MaxLen: inboxLength, Approx: true, Values: []any{"b", packed},
	}).Err()
	l.m.bus.outcome(err)
	if errors.Is(err, redis.Nil) {
		return errNoInbox
	}
	return err
}

// stop ends the goroutines of a life.
func (l *life) stop() {
	l.m.mu.Lock()
	l.ended = true
	for _, p := range l.peers {
		p.dropLocked()
	}
	l.m.mu.Unlock()
	l.cancel()
	l.tasks.Wait()
}

// leave says goodbye and ends all that belongs to the node.
func (m *member) leave() {
	m.mu.Lock()
	if m.left {
		m.mu.Unlock()
		return
	}
	m.left = true
	l := m.life
	var byes []*peer
	var numbers []uint64
	if l != nil {
		for _, p := range l.peers {
			p.link.urgent = true
			n, _ := p.sendLocked(parcel{kind: bye})
			byes, numbers = append(byes, p), append(numbers, n)
		}
	}
	m.mu.Unlock()
	if l == nil {
		return
	}
	// What was said last is to arrive, if Redis is there.
	if m.bus.reachable() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		for i, p := range byes {
			_ = p.await(ctx, numbers[i]) // they will find out
		}
		cancel()
	}
	l.cancel()
	l.exit()
	l.stop()
	m.tasks.Wait()
}

// await returns when the peer has the parcel, or is no more.
func (p *peer) await(ctx context.Context, number uint64) error {
	for {
		p.l.m.mu.Lock()
		base, acked := p.link.base, p.link.acked
		p.l.m.mu.Unlock()
		if base > number {
			return nil
		}
		select {
		case <-acked:
		case <-p.over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// subscribe has every other node know that id is here.
func (m *member) subscribe(ctx context.Context, id dating.UserID) error {
	if err := m.bus.Ping(ctx); err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	m.mu.Lock()
	m.people[id] = true
	var peers []*peer
	var numbers []uint64
	for _, p := range m.life.peers {
		p.link.urgent = true
		if n, fits := p.sendLocked(parcel{kind: here, id: string(id)}); fits {
			peers, numbers = append(peers, p), append(numbers, n)
		}
	}
	m.mu.Unlock()
	for i, p := range peers {
		// One that hangs is waited for, but not for ever: it publishes nothing
		// meanwhile, and is either declared dead or reads this before it does.
		patience, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := p.await(patience, numbers[i])
		cancel()
		if err != nil && (ctx.Err() != nil || !m.bus.reachable()) {
			m.bus.Unsubscribe(m.name, id)
			return fmt.Errorf("bus: subscribe: %w", err)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
