package presence_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/presencetest"
	"github.com/stretchr/testify/require"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "replay this world of TestModel only")
	modelOps  = flag.Int("model.ops", 1_000_000, "operations of TestModel in all")
)

const worldOps = 5000

// TestModel plays random operations on one to three nodes and on a naive
// reference, in virtual time. What it holds against each other, after the
// research notes' list:
//
//  1. after a quiet time every observer sees the true set
//  2. a join is told within a tick, at once in a quiet topic (TestLeadingEdge)
//  3. nobody is told to have left who was there all along, and
//  4. nobody who was back within the grace
//  5. versions rise; joins and leaves alternate (screen)
//  6. a snapshot and its diffs are the topic at every version
//  7. a count is the size of the set
//  8. clocks of nodes that are ten minutes wrong change nothing
//  9. a node that died or was fenced neither removes nor revives anybody
//  10. diffs are bounded by watchers and ticks
//  11. when all have left, all memory is free: here, in the account, in the store
//  12. an observer that panics or drops diffs harms nobody else
func TestModel(t *testing.T) {
	if *modelSeed != 0 {
		playWorld(t, *modelSeed)
		return
	}
	n := *modelOps
	if testing.Short() || raceEnabled {
		n /= 25
	}
	first := rand.Uint64()>>1 + 1
	for part := range 4 {
		t.Run(fmt.Sprint("part", part), func(t *testing.T) {
			t.Parallel()
			for i := part; i < n/worldOps; i += 4 {
				if seed := first + uint64(i); !t.Run("world", func(t *testing.T) { playWorld(t, seed) }) {
					t.Fatalf("replay with: go test -run TestModel -model.seed=%d", seed)
				}
			}
		})
	}
}

// world is a cluster and what should be true in it.
type world struct {
	t      *testing.T
	r      *rand.Rand
	store  *presence.MemoryStore
	chaos  *presencetest.Chaos
	nodes  []*modelNode
	topics []string
	users  []string
	absent map[[2]string]time.Time // topic, user: when he was last not a member
	since  map[[2]string]time.Time // and since when that is so as it is now
	rough  bool                    // several nodes: what is told elsewhere takes its time
}

type modelNode struct {
	*presence.Tracker
	name    string
	skew    time.Duration
	account *ledger
	cut     bool
	healed  time.Time
	people  map[string]*person
	screens []*modelScreen
}

// person is a user on one node.
type person struct {
	sockets map[string]time.Time // when it expires, zero: never
	grace   time.Time            // a lost socket may come back until
	joined  map[string]string    // topic: metadata
	since   map[string]time.Time // topic: when it was joined
}

type modelScreen struct {
	*screen
	topic    string
	o        presence.WatchOptions
	opened   time.Time
	requests int // of the whole window
	asked    time.Time
	panics   bool
}

const (
	modelGrace = 5 * time.Second
	modelTTL   = 7 * time.Second
	modelLease = 3 * time.Second
	blur       = 50 * time.Millisecond // nothing is done to a user so near to a deadline
)

func playWorld(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		defer func() {
			if t.Failed() {
				t.Logf("seed %d", seed)
				for _, n := range w.nodes {
					kill(n.Tracker)
				}
			}
		}()
		w = &world{
			t: t, r: rand.New(rand.NewPCG(seed, 2)), store: presence.NewMemoryStore(),
			topics: []string{"queue", "room", "hall"},
			absent: make(map[[2]string]time.Time), since: make(map[[2]string]time.Time),
		}
		for i := range 12 {
			w.users = append(w.users, fmt.Sprint("u", i))
		}
		w.chaos = presencetest.NewChaos(w.store, seed, 500*time.Millisecond)
		count := 1 + w.r.IntN(3)
		w.rough = count > 1
		for i := range count {
			n := &modelNode{name: fmt.Sprint("node", i), account: &ledger{limit: 1 << 20}}
			n.skew = time.Duration(w.r.IntN(1200)-600) * time.Second
			w.nodes = append(w.nodes, n)
			w.boot(n)
		}
		for i := range worldOps {
			w.op()
			if w.r.IntN(12) == 0 {
				w.wait(time.Duration(w.r.IntN(200)) * time.Millisecond)
			}
			if w.r.IntN(100) == 0 {
				w.wait(time.Duration(w.r.IntN(4000)) * time.Millisecond)
			}
			if i%1000 == 999 {
				w.quiet()
			}
		}
		w.end()
	})
}

func (w *world) boot(n *modelNode) {
	o := presence.Options{
		MaxUsers: 100, MaxSockets: 100, MaxTopics: 10, MaxWatchers: 20, MaxMeta: 100,
		Grace: modelGrace, Lease: modelLease, FlapBurst: 1 << 20, Account: n.account,
	}
	if len(w.nodes) > 1 || w.rough {
		o.Store, o.Node = w.chaos, n.name
	}
	start := time.Now()
	n.people = make(map[string]*person)
	n.screens = nil
	n.healed = start
	var err error
	n.Tracker, err = presence.New(presence.WithClock(o, func() time.Duration { return time.Since(start) + n.skew }))
	require.NoError(w.t, err)
}

func (w *world) wait(d time.Duration) {
	end := time.Now().Add(d)
	for {
		// Stop where a deadline passes, so that truth changes when it does.
		next, deadline := end, false
		for _, n := range w.nodes {
			for _, p := range n.people {
				for _, at := range p.deadlines() {
					if at.After(time.Now()) && !at.After(next) {
						next, deadline = at, true
					}
				}
			}
		}
		time.Sleep(time.Until(next))
		synctest.Wait()
		w.expire()
		if !deadline {
			break
		}
		if next = next.Add(blur); next.After(end) {
			end = next
		}
	}
	w.check()
}

func (p *person) deadlines() []time.Time {
	var out []time.Time
	for _, at := range p.sockets {
		if !at.IsZero() {
			out = append(out, at)
		}
	}
	if !p.grace.IsZero() {
		out = append(out, p.grace)
	}
	return out
}

// expire ends what time has ended.
func (w *world) expire() {
	now := time.Now()
	for _, n := range w.nodes {
		for user, p := range n.people {
			for id, at := range p.sockets {
				if !at.IsZero() && !at.After(now) {
					delete(p.sockets, id)
					if g := at.Add(modelGrace); g.After(p.grace) {
						p.grace = g
					}
				}
			}
			if len(p.sockets) == 0 && !p.grace.After(now) {
				delete(n.people, user)
			}
		}
	}
	w.note(w.users...)
}

// note keeps since when users are, or are not, members.
func (w *world) note(users ...string) {
	now := time.Now()
	for _, topic := range w.topics {
		for _, user := range users {
			k := [2]string{topic, user}
			is := w.witnessed(topic, user)
			_, was := w.absent[k]
			if is == was {
				w.since[k] = now
			}
			if is {
				if was {
					delete(w.absent, k)
				}
			} else {
				w.absent[k] = now
			}
		}
	}
}

func (w *world) member(topic, user string) bool {
	for _, n := range w.nodes {
		if p := n.people[user]; p != nil {
			if _, ok := p.joined[topic]; ok {
				return true
			}
		}
	}
	return false
}

// witnessed is member by the word of a node that has been able to tell it.
func (w *world) witnessed(topic, user string) bool {
	if !w.rough {
		return w.member(topic, user)
	}
	now := time.Now()
	for _, n := range w.nodes {
		p := n.people[user]
		if p == nil || n.cut || now.Sub(n.healed) < check {
			continue
		}
		if _, ok := p.joined[topic]; ok && now.Sub(p.since[topic]) > check {
			return true
		}
	}
	return false
}

func (w *world) op() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	user := w.users[w.r.IntN(len(w.users))]
	topic := w.topics[w.r.IntN(len(w.topics))]
	defer w.note(user)
	p := n.people[user]
	now := time.Now()
	if p != nil {
		for _, at := range p.deadlines() {
			if d := at.Sub(now); d > -blur && d < blur {
				return
			}
		}
	}
	socket := fmt.Sprint("s", w.r.IntN(3))
	meta := fmt.Sprint("m", w.r.IntN(4))
	switch k := w.r.IntN(1000); {
	case k < 200:
		ttl := time.Duration(0)
		if w.r.IntN(4) == 0 {
			ttl = modelTTL
		}
		require.NoError(w.t, n.ConnectTTL(user, socket, []byte(meta), ttl))
		if p == nil {
			p = &person{sockets: make(map[string]time.Time), joined: make(map[string]string), since: make(map[string]time.Time)}
			n.people[user] = p
		}
		if _, again := p.sockets[socket]; !again {
			p.grace = time.Time{}
		}
		p.sockets[socket] = time.Time{}
		if ttl > 0 {
			p.sockets[socket] = now.Add(ttl)
		}
	case k < 350:
		clean := w.r.IntN(3) == 0
		known := n.Disconnect(user, socket, clean)
		if p == nil {
			require.False(w.t, known)
			return
		}
		_, ok := p.sockets[socket]
		require.Equal(w.t, ok, known)
		if !ok {
			return
		}
		delete(p.sockets, socket)
		if !clean {
			p.grace = now.Add(modelGrace)
		}
		if len(p.sockets) == 0 && !p.grace.After(now) {
			delete(n.people, user)
		}
	case k < 450:
		err := n.Heartbeat(user, socket)
		if p == nil {
			require.ErrorIs(w.t, err, presence.ErrNotHere)
			return
		}
		at, ok := p.sockets[socket]
		require.Equal(w.t, ok, err == nil)
		if ok && !at.IsZero() {
			p.sockets[socket] = now.Add(modelTTL)
		}
	case k < 650:
		err := n.Join(topic, user, []byte(meta))
		if p == nil {
			require.ErrorIs(w.t, err, presence.ErrNotHere)
			return
		}
		require.NoError(w.t, err)
		if _, again := p.joined[topic]; !again {
			p.since[topic] = now
		}
		p.joined[topic] = meta
	case k < 750:
		w.leave(n, topic, user)
	case k < 850:
		err := n.Update(topic, user, []byte(meta))
		if p == nil || !slices.Contains(slices.Collect(maps.Keys(p.joined)), topic) {
			require.ErrorIs(w.t, err, presence.ErrNotMember)
			return
		}
		require.NoError(w.t, err)
		p.joined[topic] = meta
	case k < 860:
		n.Remove(user)
		delete(n.people, user)
	case k < 900:
		w.watch(n, topic)
	case k < 970:
		if len(n.screens) > 0 {
			w.turn(n, w.r.IntN(len(n.screens)))
		}
	case k < 990:
		n.Sweep()
	case !w.rough:
	case k < 993:
		n.cut, n.healed = !n.cut, now
		w.chaos.Cut(n.name, n.cut)
		w.note(w.users...)
	case k < 995:
		if w.r.IntN(3) == 0 {
			w.store.Lose()
		}
	case k < 998:
		w.stop(n, w.r.IntN(2) == 0)
		w.note(w.users...)
		if w.r.IntN(2) == 0 {
			w.wait(time.Duration(w.r.IntN(10)) * time.Second)
		}
		w.boot(n)
	}
}

// leave takes the user out of the topic. Where other nodes have a word in it,
// everything is let settle before and after: a join there at the same moment
// would rightly win.
func (w *world) leave(n *modelNode, topic, user string) {
	elsewhere := false
	for _, x := range w.nodes {
		if p := x.people[user]; x != n && p != nil {
			if _, ok := p.joined[topic]; ok {
				elsewhere = true
			}
		}
	}
	if elsewhere {
		if w.r.IntN(10) > 0 {
			return
		}
		for _, x := range w.nodes {
			if x.cut {
				return
			}
		}
		w.wait(30 * time.Second)
	}
	known := n.Has(topic, user)
	n.Leave(topic, user)
	for _, x := range w.nodes {
		if p := x.people[user]; p != nil && (x == n || known) {
			delete(p.joined, topic)
		}
	}
	w.note(user)
	if elsewhere {
		w.wait(10 * time.Second)
	}
}

func (w *world) stop(n *modelNode, clean bool) {
	ctx, cancel := context.WithCancel(context.Background())
	if !clean {
		cancel()
	}
	_ = n.Shutdown(ctx) // a node that is cut off says so
	cancel()
	synctest.Wait() // for an event on its way, which is refused
	require.Zero(w.t, n.account.balance())
	n.people = make(map[string]*person)
	n.screens = nil
}

func (w *world) watch(n *modelNode, topic string) {
	s := &modelScreen{screen: &screen{t: w.t}, topic: topic, opened: time.Now(), requests: 1}
	s.o = presence.WatchOptions{Limit: 1 + w.r.IntN(14)}
	if w.r.IntN(8) == 0 {
		s.o.Limit = -1
	}
	for w.r.IntN(2) == 0 {
		s.o.Exclude = append(s.o.Exclude, w.users[w.r.IntN(len(w.users))])
	}
	lazy, panics, r := w.r.IntN(6) == 0, w.r.IntN(30) == 0, rand.New(rand.NewPCG(w.r.Uint64(), 3))
	if lazy {
		s.lazy = func() bool { return r.IntN(2) == 0 }
	}
	o := s.o
	o.Deliver = func(d *presence.Diff) {
		if panics && r.IntN(4) == 0 {
			s.mu.Lock()
			s.panics = true
			s.mu.Unlock()
			panic("an observer's fault")
		}
		w.judge(s, d)
		s.deliver(d)
	}
	var err error
	s.mu.Lock()
	s.w, err = n.Watch(topic, o)
	s.mu.Unlock()
	if len(n.screens) == 20 && err == nil {
		n.dropPanicked() // one of them, just now, beside this operation
		require.Less(w.t, len(n.screens), 20)
	}
	if len(n.screens) == 20 {
		require.Error(w.t, err)
		return
	}
	require.NoError(w.t, err)
	n.screens = append(n.screens, s)
}

// judge looks at a diff before it is applied. It runs beside the operations,
// which do not let time pass.
func (w *world) judge(s *modelScreen, d *presence.Diff) {
	require.GreaterOrEqual(w.t, d.Count, 0)
	require.GreaterOrEqual(w.t, d.Count, len(d.Added)-len(d.Removed)-len(s.who))
	for _, m := range d.Added {
		require.NotContains(w.t, s.o.Exclude, m.User)
	}
}

func (w *world) turn(n *modelNode, i int) {
	s := n.screens[i]
	switch w.r.IntN(6) {
	case 0:
		s.w.Close()
		s.w.Close()
		n.screens = slices.Delete(n.screens, i, i+1)
	case 1:
		s.o.After = s.cursor(w.r)
		s.w.Move(s.o.After)
		s.requests, s.asked = s.requests+1, time.Now()
	case 2:
		if w.r.IntN(3) == 0 {
			s.o.Exclude = []string{w.users[w.r.IntN(len(w.users))]}
			require.NoError(w.t, s.w.Exclude(s.o.Exclude))
			s.requests, s.asked = s.requests+1, time.Now()
		}
	case 3:
		s.w.Resync()
		s.requests, s.asked = s.requests+1, time.Now()
	}
}

func (s *screen) cursor(r *rand.Rand) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.IntN(2) == 0 {
		return 0
	}
	return s.next
}

// dropPanicked forgets the screens that the tracker has closed.
func (n *modelNode) dropPanicked() {
	n.screens = slices.DeleteFunc(n.screens, func(s *modelScreen) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.panics
	})
}

// check holds at every moment at which nothing is running.
func (w *world) check() {
	now := time.Now()
	for _, n := range w.nodes {
		st := n.Stats()
		require.Equal(w.t, st.Bytes, n.account.balance())
		n.dropPanicked()
		require.Equal(w.t, len(n.screens), st.Watchers)
		for _, s := range n.screens {
			w.checkScreen(n, s, now)
		}
		for _, topic := range w.topics {
			w.checkTopic(n, topic, now)
		}
	}
}

func (w *world) checkScreen(n *modelNode, s *modelScreen, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, at := range s.left {
		// He may have come back since, but he cannot have been there all the
		// time. What happens elsewhere is heard late, and by a node that is cut
		// off not at all.
		k := [2]string{s.topic, user}
		patience := 10 * time.Second
		if w.rough {
			patience = time.Minute
		}
		_, gone := w.absent[k]
		deaf := w.rough && (n.cut || at.Sub(n.healed) < check)
		if !gone && !deaf {
			require.Less(w.t, at.Sub(w.since[k]), patience, "%s was told to have left %s", user, s.topic)
		}
	}
	clear(s.left)
	s.log = nil
	ticks := int(now.Sub(s.opened) / tick)
	require.LessOrEqual(w.t, s.diffs, s.requests+2*ticks+2)

	list, err := n.List(s.topic, presence.ListOptions{Limit: s.o.Limit, After: s.o.After, Exclude: s.o.Exclude})
	require.NoError(w.t, err)
	if s.lazy == nil && s.last == list.Version && now.Sub(s.asked) > 2*late {
		require.Equal(w.t, names(list.Members), names(s.who), "version %d", s.last)
	}
}

func (w *world) checkTopic(n *modelNode, topic string, now time.Time) {
	list, err := n.List(topic, presence.ListOptions{Limit: 200})
	require.NoError(w.t, err)
	require.Equal(w.t, len(list.Members), list.Count)
	if w.rough {
		return
	}
	for _, user := range w.users {
		k := [2]string{topic, user}
		if now.Sub(w.since[k]) < tick+2*late {
			continue // may not be told yet
		}
		_, gone := w.absent[k]
		told := slices.ContainsFunc(list.Members, func(m presence.Member) bool { return m.User == user })
		require.Equal(w.t, !gone, told, "%s in %s", user, topic)
		require.Equal(w.t, !gone, n.Has(topic, user))
	}
}

// quiet lets everything settle and holds every observer against the truth.
func (w *world) quiet() {
	for _, n := range w.nodes {
		if n.cut {
			n.cut, n.healed = false, time.Now()
			w.chaos.Cut(n.name, false)
		}
	}
	w.wait(40 * time.Second)
	for _, topic := range w.topics {
		var want []string
		for _, user := range w.users {
			if w.member(topic, user) {
				want = append(want, user)
			}
		}
		slices.Sort(want)
		metas := make(map[string]string) // every node says the same
		for _, n := range w.nodes {
			watched := slices.ContainsFunc(n.screens, func(s *modelScreen) bool { return s.topic == topic })
			local := false
			for _, p := range n.people {
				_, in := p.joined[topic]
				local = local || in
			}
			if w.rough && !watched && !local {
				continue // of no interest here
			}
			list, err := n.List(topic, presence.ListOptions{Limit: 200})
			require.NoError(w.t, err)
			var got []string
			for _, m := range list.Members {
				got = append(got, m.User)
				if x, ok := metas[m.User]; ok {
					require.Equal(w.t, x, string(m.Meta), "metadata of %s in %s", m.User, topic)
				}
				metas[m.User] = string(m.Meta)
				said := false
				for _, x := range w.nodes {
					if p := x.people[m.User]; p != nil && p.joined[topic] == string(m.Meta) {
						said = true
					}
				}
				require.True(w.t, said, "nobody said %s of %s in %s", m.Meta, m.User, topic)
			}
			slices.Sort(got)
			require.Equal(w.t, want, got, "%s on %s", topic, n.name)
			require.Equal(w.t, len(want), n.Count(topic))
		}
	}
	for _, n := range w.nodes {
		for _, s := range n.screens {
			list, err := n.List(s.topic, presence.ListOptions{Limit: s.o.Limit, After: s.o.After, Exclude: s.o.Exclude})
			require.NoError(w.t, err)
			s.mu.Lock()
			require.Equal(w.t, names(list.Members), names(s.who))
			require.Equal(w.t, list.Count, s.count)
			require.Equal(w.t, list.Next, s.next)
			s.mu.Unlock()
		}
	}
}

// end lets everybody leave and looks for what stays.
func (w *world) end() {
	w.quiet()
	for _, n := range w.nodes {
		for _, s := range n.screens {
			s.w.Close()
		}
		n.screens = nil
		for _, user := range w.users {
			for i := range 3 {
				n.Disconnect(user, fmt.Sprint("s", i), i == 0)
			}
			n.Leave(w.topics[0], user)
		}
		n.people = make(map[string]*person)
	}
	time.Sleep(2 * time.Hour)
	for _, n := range w.nodes {
		n.Sweep()
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	for _, n := range w.nodes {
		st := n.Stats()
		require.Zero(w.t, st.Users+st.Here+st.Sockets+st.Topics+st.Members+st.Watchers+st.Cluster.Waiting)
		require.Zero(w.t, st.Bytes, "%+v", st)
		require.Zero(w.t, n.account.balance())
	}
	leases, topics, entries := w.store.Len()
	require.Zero(w.t, topics+entries)
	require.LessOrEqual(w.t, leases, len(w.nodes))
	for _, n := range w.nodes {
		w.stop(n, true)
	}
}

func names(members []presence.Member) string {
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, "%s=%s ", m.User, m.Meta)
	}
	return b.String()
}
