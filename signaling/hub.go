package signaling

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Hub owns the sockets and sessions of one process.
type Hub struct {
	opt      Options
	log      *slog.Logger
	began    time.Time
	passes   map[string]bool // Options.Forward
	budget   budget
	deflater deflater
	flusher  *flusher
	wheel    *wheel
	lane     lane
	parker   *parker
	workers  workers
	stats    counters
	nobody   *Peer          // whose sockets are until they are attached
	node     string         // this hub's name on the Bus
	key      [32]byte       // signs resume tokens
	macs     sync.Pool      // of hash.Hash that do
	running  sync.WaitGroup // everything that runs; Shutdown waits for it
	stop     chan struct{}  // ends the hub's own goroutines

	mu      sync.Mutex
	shut    bool
	peers   map[string]*Peer
	list    []*Peer              // the same, so that neighbours in memory are visited together
	most    int                  // peers since these were made anew
	users   map[string]*Peer     // the latest session of a user; Peer.older leads to the others
	topics  map[string]*interest // with a Bus: of the users
	rooms   map[string]*Room
	quiet   chan struct{} // closed when shut and nothing is left
	left    bool
	closed  map[int]int64
	relayed map[string]int64
}

// peerBytes is what a session is counted for with the Account: the peer, its
// socket and what the runtime keeps for them.
const peerBytes = 2560

// New returns a hub. Its error names every fault of the options.
func New(o Options) (*Hub, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	h := &Hub{
		opt: o, log: o.Logger, began: time.Now(), stop: make(chan struct{}), quiet: make(chan struct{}),
		peers: map[string]*Peer{}, users: map[string]*Peer{}, topics: map[string]*interest{}, rooms: map[string]*Room{},
		closed: map[int]int64{}, relayed: map[string]int64{},
	}
	h.passes = make(map[string]bool, len(o.Forward))
	for _, typ := range o.Forward {
		h.passes[typ] = true
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.nobody = &Peer{hub: h, slot: -1}
	h.node = rand.Text()
	rand.Read(h.key[:])
	h.budget = budget{max: o.TotalQueueBytes, account: o.Account}
	h.flusher = &flusher{hub: h, every: o.FlushEvery, wake: make(chan struct{}, 1)}
	shortest := min(o.PingEvery, o.PongTimeout, o.WriteTimeout, o.CloseTimeout)
	if o.ResumeFor > 0 {
		shortest = min(shortest, o.ResumeFor)
	}
	h.wheel = newWheel(h, shortest)
	h.workers = workers{hub: h, next: make(chan *socket)}
	if !o.Portable {
		if h.parker, err = newParker(h); err != nil {
			return nil, fmt.Errorf("signaling: parked mode: %w", err)
		}
	}
	h.running.Add(1) // until Shutdown
	go h.flusher.run(h.stop)
	go h.wheel.run(h.stop)
	return h, nil
}

// now is the time since the hub began; it never jumps.
func (h *Hub) now() time.Duration { return time.Since(h.began) }

// Peers returns the sessions of a user on this hub, the oldest first.
func (h *Hub) Peers(user string) []*Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Peer
	for p := h.users[user]; p != nil; p = p.older {
		all = append(all, p)
	}
	slices.Reverse(all)
	return all
}

// SendUser queues f for every session of the user and returns how many took
// it. With a Bus the sessions of all hubs get it from there (the call waits
// until the Bus has it) and it returns 0, unless the Bus fails.
func (h *Hub) SendUser(user string, f *Frame) int {
	if h.opt.Bus != nil && h.publish("user/"+user, h.crossingOf(f)) {
		return 0
	}
	return h.sendLocal(user, f)
}

func (h *Hub) sendLocal(user string, f *Frame) int {
	n := 0
	for _, p := range h.Peers(user) {
		if p.SendFrame(f) == nil {
			n++
		}
	}
	return n
}

// all returns the sessions there are.
func (h *Hub) all() []*Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// Takeover closes the socket of the session that token belongs to, if the
// session is the user's, and reports whether there was one. A server that
// limits connections calls it before it admits a client that comes back, so
// that the client's dead socket does not count against it. The session waits
// for Accept with the same token.
func (h *Hub) Takeover(user, token string) bool {
	p, _ := h.find(user, token)
	if p == nil {
		return false
	}
	p.mu.Lock()
	s := p.sock
	p.mu.Unlock()
	if s == nil {
		return false
	}
	s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "replaced"})
	return true
}

// find returns the session that a resume token belongs to.
func (h *Hub) find(user, token string) (*Peer, uint32) {
	id, n, ok := h.readToken(token)
	if !ok {
		return nil, 0
	}
	h.mu.Lock()
	p := h.peers[id]
	h.mu.Unlock()
	if p == nil || p.user != user {
		return nil, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == peerNew || p.state == peerClosed || n < p.tokens.oldest || n > p.tokens.newest {
		return nil, 0
	}
	return p, n
}

// add makes room for a session of user.
func (h *Hub) add(user string) (*Peer, error) {
	if h.opt.Account != nil && h.opt.Account.Reserve(peerBytes) != nil {
		return nil, ErrFull
	}
	p, err := h.addReserved(user)
	if err != nil && h.opt.Account != nil {
		h.opt.Account.Release(peerBytes)
	}
	return p, err
}

func (h *Hub) addReserved(user string) (*Peer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut {
		return nil, ErrShutdown
	}
	if len(h.peers) >= h.opt.MaxPeers {
		return nil, ErrFull
	}
	p := newPeer(h, user)
	h.peers[p.id] = p
	p.at = int32(len(h.list))
	h.list = append(h.list, p)
	h.most = max(h.most, len(h.list))
	p.heard = h.lane.next.Load()
	p.older = h.users[user]
	h.users[user] = p
	return p, nil
}

// remove takes a session out. It is called once for each that add returned.
func (h *Hub) remove(p *Peer, info CloseInfo) {
	if h.opt.Account != nil {
		h.opt.Account.Release(peerBytes)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.peers, p.id)
	last := len(h.list) - 1
	h.list[p.at] = h.list[last]
	h.list[p.at].at = p.at
	h.list[last] = nil
	h.list = h.list[:last]
	if newest := h.users[p.user]; newest != p {
		for newest.older != p {
			newest = newest.older
		}
		newest.older = p.older
	} else if p.older != nil {
		h.users[p.user] = p.older
	} else {
		delete(h.users, p.user)
		if in := h.topics[p.user]; in != nil && in.sub != nil {
			h.running.Go(in.sub.Close)
		}
		delete(h.topics, p.user)
	}
	h.closed[info.Code]++
	h.shrinkLocked()
	h.settleLocked()
}

// shrinkLocked makes the tables of the peers anew when most have left: a map
// keeps all the room that it has ever needed.
func (h *Hub) shrinkLocked() {
	if h.most < 1024 || len(h.list) > h.most/4 {
		return
	}
	h.most = len(h.list)
	h.list = slices.Clone(h.list)
	h.peers = maps.Collect(maps.All(h.peers))
	h.users = maps.Collect(maps.All(h.users))
}

func (h *Hub) socketGone(s *socket) {
	h.stats.sockets.Add(-1)
	if s.parked {
		h.stats.parked.Add(-1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settleLocked()
}

// settleLocked tells Shutdown when nothing is left.
func (h *Hub) settleLocked() {
	if h.shut && !h.left && len(h.peers) == 0 && h.stats.sockets.Load() == 0 {
		h.left = true
		close(h.quiet)
	}
}

// retryAfter is the hint in a close reason, spread so that clients do not come
// back all at once.
func (h *Hub) retryAfter() string { return fmt.Sprintf("retry-after=%d", 1+mrand.IntN(5)) }

// Shutdown ends every session with close code 1012 and a hint when to come
// back, and waits until their sockets are closed and their callbacks done; if
// ctx ends first it cuts the sockets and returns the cause. Either way no
// goroutine of h is left when it returns, unless a callback blocks.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	if h.shut {
		h.mu.Unlock()
		<-h.stop
		return nil
	}
	h.shut = true
	all := slices.Clone(h.list)
	rooms := make([]*Room, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	h.settleLocked()
	h.mu.Unlock()
	for _, p := range all {
		p.end(CloseInfo{Code: websocket.CloseServiceRestart, Reason: h.retryAfter(), Clean: true}, false)
	}
	var err error
	select {
	case <-h.quiet:
	case <-ctx.Done():
		err = context.Cause(ctx)
		for _, p := range all {
			p.mu.Lock()
			s := p.sock
			p.mu.Unlock()
			if s != nil {
				s.lost(CloseInfo{Code: websocket.CloseServiceRestart, Clean: true})
			}
		}
		<-h.quiet
	}
	for _, r := range rooms {
		r.Close()
	}
	close(h.stop)
	if h.parker != nil {
		h.parker.close()
	}
	h.running.Done()
	h.running.Wait()
	h.lane.trim(h, h.lane.next.Load())
	h.budget.close()
	return err
}
