package presencetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/stretchr/testify/require"
)

// lease is the one that the suite uses where it waits for its end.
const lease = 500 * time.Millisecond

// TestStore runs the suite. Each test gets an empty Store from open. It works
// in real time, at most some seconds, and within testing/synctest.
func TestStore(t *testing.T, open func(t *testing.T) presence.Store) {
	for name, f := range suite {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

// Names returns the tests of the suite, for callers who run each of them in
// an environment of its own with Run.
func Names() []string { return slices.Sorted(maps.Keys(suite)) }

// Run runs the one test of the suite with this name on an empty store.
func Run(t *testing.T, name string, store presence.Store) { suite[name](t, store) }

var suite = map[string]func(*testing.T, presence.Store){
	"Entries":      testEntries,
	"Leave":        testLeave,
	"Events":       testEvents,
	"Read":         testRead,
	"ReadOnly":     testReadOnly,
	"Leases":       testLeases,
	"Takeover":     testTakeover,
	"Fencing":      testFencing,
	"Close":        testClose,
	"Reap":         testReap,
	"Positions":    testPositions,
	"Concurrent":   testConcurrent,
	"Names":        testNames,
	"BigBatch":     testBigBatch,
	"Subscription": testSubscription,
}

var ctx = context.Background()

// node is a session with the events that it got.
type node struct {
	presence.Session
	t      *testing.T
	mu     sync.Mutex
	events []presence.Event
}

func begin(t *testing.T, s presence.Store, name string, lease time.Duration) *node {
	t.Helper()
	n := &node{t: t}
	var err error
	n.Session, err = s.Open(ctx, name, lease, func(e presence.Event) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.events = append(n.events, e)
	})
	require.NoError(t, err)
	require.NotEmpty(t, n.Incarnation())
	t.Cleanup(func() { _ = n.Close(ctx) })
	return n
}

func (n *node) apply(ops ...presence.Op) {
	n.t.Helper()
	require.NoError(n.t, n.Apply(ctx, ops))
}

func (n *node) read(topic string, from presence.Position) presence.Update {
	n.t.Helper()
	u, err := n.Read(ctx, topic, from)
	require.NoError(n.t, err)
	return u
}

// members reads the whole topic: user@incarnation=meta, sorted.
func (n *node) members(topic string) []string {
	n.t.Helper()
	u := n.read(topic, presence.Position{})
	require.True(n.t, u.All, "the log cannot reach back to nowhere")
	var out []string
	for _, e := range u.Events {
		require.Equal(n.t, presence.Put, e.Kind)
		require.Equal(n.t, topic, e.Topic)
		require.Equal(n.t, u.Pos.Epoch, e.Pos.Epoch)
		out = append(out, fmt.Sprintf("%s@%s=%s", e.User, e.Incarnation, e.Meta))
	}
	slices.Sort(out)
	return out
}

// heard waits until n events arrived and returns them.
func (n *node) heard(want int) []presence.Event {
	n.t.Helper()
	var got []presence.Event
	require.True(n.t, soon(func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		got = slices.Clone(n.events)
		return len(got) >= want
	}), "waited for %d events, got %d", want, len(got))
	return got
}

func soon(ok func() bool) bool {
	for range 1000 {
		if ok() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return ok()
}

func put(topic, user, meta string) presence.Op {
	return presence.Op{Kind: presence.Put, Topic: topic, User: user, Meta: []byte(meta)}
}

func drop(topic, user string) presence.Op {
	return presence.Op{Kind: presence.Drop, Topic: topic, User: user}
}

func leave(topic, user string, seen presence.Position) presence.Op {
	return presence.Op{Kind: presence.Leave, Topic: topic, User: user, Seen: seen}
}

func testEntries(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", time.Minute), begin(t, s, "b", time.Minute)
	require.NotEqual(t, a.Incarnation(), b.Incarnation())
	require.Empty(t, a.members("queue"))
	a.apply(put("queue", "ann", "1"), put("queue", "bob", "2"), put("other", "ann", "3"))
	b.apply(put("queue", "ann", "4"))
	ia, ib := "@"+a.Incarnation()+"=", "@"+b.Incarnation()+"="
	want := []string{"ann" + ia + "1", "ann" + ib + "4", "bob" + ia + "2"}
	slices.Sort(want)
	require.Equal(t, want, b.members("queue"), "one entry for each incarnation")

	a.apply(put("queue", "ann", "5"), drop("queue", "bob"), drop("queue", "nobody"))
	b.apply(drop("queue", "bob"))
	want = []string{"ann" + ia + "5", "ann" + ib + "4"}
	slices.Sort(want)
	require.Equal(t, want, a.members("queue"))
	b.apply(drop("queue", "ann"))
	require.Equal(t, []string{"ann" + ia + "5"}, a.members("queue"), "a Drop is about one's own")
	require.Equal(t, []string{"ann" + ia + "3"}, a.members("other"))
}

func testLeave(t *testing.T, s presence.Store) {
	a, b, c := begin(t, s, "a", time.Minute), begin(t, s, "b", time.Minute), begin(t, s, "c", time.Minute)
	a.apply(put("queue", "ann", "a"), put("queue", "bob", "a"))
	b.apply(put("queue", "ann", "b"))
	seen := a.read("queue", presence.Position{}).Pos
	c.apply(put("queue", "ann", "c"))
	a.apply(leave("queue", "ann", seen))
	want := []string{"ann@" + c.Incarnation() + "=c", "bob@" + a.Incarnation() + "=a"}
	slices.Sort(want)
	require.Equal(t, want, a.members("queue"), "what the leaver had not seen stays")

	seen = a.read("queue", presence.Position{}).Pos
	seen.Epoch += "?"
	a.apply(put("queue", "ann", "a"))
	a.apply(leave("queue", "ann", seen))
	require.Equal(t, want, a.members("queue"), "of another epoch nothing was seen; one's own goes always")
}

func testEvents(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", time.Minute), begin(t, s, "b", time.Minute)
	require.NoError(t, b.Subscribe(ctx, "queue"))
	start := b.read("queue", presence.Position{}).Pos
	a.apply(put("queue", "ann", "1"), put("other", "ann", "x"), drop("queue", "nobody"), drop("queue", "ann"))
	b.apply(put("queue", "bob", "2"))
	seen := b.read("queue", presence.Position{}).Pos
	b.apply(leave("queue", "bob", seen), leave("queue", "bob", seen))
	got := b.heard(4)
	time.Sleep(50 * time.Millisecond)
	require.Len(t, b.heard(4), 4, "what changes nothing is no event")
	var kinds []string
	for i, e := range got {
		require.Equal(t, "queue", e.Topic)
		kinds = append(kinds, fmt.Sprintf("%d %s %s %s", e.Kind, e.User, e.Meta, e.Incarnation))
		if i > 0 {
			require.Equal(t, presence.Position{Epoch: got[0].Pos.Epoch, Offset: got[0].Pos.Offset + uint64(i)}, e.Pos)
		}
	}
	require.Equal(t, []string{
		"1 ann 1 " + a.Incarnation(), "2 ann  " + a.Incarnation(),
		"1 bob 2 " + b.Incarnation(), "3 bob  " + b.Incarnation(),
	}, kinds)
	require.Equal(t, seen.Offset, got[3].Seen)
	tagged := put("queue", "tim", "")
	tagged.Tag = 1<<63 + 7
	a.apply(tagged)
	require.Equal(t, tagged.Tag, b.heard(5)[4].Tag)
	require.Equal(t, tagged.Tag, b.read("queue", presence.Position{}).Events[0].Tag)
	if start.Epoch == got[0].Pos.Epoch {
		require.Equal(t, start.Offset+1, got[0].Pos.Offset)
	}
	a.mu.Lock()
	require.Empty(t, a.events, "a has not subscribed")
	a.mu.Unlock()
}

func testRead(t *testing.T, s presence.Store) {
	a := begin(t, s, "a", time.Minute)
	require.NoError(t, a.Subscribe(ctx, "queue"))
	a.apply(put("queue", "ann", "1"))
	first := a.read("queue", presence.Position{})
	require.True(t, first.All)
	require.Equal(t, first.Pos.Offset, first.Events[0].Pos.Offset)
	a.apply(put("queue", "bob", "2"), drop("queue", "ann"))
	u := a.read("queue", first.Pos)
	require.False(t, u.All)
	require.Len(t, u.Events, 2)
	require.Equal(t, first.Pos.Offset+2, u.Pos.Offset)
	require.Equal(t, first.Pos.Offset+1, u.Events[0].Pos.Offset)
	require.Equal(t, presence.Drop, u.Events[1].Kind)
	u = a.read("queue", u.Pos)
	require.False(t, u.All)
	require.Empty(t, u.Events, "nothing new")

	for _, from := range []presence.Position{
		{Epoch: "another", Offset: 1},
		{Epoch: u.Pos.Epoch, Offset: u.Pos.Offset + 10}, // a store that went back in time
	} {
		u = a.read("queue", from)
		require.True(t, u.All)
		require.Len(t, u.Events, 1)
	}

	// Whichever way it is answered, an old reader ends where the topic is.
	for i := range 3000 {
		a.apply(put("queue", fmt.Sprint("user", i%10), fmt.Sprint(i)))
	}
	at := first.Pos
	state := map[string]string{"ann": "1"}
	for {
		u := a.read("queue", at)
		if u.All {
			clear(state)
		}
		for _, e := range u.Events {
			if e.Kind == presence.Put {
				state[e.User] = string(e.Meta)
			} else {
				delete(state, e.User)
			}
		}
		if u.Pos == at {
			break
		}
		at = u.Pos
	}
	require.Len(t, state, 11)
	require.Equal(t, "2999", state["user9"])
	require.Equal(t, "2", state["bob"])
}

func testReadOnly(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", lease), begin(t, s, "b", time.Minute)
	a.apply(put("queue", "ann", "1"))
	pos := b.read("queue", presence.Position{}).Pos
	time.Sleep(2 * lease)
	for range 3 {
		require.Len(t, b.members("queue"), 1, "to read does not delete, not even the entries of the dead")
	}
	require.Equal(t, pos, b.read("queue", presence.Position{}).Pos)
}

func testLeases(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", lease), begin(t, s, "b", time.Minute)
	alive, err := b.Renew(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{a.Incarnation(), b.Incarnation()}, alive)
	for range 6 { // longer than one lease
		time.Sleep(lease / 4)
		_, err = a.Renew(ctx)
		require.NoError(t, err)
	}
	time.Sleep(2 * lease)
	alive, err = b.Renew(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{b.Incarnation()}, alive)
	_, err = a.Renew(ctx)
	require.ErrorIs(t, err, presence.ErrFenced, "the dead do not rise")
}

func testTakeover(t *testing.T, s presence.Store) {
	a := begin(t, s, "a", time.Minute)
	a.apply(put("queue", "ann", "1"))
	again := begin(t, s, "a", time.Minute)
	require.NotEqual(t, a.Incarnation(), again.Incarnation())
	alive, err := again.Renew(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{again.Incarnation()}, alive)
	_, err = a.Renew(ctx)
	require.ErrorIs(t, err, presence.ErrFenced)
	require.ErrorIs(t, a.Apply(ctx, []presence.Op{put("queue", "bob", "x")}), presence.ErrFenced)
	require.Equal(t, []string{"ann@" + a.Incarnation() + "=1"}, again.members("queue"), "its entries wait for their grace")
	again.apply(put("queue", "ann", "2"))
	require.Len(t, again.members("queue"), 2)
}

func testFencing(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", lease), begin(t, s, "b", time.Minute)
	a.apply(put("queue", "ann", "1"))
	b.apply(put("queue", "ann", "2"))
	seen := b.read("queue", presence.Position{}).Pos
	time.Sleep(2 * lease)
	for _, op := range []presence.Op{put("queue", "zoe", ""), drop("queue", "ann"), leave("queue", "ann", seen)} {
		require.ErrorIs(t, a.Apply(ctx, []presence.Op{op}), presence.ErrFenced)
	}
	require.Equal(t, seen, b.read("queue", presence.Position{}).Pos, "the dead change nothing")
}

func testClose(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", time.Minute), begin(t, s, "b", time.Minute)
	a.apply(put("queue", "ann", "1"))
	require.NoError(t, a.Close(ctx))
	alive, err := b.Renew(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{b.Incarnation()}, alive)
	require.Len(t, b.members("queue"), 1, "the users may come back elsewhere")
}

func testReap(t *testing.T, s presence.Store) {
	a, b := begin(t, s, "a", lease), begin(t, s, "b", time.Minute)
	a.apply(put("queue", "ann", "1"), put("queue", "bob", "1"))
	b.apply(put("queue", "bob", "2"))
	require.NoError(t, b.Subscribe(ctx, "queue"))
	n, err := b.Reap(ctx, 0)
	require.NoError(t, err)
	require.Zero(t, n, "nobody is dead")
	time.Sleep(2 * lease)
	n, err = b.Reap(ctx, time.Hour)
	require.NoError(t, err)
	require.Zero(t, n, "not for long")
	n, err = b.Reap(ctx, lease/2)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"bob@" + b.Incarnation() + "=2"}, b.members("queue"))
	for _, e := range b.heard(2) {
		require.Equal(t, presence.Drop, e.Kind)
		require.Equal(t, a.Incarnation(), e.Incarnation)
	}
}

func testPositions(t *testing.T, s presence.Store) {
	a := begin(t, s, "a", time.Minute)
	a.apply(put("queue", "ann", "1"), put("queue", "ann", "2"), put("other", "ann", "1"))
	at, err := a.Positions(ctx, []string{"other", "nobody is here", "queue"})
	require.NoError(t, err)
	require.Len(t, at, 3)
	require.Equal(t, a.read("other", presence.Position{}).Pos, at[0])
	require.Zero(t, at[1].Offset)
	require.Equal(t, a.read("queue", presence.Position{}).Pos, at[2])
	at, err = a.Positions(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, at)
}

func testConcurrent(t *testing.T, s presence.Store) {
	watcher := begin(t, s, "watcher", time.Minute)
	require.NoError(t, watcher.Subscribe(ctx, "queue"))
	const nodes, each = 8, 50
	var wg sync.WaitGroup
	for i := range nodes {
		n := begin(t, s, fmt.Sprint("node", i), time.Minute)
		wg.Go(func() {
			for j := range each {
				if err := n.Apply(ctx, []presence.Op{put("queue", fmt.Sprint("user", j), "x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, watcher.members("queue"), nodes*each)
	last := uint64(0)
	for _, e := range watcher.heard(nodes * each) {
		if last != 0 {
			require.Equal(t, last+1, e.Pos.Offset, "offsets have no gap")
		}
		last = e.Pos.Offset
	}
}

func testNames(t *testing.T, s presence.Store) {
	a := begin(t, s, "node with {braces}: and spaces", time.Minute)
	for _, name := range []string{
		"{queue}", "a:b", "a b", "line\nbreak", "nul\x00byte", "\xff\xfe", "*", "ümläut", strings.Repeat("x", presence.MaxID),
	} {
		require.NoError(t, a.Subscribe(ctx, name))
		a.apply(put(name, name, name))
		require.Equal(t, []string{fmt.Sprintf("%s@%s=%s", name, a.Incarnation(), name)}, a.members(name))
		a.apply(drop(name, name))
		require.Empty(t, a.members(name))
	}
	a.heard(18)
}

func testBigBatch(t *testing.T, s presence.Store) {
	a := begin(t, s, "a", time.Minute)
	var ops []presence.Op
	for i := range 1000 {
		ops = append(ops, put(fmt.Sprint("topic", i%50), fmt.Sprint("user", i), strings.Repeat("m", 200)))
	}
	a.apply(ops...)
	a.apply()
	for i := range 50 {
		require.Len(t, a.members(fmt.Sprint("topic", i)), 20)
	}
}

func testSubscription(t *testing.T, s presence.Store) {
	a := begin(t, s, "a", time.Minute)
	for i := range 20 { // what follows a Subscribe is heard
		topic := fmt.Sprint("topic", i)
		require.NoError(t, a.Subscribe(ctx, topic))
		a.apply(put(topic, "ann", ""))
	}
	a.heard(20)
	for i := range 20 {
		require.NoError(t, a.Unsubscribe(ctx, fmt.Sprint("topic", i)))
	}
	a.apply(put("topic0", "bob", ""))
	require.NoError(t, a.Unsubscribe(ctx, "never subscribed"))
	time.Sleep(50 * time.Millisecond)
	require.Len(t, a.heard(20), 20)
}
