package dating_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/presence"
)

// A server that stops gives its calls to another one. Their people come back
// there and go on, with what was said before, until the server's clock ends it.
func TestCallsOutliveTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second})
		w.share = presence.NewMemoryStore()
		n1, n2, n3 := w.start("n1"), w.start("n2"), w.start("n3")
		ann, bob := n1.free("Ann"), n2.free("Bob")
		time.Sleep(2 * time.Second)
		room := ann.call(bob, 100).RoomID
		require.NoError(t, n1.Chat(ctx, ann.id, room, "before"))

		n1.Drain(ctx)
		require.NoError(t, n2.Chat(ctx, bob.id, room, "meanwhile"), "the old server knows who has the call")
		require.Len(t, ann.told(dating.ChatKind), 2)
		n1.SocketClosed(ann.tab, true)
		time.Sleep(time.Second)
		require.Len(t, bob.told(dating.PeerAwayKind), 1)
		n1.stop()
		w.nodes = w.nodes[1:]
		require.Empty(t, bob.told(dating.SessionFinalizedKind))

		moved := ann.at(n3)
		view, _, err := n3.Current(ctx, ann.id)
		require.NoError(t, err)
		require.Equal(t, room, view.RoomID)
		back, err := n3.Resume(ctx, ann.id, moved.tab, room)
		require.NoError(t, err)
		require.Len(t, back.Chat, 2)
		require.Len(t, bob.told(dating.PeerBackKind), 1)
		require.NoError(t, n3.Chat(ctx, ann.id, room, "after"))
		require.Len(t, bob.told(dating.ChatKind), 3)
		require.Equal(t, 1, n2.Stats().Calls+n3.Stats().Calls)

		time.Sleep(2 * time.Minute)
		synctest.Wait()
		f := last[*dating.Finalized](bob, dating.SessionFinalizedKind)
		require.Equal(t, "time", f.Reason)
		require.Equal(t, 100, f.DurationSeconds)
		for _, p := range []*person{moved, bob} {
			require.Len(t, p.calls(), 1)
			require.Len(t, p.calls()[0].Chat, 3)
			p.queue()
		}
		require.Zero(t, w.bus.Stats().Claims, "nothing is held for the old server any more")
		w.close()
	})
}

// A server that stops may be gone before it has answered. What it was asked is
// asked again, of the one that has the call, and done once.
func TestWhatIsSaidTwiceIsHeardOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second})
		w.share = presence.NewMemoryStore()
		n1, n2, n3 := w.start("n1"), w.start("n2"), w.start("n3")
		ann, bob := n1.free("Ann"), n2.free("Bob")
		time.Sleep(2 * time.Second)
		room := ann.call(bob, 100).RoomID
		n1.Drain(ctx)
		asks, name := n2, "n2" // whoever has not got the call
		if n2.Stats().Calls > 0 {
			asks, name = n3, "n3"
		}
		w.forget.Store(name)
		require.NoError(t, asks.Chat(ctx, bob.id, room, "hello"))
		require.Equal(t, "", w.forget.Load())
		w.forget.Store(name)
		require.NoError(t, asks.GiveSocial(ctx, bob.id, room, dating.Socials{"instagram": "bob"}))
		require.Equal(t, "", w.forget.Load())
		synctest.Wait()
		require.Len(t, bob.told(dating.ChatKind), 1)
		require.Len(t, bob.told(dating.SocialSharedKind), 1)
		require.NoError(t, asks.Chat(ctx, bob.id, room, "hello"), "said again, it is another line")
		synctest.Wait()
		require.Len(t, bob.told(dating.ChatKind), 2)
		w.close()
	})
}

// Who takes a call over may stop too.
func TestCallsMoveTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second})
		w.share = presence.NewMemoryStore()
		n1, n2 := w.start("n1"), w.start("n2")
		ann, bob := n1.free("Ann"), n2.free("Bob")
		time.Sleep(2 * time.Second)
		room := ann.call(bob, 100).RoomID
		n1.Drain(ctx)
		n1.SocketClosed(ann.tab, true)
		n1.stop()
		n3 := w.start("n3")
		moved := ann.at(n3)
		_, err := n3.Resume(ctx, ann.id, moved.tab, room)
		require.NoError(t, err)
		n2.Drain(ctx)
		n2.SocketClosed(bob.tab, true)
		n2.stop()
		w.nodes = w.nodes[2:]
		there := bob.at(n3)
		_, err = n3.Resume(ctx, bob.id, there.tab, room)
		require.NoError(t, err)
		require.NoError(t, n3.Chat(ctx, bob.id, room, "still here"))
		require.Len(t, moved.told(dating.ChatKind), 1)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "time", last[*dating.Finalized](moved, dating.SessionFinalizedKind).Reason)
		require.Len(t, moved.calls(), 1)
		w.close()
	})
}

// A server that is gone without a word: its people may come back to a call of
// another server, and who was called by it is free again.
func TestServerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, dating.Rules{})
		n1, n2 := w.nodes[0], w.nodes[1]
		ann, bob, cat, dan := n1.free("Ann"), n2.free("Bob"), n1.free("Cat"), n2.free("Dan")
		time.Sleep(2 * time.Second)
		room := bob.call(ann, 600).RoomID // n2's
		_, err := cat.invite(dan, 60)     // n1's
		require.NoError(t, err)
		w.bus.Kill("n1")
		synctest.Wait()
		require.Len(t, bob.told(dating.PeerAwayKind), 1)
		require.Equal(t, "restart", last[*dating.InviteOutcome](dan, dating.CallExpiredKind).Reason)
		eve := n2.free("Eve")
		time.Sleep(2 * time.Second)
		_, err = eve.invite(dan, 60)
		require.NoError(t, err, "nobody waits for the dead")
		moved := ann.at(n2)
		_, err = n2.Resume(ctx, ann.id, moved.tab, room)
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		require.Empty(t, bob.told(dating.SessionFinalizedKind))
		_, _, err = n2.Current(ctx, cat.id)
		require.NoError(t, err)
		holder, err := w.bus.Holder(ctx, "person/"+string(cat.id))
		require.NoError(t, err)
		require.Empty(t, holder)
		w.close()
	})
}
