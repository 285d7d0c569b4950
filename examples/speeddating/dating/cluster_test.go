package dating_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/presence"
)

// Two people on two nodes do everything that two on one node do.
func TestTwoNodesAreOnePlatform(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		n1, n2 := w.nodes[0], w.nodes[1]
		ann, bob := n1.free("Ann"), n2.free("Bob")
		time.Sleep(2 * time.Second)
		for _, s := range w.nodes {
			require.Equal(t, dating.Live{OnlineUsers: 2, AvailableUsers: 2}, s.LiveStats())
		}
		q, err := n1.QueueWindow(ctx, ann.id, "")
		require.NoError(t, err)
		require.Equal(t, []string{"Bob"}, names(q.Cards))

		in, err := ann.invite(bob, 100)
		require.NoError(t, err)
		require.Equal(t, "Ann", last[*dating.CallNotify](bob, dating.CallNotifyKind).FromUser.Name)
		_, open, err := n2.Current(ctx, bob.id)
		require.NoError(t, err)
		require.Equal(t, in.InviteID, open.InviteID)
		require.Equal(t, "Ann", open.FromUser.Name)
		_, err = n2.ExtendWait(ctx, bob.id, in.InviteID)
		refused(t, dating.Forbidden, err)
		cat := n2.free("Cat")
		_, err = cat.invite(ann, 60)
		refused(t, dating.Busy, err)
		_, err = cat.invite(bob, 60)
		refused(t, dating.Busy, err)

		start, err := bob.accept(in.InviteID, 200)
		require.NoError(t, err)
		require.Equal(t, 150, start.AgreedSeconds)
		require.True(t, last[*dating.CallStart](ann, dating.CallStartKind).Here)
		require.True(t, last[*dating.CallStart](bob, dating.CallStartKind).Here)
		time.Sleep(2 * time.Second)
		require.Equal(t, dating.Live{OnlineUsers: 3, AvailableUsers: 1, ActiveCalls: 1}, n2.LiveStats())
		_, err = cat.invite(bob, 60)
		refused(t, dating.Busy, err)

		// Chat keeps its order on both nodes.
		for i := range 20 {
			from := []*person{ann, bob}[i%2]
			require.NoError(t, from.Chat(ctx, from.id, start.RoomID, fmt.Sprint(i)))
			time.Sleep(300 * time.Millisecond)
		}
		for _, p := range []*person{ann, bob} {
			lines := p.told(dating.ChatKind)
			require.Len(t, lines, 20)
			for i, e := range lines {
				require.Equal(t, fmt.Sprint(i), e.Data.(*dating.ChatLine).Text)
				require.Equal(t, p.tab, e.Socket)
			}
		}

		// Bob is cut off and comes back on the other node, in the call.
		n2.SocketAway(bob.tab)
		synctest.Wait()
		require.Len(t, ann.told(dating.PeerAwayKind), 1)
		moved := bob.at(n1)
		view, err := n1.Resume(ctx, bob.id, moved.tab, start.RoomID)
		require.NoError(t, err)
		require.Len(t, view.Chat, 20)
		n2.SocketClosed(bob.tab, false)
		time.Sleep(time.Minute)
		require.Empty(t, ann.told(dating.SessionFinalizedKind))
		require.NoError(t, n1.Chat(ctx, ann.id, start.RoomID, "welcome back"))
		require.Len(t, moved.told(dating.ChatKind), 1)

		// The clock ends it, and both know of the cooldown on both nodes.
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, "time", last[*dating.Finalized](moved, dating.SessionFinalizedKind).Reason)
		require.Len(t, ann.calls(), 1)
		ann.queue()
		back := bob.at(n2)
		back.queue()
		time.Sleep(2 * time.Second)
		_, err = back.invite(ann, 60)
		refused(t, dating.Cooldown, err)

		// A report by four on one node closes the sockets on another.
		require.NoError(t, n2.Decide(ctx, ann.id, dating.Out))
		require.Equal(t, "banned", last[*dating.Review](ann, dating.AccountReviewKind).Reason)
		refused(t, dating.Banned, n1.SocketOpened(ctx, ann.id, "new", ann.session))

		// A new name and picture are seen on the other node.
		name := "Robert"
		_, err = n1.UpdateProfile(ctx, bob.id, dating.ProfileChange{Name: &name})
		require.NoError(t, err)
		p, err := n2.Profile(ctx, bob.id)
		require.NoError(t, err)
		require.Equal(t, "Robert", p.Name)
		time.Sleep(3 * time.Second)
		q, err = n2.QueueWindow(ctx, cat.id, "")
		require.NoError(t, err)
		require.Equal(t, []string{"Robert"}, names(q.Cards))
	})
}

// With tabs on two nodes only the last one counts, and what happens on one is
// known on the other.
func TestTabsOnTwoNodes(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		n1, n2 := w.nodes[0], w.nodes[1]
		ann, bob := n1.free("Ann"), n2.free("Bob")
		far := ann.at(n2)
		far.queue()
		time.Sleep(2 * time.Second)
		in, err := bob.invite(ann, 60)
		require.NoError(t, err)
		require.Len(t, ann.told(dating.CallNotifyKind), 1)
		require.Len(t, far.told(dating.CallNotifyKind), 1)
		require.NoError(t, n2.Decline(ctx, ann.id, in.InviteID))
		require.Len(t, ann.told(dating.CallDeclinedKind), 1, "the other tab stops ringing")
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, n1.LiveStats().AvailableUsers)
		n1.SocketClosed(ann.tab, true)
		time.Sleep(2 * time.Second)
		require.Equal(t, dating.Live{OnlineUsers: 2, AvailableUsers: 2}, n2.LiveStats())

		cat := n1.free("Cat")
		time.Sleep(2 * time.Second)
		start := cat.call(far, 60)
		near := far.at(n1)
		require.Equal(t, start.RoomID, func() string { v, _, _ := n1.Current(ctx, near.id); return v.RoomID }())
		n1.SocketClosed(near.tab, true)
		synctest.Wait()
		require.Empty(t, cat.told(dating.PeerAwayKind))
		n2.SocketClosed(far.tab, true)
		synctest.Wait()
		require.Equal(t, "disconnected", last[*dating.Finalized](cat, dating.SessionFinalizedKind).Reason)
	})
}

// A node that dies takes its calls with it: the other one finishes them, and
// tells those of their people whom it has.
func TestNodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second})
		defer w.close()
		w.share = presence.NewMemoryStore()
		dead := &faulty{Store: w.store}
		w.faulty = dead
		n1 := w.start("n1")
		w.faulty = nil
		n2 := w.start("n2")
		ann, bob := n1.free("Ann"), n2.free("Bob")
		time.Sleep(2 * time.Second)
		start := ann.call(bob, 600) // owned by n1
		time.Sleep(20 * time.Second)
		dead.away.Store(true) // n1 can say nothing any more
		time.Sleep(40 * time.Second)
		synctest.Wait()
		f := last[*dating.Finalized](bob, dating.SessionFinalizedKind)
		require.Equal(t, start.RoomID, f.RoomID)
		require.Equal(t, "restart", f.Reason)
		require.InDelta(t, 20, f.DurationSeconds, 3)
		require.Len(t, bob.calls(), 1)
		cat := n2.free("Cat")
		bob.queue()
		time.Sleep(2 * time.Second)
		_, err := cat.invite(bob, 60)
		require.NoError(t, err)
		dead.away.Store(false) // back to life, it changes nothing
		time.Sleep(10 * time.Minute)
		require.Len(t, bob.calls(), 1)
		require.Zero(t, n1.Stats().Calls)
	})
}
