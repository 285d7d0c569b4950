package dating

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// home is what this node took over of another: calls that go on although the
// server that began them has stopped. Their ids still name it, so this node
// answers for it: it claims its name on the bus, where those ask who do not
// find it, and beats for it in the store.
type home struct {
	Incarnation string
	calls       int
}

// homeKey is what a node holds on the bus that answers for another.
func homeKey(node string) string { return "home/" + node }

// movedCalls is what a node that stops gives to another. All are of one home.
type movedCalls struct {
	Home        string // the node that their ids name
	Incarnation string
	Calls       []movedCall
}

// errMoving is what a call says that was frozen since one looked.
var errMoving = errors.New("dating: the call is on its way to another node")

// movedCall is a call on its way.
type movedCall struct {
	Call    Call
	Sides   [2]movedSide
	Chat    []ChatLine     `json:",omitempty"`
	Socials []SocialShared `json:",omitempty"`
	Seq     int
}

type movedSide struct {
	Socket string
	Node   string // where the socket is
	Away   bool
	Waits  bool
	Said   []uint64 `json:",omitempty"`
}

// movedBytes bounds what one request carries. The bus sends it as it is.
const movedBytes, movedAtOnce = 256 << 10, 64

// handOver gives the calls of this node to others, so that the people, who will
// be sent there too, find them. It returns those that nobody took.
func (p *Platform) handOver(ctx context.Context, calls []*call) (left []*call) {
	peers := p.bus.Peers(p.node)
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	homes := make(map[string][]*call)
	for _, c := range calls {
		node, _, _ := strings.Cut(c.RoomID, ".")
		homes[node] = append(homes[node], c)
	}
	for node, calls := range homes {
		for _, to := range peers {
			calls = p.giveTo(ctx, to, node, calls)
			if len(calls) < len(homes[node]) { // a home is with one node: a rest finds no other
				break
			}
		}
		left = append(left, calls...)
	}
	return left
}

// freeze makes commands for calls wait until it is known who has them.
func (p *Platform) freeze(calls []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range calls {
		if c.reason == "" {
			c.moving = make(chan struct{})
			c.timer.Stop()
		}
	}
}

// thaw lets calls go on here that nobody took.
func (p *Platform) thaw(calls []*call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range calls {
		if c.moving != nil {
			close(c.moving)
			c.moving = nil
			c.timer.Reset(time.Until(c.begun.Add(c.length())))
		}
	}
}

// giveTo has a node take calls of a home and gives those that it did not.
func (p *Platform) giveTo(ctx context.Context, to, node string, calls []*call) []*call {
	h := p.homeOf(node)
	if node != p.node { // ours to give back
		_ = p.bus.Release(ctx, p.node, homeKey(node)) // it ends by itself
	}
	for len(calls) > 0 {
		moved := movedCalls{Home: node, Incarnation: h.Incarnation}
		n, size := 0, 0
		p.mu.Lock()
		for n < min(len(calls), movedAtOnce) && size < movedBytes {
			size += int(calls[n].bytes) + 1024
			n++
		}
		p.mu.Unlock()
		some := calls[:n]
		p.freeze(some)
		p.out.wait() // what was said of them is with the bus
		p.mu.Lock()
		for _, c := range some {
			if c.moving != nil { // else it has ended
				moved.Calls = append(moved.Calls, c.movedLocked())
			}
		}
		p.mu.Unlock()
		if len(moved.Calls) > 0 {
			if _, err := p.ask(ctx, to, command{Verb: verbAdopt, ID: node + ".", Moved: &moved}); err != nil {
				p.log.Warn("another server does not take calls", "node", to, "err", err)
				p.thaw(some)
				return calls
			}
			p.letGo(some, to)
		}
		calls = calls[n:]
	}
	return nil
}

func (p *Platform) homeOf(node string) home {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.homes[node]; h != nil {
		return *h
	}
	return home{Incarnation: p.incarnation}
}

func (c *call) movedLocked() movedCall {
	m := movedCall{Call: c.Call, Chat: c.chat, Socials: c.socials, Seq: c.seq}
	for i, s := range c.sides {
		m.Sides[i] = movedSide{Socket: s.socket, Node: s.node, Away: s.away, Waits: s.wait != nil, Said: slices.Clone(s.said)}
	}
	return m
}

// letGo forgets calls that another node has, and remembers which.
func (p *Platform) letGo(calls []*call, to string) {
	var freed int64
	p.mu.Lock()
	for _, c := range calls {
		if c.moving == nil {
			continue
		}
		c.reason = "moved"
		for i := range c.sides {
			c.sides[i].stopWaiting()
		}
		delete(p.calls, c.RoomID)
		p.moves[c.RoomID] = to
		freed += c.bytes
		close(c.moving)
		close(c.told)
		close(c.done)
	}
	p.mu.Unlock()
	p.release(freed)
}

// elsewhereNow gives the node that has taken a call over from this one, if one
// has; it waits while that is being decided.
func (p *Platform) elsewhereNow(ctx context.Context, id string) (node string, err error) {
	for {
		p.mu.Lock()
		c := p.calls[id]
		if c == nil || c.moving == nil {
			node = p.moves[id]
			p.mu.Unlock()
			return node, nil
		}
		moving := c.moving
		p.mu.Unlock()
		select {
		case <-moving:
		case <-ctx.Done():
			return "", unavailable("the call is on its way to another server", ctx.Err())
		}
	}
}

// adopt takes over calls of a node that stops.
func (p *Platform) adopt(ctx context.Context, from string, m *movedCalls) error {
	if m == nil || m.Home == "" || len(m.Calls) > movedAtOnce {
		return refuse(Invalid, "no calls")
	}
	p.mu.Lock()
	err := p.admitLocked()
	p.mu.Unlock()
	if err != nil {
		return err
	}
	ok, err := p.claimHome(ctx, m.Home)
	if err != nil || !ok {
		return unavailable("another server answers for this one", err)
	}
	p.mu.Lock()
	if p.homes[m.Home] == nil {
		p.homes[m.Home] = &home{Incarnation: m.Incarnation}
	}
	p.mu.Unlock()
	if err := p.store.Beat(ctx, m.Home, m.Incarnation, now(), now().Add(p.rules.NodeLease)); err != nil {
		return unavailable("the database does not answer", err)
	}
	taken, errs := make([]*call, len(m.Calls)), make([]error, len(m.Calls))
	var all sync.WaitGroup
	for i, mc := range m.Calls {
		all.Go(func() { taken[i], errs[i] = p.adopted(ctx, mc) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil { // all or none: the other one still has them
		p.mu.Lock()
		for _, c := range taken {
			if c != nil {
				delete(p.calls, c.RoomID)
				c.timer.Stop()
				p.homes[m.Home].calls--
				p.release(c.bytes)
			}
		}
		p.mu.Unlock()
		return unavailable("not all calls could be taken over", err)
	}
	p.log.Info("calls of another server go on here", "of", m.Home, "from", from, "calls", len(taken))
	return nil
}

func (p *Platform) claimHome(ctx context.Context, node string) (bool, error) {
	for {
		ok, err := p.bus.Claim(ctx, p.node, p.rules.MaxCall+p.rules.TakeOver+time.Minute, homeKey(node))
		if ok || err != nil {
			return ok, err
		}
		select { // who had it is giving it back
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// adopted makes a call of what was sent.
func (p *Platform) adopted(ctx context.Context, m movedCall) (*call, error) {
	c := &call{Call: m.Call, chat: m.Chat, socials: m.Socials, seq: m.Seq, bytes: callBytes,
		told: make(chan struct{}), done: make(chan struct{})}
	for _, line := range c.chat {
		c.bytes += int64(lineBytes + len(line.Text))
	}
	for i, s := range m.Sides {
		u, err := p.user(ctx, m.Call.Members[i])
		if err != nil {
			return nil, err
		}
		c.sides[i] = side{user: u, socket: s.Socket, node: s.Node, away: s.Away, said: s.Said}
	}
	c.begun = time.Now().Add(-time.Since(c.StartedAt)) // by the wall clocks of two servers
	left := c.length() - time.Since(c.begun)
	if _, err := p.bus.Claim(ctx, c.RoomID, max(left, 0)+p.rules.TakeOver+time.Minute, claimKey(c.Members[0]), claimKey(c.Members[1])); err != nil {
		return nil, unavailable("the bus does not answer", err)
	}
	if err := p.reserve(c.bytes); err != nil {
		return nil, err
	}
	node, _, _ := strings.Cut(c.RoomID, ".")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[c.RoomID] = c
	delete(p.moves, c.RoomID)
	p.homes[node].calls++
	c.timer = time.AfterFunc(max(left, time.Millisecond), func() { p.end(c, "time") })
	for i := range c.sides {
		if m.Sides[i].Waits {
			p.waitLocked(c, i)
		}
	}
	return c, nil
}

// leaveHomeLocked counts a call of another home that ended here, and reports
// whether it was the last.
func (p *Platform) leaveHomeLocked(room string) (node string, last bool) {
	node, _, _ = strings.Cut(room, ".")
	h := p.homes[node]
	if h == nil {
		return "", false
	}
	if h.calls--; h.calls > 0 {
		return node, false
	}
	delete(p.homes, node)
	return node, true
}

// beatHomes says in the store that the nodes live for which this one answers.
func (p *Platform) beatHomes(ctx context.Context) error {
	p.mu.Lock()
	homes := make(map[string]string, len(p.homes))
	for node, h := range p.homes {
		homes[node] = h.Incarnation
	}
	p.mu.Unlock()
	t := now()
	for node, incarnation := range homes {
		if err := p.store.Beat(ctx, node, incarnation, t, t.Add(p.rules.NodeLease)); err != nil {
			return err
		}
	}
	return nil
}

// left is told by the bus when another node is no more. Those of its people who
// are in a call of this node may come back elsewhere; an invitation that was
// its own is over, and its calls are looked for until somebody has finished them.
func (p *Platform) left(node string) {
	type dangling struct {
		to UserID
		id string
	}
	var open []dangling
	var lost []command
	p.mu.Lock()
	p.bereaved = time.Now()
	for _, who := range p.people {
		if strings.HasPrefix(who.invite, node+".") {
			open = append(open, dangling{who.id, who.invite})
		}
	}
	for _, c := range p.calls {
		for _, s := range c.sides {
			if s.node == node && c.reason == "" {
				lost = append(lost, command{Verb: verbLost, User: s.user.ID, Socket: s.socket, ID: c.RoomID})
			}
		}
	}
	p.mu.Unlock()
	for _, c := range lost {
		p.lost(c)
	}
	p.background(func() {
		for _, d := range open {
			_ = p.bus.Release(p.life, d.id, claimKey(d.to)) // else it ends by itself
			p.receive(Event{To: d.to, Kind: CallExpiredKind, Data: &InviteOutcome{InviteID: d.id, Reason: "restart"}})
		}
	})
}

// missed is told by the bus when it lost messages. What this node has in its
// caches may be out of date, and what it told its people too: they begin anew.
func (p *Platform) missed(string) {
	p.users.Purge()
	p.sessions.Purge()
	p.relations.Purge()
	p.mu.Lock()
	people := slices.Collect(maps.Keys(p.people))
	p.mu.Unlock()
	for _, id := range people {
		p.deliver(Event{To: id, Kind: MissedKind, Data: &Missed{}})
	}
}

// Relay takes what one member of a room has for another whose socket may be on
// another node, in the order of the calls. Unavailable: nothing gets there now.
func (p *Platform) Relay(to UserID, room string, data []byte) error {
	if err := p.bus.Ping(p.life); err != nil {
		return unavailable("the other server does not answer", err)
	}
	p.publish(Event{To: to, Kind: RelayedKind, Data: &Relayed{RoomID: room, Signal: json.RawMessage(data)}})
	return nil
}

// ask has a command carried out by a certain node.
func (p *Platform) ask(ctx context.Context, node string, c command) (answer, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return answer{}, err
	}
	b, err = p.bus.Request(ctx, p.node, node, string(c.User), b)
	if errors.Is(err, ErrNoNode) {
		return answer{}, err
	}
	if err != nil {
		return answer{}, unavailable("the other server does not answer", err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return answer{}, unavailable("the other server's answer", err)
	}
	if a.Code != "" {
		return answer{}, refuse(a.Code, a.Message)
	}
	return a, nil
}
