package presence_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/presencetest"
	"github.com/stretchr/testify/require"
)

func member(t *testing.T, store presence.Store, node string) *presence.Tracker {
	return open(t, func(o *presence.Options) { o.Store, o.Node = store, node })
}

// kill ends a node without a goodbye.
func kill(tr *presence.Tracker) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = tr.Shutdown(ctx)
}

const (
	hop   = 2 * tick        // from one node to the watchers on another
	check = 5 * time.Second // lost events are found by then
)

func TestTwoNodes(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		store := presence.NewMemoryStore()
		a, b := member(t, store, "a"), member(t, store, "b")
		inTopic(t, a, "queue", "ann")
		wait(time.Second)
		s := watch(t, b, "queue", presence.WatchOptions{})
		wait(time.Second)
		require.Equal(t, "ann", s.users(), "who was there before")
		require.True(t, b.Online("ann"))
		inTopic(t, a, "queue", "bob")
		wait(hop)
		require.Equal(t, "ann bob", s.users())
		require.Equal(t, 2, b.Count("queue"))

		// ann moves to b: nobody sees it.
		s.take()
		a.Disconnect("ann", "tab", false)
		inTopic(t, b, "queue", "ann")
		wait(time.Minute)
		require.Empty(t, s.take())

		// The newest word about bob counts, whoever says it.
		require.NoError(t, b.Connect("bob", "phone", nil))
		require.NoError(t, b.Join("queue", "bob", []byte("new")))
		wait(time.Second)
		require.Equal(t, "~bob", s.take())
		require.NoError(t, a.Update("queue", "bob", []byte("newer")))
		wait(time.Second)
		require.Equal(t, "~bob", s.take())
		b.Disconnect("bob", "phone", true)
		wait(time.Second)
		require.Empty(t, s.take(), "still on a")

		// Who leaves on one node leaves on all.
		require.NoError(t, b.Connect("bob", "phone", nil))
		require.NoError(t, b.Join("queue", "bob", []byte("newer")))
		wait(time.Second)
		a.Leave("queue", "bob")
		wait(time.Second)
		require.Equal(t, "-bob", s.take())
		require.False(t, b.Has("queue", "bob"))
		require.ErrorIs(t, b.Update("queue", "bob", nil), presence.ErrNotMember)

		s.w.Close()
		for _, u := range []string{"ann", "bob"} {
			a.Remove(u)
			b.Remove(u)
		}
		wait(time.Minute)
		for _, tr := range []*presence.Tracker{a, b} {
			st := tr.Stats()
			require.Zero(t, st.Users+st.Topics+st.Members+st.Sockets+st.Cluster.Waiting)
			require.Zero(t, st.Bytes)
		}
		leases, topics, entries := store.Len()
		require.Equal(t, []int{2, 0, 0}, []int{leases, topics, entries})
	})
}

// 10,000 users lose their sockets and are back within five seconds.
func TestEverybodyFlaps(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		const n = 10000
		tr := open(t)
		for i := range n {
			inTopic(t, tr, "queue", fmt.Sprint("user", i))
		}
		s := watch(t, tr, "queue", presence.WatchOptions{Limit: 200})
		count := watch(t, tr, "queue", presence.WatchOptions{Limit: -1})
		wait(time.Second)
		s.take()
		count.take()
		for i := range n {
			tr.Disconnect(fmt.Sprint("user", i), "tab", false)
			if i%100 == 0 {
				wait(10 * time.Millisecond)
			}
		}
		wait(4 * time.Second)
		for i := range n {
			require.NoError(t, tr.Connect(fmt.Sprint("user", i), "again", nil))
		}
		wait(time.Minute)
		require.Empty(t, s.take())
		require.Equal(t, 1, s.diffs, "the first one")
		require.Equal(t, 1, count.diffs)
		require.EqualValues(t, n, tr.Stats().Saved)
	})
}

// A node with 10,000 users dies; 9,000 are back on other nodes in time.
func TestNodeDeath(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		const n = 10000
		store := presence.NewMemoryStore()
		doomed, second, third := member(t, store, "1"), member(t, store, "2"), member(t, store, "3")
		for i := range n {
			inTopic(t, doomed, "queue", fmt.Sprint("user", i))
		}
		s := watch(t, second, "queue", presence.WatchOptions{Limit: 200, After: n - 150})
		all := watch(t, third, "queue", presence.WatchOptions{Limit: -1})
		wait(10 * time.Second)
		require.Equal(t, n, s.total())
		require.Equal(t, n, all.total())
		s.take()

		kill(doomed)
		start := time.Now()
		wait(3 * time.Second)
		for i := range 9000 {
			tr := second
			if i%2 == 0 {
				tr = third
			}
			inTopic(t, tr, "queue", fmt.Sprint("user", i))
			if i%50 == 0 {
				wait(10 * time.Millisecond)
			}
		}
		before := []uint64{second.Stats().Leaves, third.Stats().Leaves}
		require.Equal(t, []uint64{0, 0}, before)
		for all.total() != 9000 || s.total() != 9000 {
			wait(100 * time.Millisecond)
			require.Less(t, time.Since(start), 20*time.Second)
		}
		t.Logf("1000 leaves %v after the death", time.Since(start))
		wait(time.Minute)
		require.EqualValues(t, 1000, second.Stats().Leaves)
		require.EqualValues(t, 1000, third.Stats().Leaves)
		require.NotContains(t, s.take(), "+", "nobody came")
	})
}

// The store restarts empty, and nobody blinks.
func TestStoreLosesEverything(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		store := presence.NewMemoryStore()
		a, b := member(t, store, "a"), member(t, store, "b")
		sa := watch(t, a, "queue", presence.WatchOptions{})
		sb := watch(t, b, "queue", presence.WatchOptions{})
		inTopic(t, a, "queue", "ann", "art")
		inTopic(t, b, "queue", "bob")
		wait(time.Second)
		sa.take()
		sb.take()
		for range 3 {
			store.Lose()
			a.Disconnect("art", "tab", true) // while nobody can hear it
			wait(time.Minute)
		}
		require.Equal(t, "-art", sa.take())
		require.Equal(t, "-art", sb.take())
		require.Equal(t, "ann bob", sa.users())
		require.ElementsMatch(t, []string{"ann", "bob"}, strings.Fields(sb.users()))
		require.Positive(t, a.Stats().Cluster.Fenced)
		_, _, entries := store.Len()
		require.Equal(t, 2, entries)
	})
}

// A node that is cut off goes on by itself, is taken for dead by the others,
// and is one of them again later.
func TestPartition(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		chaos := presencetest.NewChaos(presence.NewMemoryStore(), 1, time.Second)
		a, b := member(t, chaos, "a"), member(t, chaos, "b")
		sa := watch(t, a, "queue", presence.WatchOptions{})
		sb := watch(t, b, "queue", presence.WatchOptions{})
		inTopic(t, a, "queue", "ann")
		inTopic(t, b, "queue", "bob")
		wait(check)
		require.Len(t, strings.Fields(sa.users()), 2)
		require.Len(t, strings.Fields(sb.users()), 2)

		chaos.Cut("a", true)
		inTopic(t, a, "queue", "art")
		b.Leave("queue", "bob")
		inTopic(t, b, "queue", "bea")
		wait(10 * time.Second)
		require.True(t, a.Stats().Cluster.Degraded)
		require.ElementsMatch(t, []string{"ann", "art", "bob"}, strings.Fields(sa.users()), "local life goes on")
		require.ElementsMatch(t, []string{"ann", "bea"}, strings.Fields(sb.users()), "within the grace")
		wait(20 * time.Second)
		require.Equal(t, "bea", sb.users())

		chaos.Cut("a", false)
		wait(check)
		require.False(t, a.Stats().Cluster.Degraded)
		require.ElementsMatch(t, []string{"ann", "art", "bea"}, strings.Fields(sa.users()))
		require.ElementsMatch(t, []string{"ann", "art", "bea"}, strings.Fields(sb.users()))
	})
}

// A node that says goodbye hands its users over.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		store := presence.NewMemoryStore()
		a, b := member(t, store, "a"), member(t, store, "b")
		s := watch(t, b, "queue", presence.WatchOptions{})
		inTopic(t, a, "queue", "ann", "art")
		wait(time.Second)
		s.take()
		require.NoError(t, a.Shutdown(context.Background()))
		wait(3 * time.Second)
		inTopic(t, b, "queue", "ann")
		wait(time.Minute)
		require.Equal(t, "-art", s.take())
		again := member(t, store, "a") // the same name comes back
		inTopic(t, again, "queue", "art")
		wait(time.Second)
		require.Equal(t, "+art", s.take())
		wait(2 * time.Hour)
		b.Sweep()
		wait(check)
		leases, _, entries := store.Len()
		require.Equal(t, []int{2, 2}, []int{leases, entries}, "the dead are reaped")
	})
}

// While the store is away people come and go, and what waits for it does not
// grow with them.
func TestLongOutage(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		chaos := presencetest.NewChaos(presence.NewMemoryStore(), 1, time.Second)
		a, b := member(t, chaos, "a"), member(t, chaos, "b")
		s := watch(t, b, "queue", presence.WatchOptions{})
		inTopic(t, a, "queue", "ann", "art")
		wait(check)
		chaos.Cut("a", true)
		for i := range 1000 {
			u := fmt.Sprint("user", i)
			inTopic(t, a, "queue", u)
			wait(time.Second)
			if i%2 == 0 {
				a.Leave("queue", u)
			}
			a.Disconnect(u, "tab", true)
		}
		a.Leave("queue", "art")
		inTopic(t, a, "queue", "bea")
		require.LessOrEqual(t, a.Stats().Cluster.Waiting, 20)
		chaos.Cut("a", false)
		wait(check)
		require.ElementsMatch(t, []string{"ann", "bea"}, strings.Fields(s.users()))
		require.Zero(t, a.Stats().Cluster.Waiting)
	})
}
