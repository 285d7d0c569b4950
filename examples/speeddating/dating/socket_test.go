package dating_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/presence"
)

func TestTwoTabs(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		second := bob.open()
		require.Equal(t, 2, s.LiveStats().OnlineUsers)
		s.SocketClosed(second, true)
		s.SocketClosed(second, true) // the end of a socket is counted once
		require.Equal(t, dating.Live{OnlineUsers: 2, AvailableUsers: 2}, s.LiveStats())

		second = bob.open()
		start := ann.call(bob, 60)
		here := map[string]bool{}
		for _, e := range bob.told(dating.CallStartKind) {
			here[e.Socket] = e.Data.(*dating.CallStart).Here
		}
		require.Equal(t, map[string]bool{bob.tab: true, second: false}, here)

		// The other tab takes over: this one is told, and the partner starts anew.
		view, err := s.Resume(ctx, bob.id, second, start.RoomID)
		require.NoError(t, err)
		require.True(t, view.Here)
		require.Equal(t, &dating.PeerState{RoomID: start.RoomID, Restart: true}, last[*dating.PeerState](ann, dating.PeerBackKind))
		e := bob.told(dating.CallStartKind)
		require.Equal(t, bob.tab, e[len(e)-1].Socket)
		require.False(t, e[len(e)-1].Data.(*dating.CallStart).Here)

		// The tab without the call goes: nothing. The one with it: the partner
		// waits, and the call ends when nobody takes over.
		third := bob.open()
		s.SocketClosed(bob.tab, true)
		require.Empty(t, ann.told(dating.PeerAwayKind))
		s.SocketClosed(second, true)
		require.Len(t, ann.told(dating.PeerAwayKind), 1)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		require.Empty(t, ann.told(dating.SessionFinalizedKind))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, "disconnected", last[*dating.Finalized](ann, dating.SessionFinalizedKind).Reason)
		require.Len(t, ann.told(dating.PeerDisconnectedKind), 1)
		s.SocketClosed(third, true)
		require.Equal(t, 1, s.LiveStats().OnlineUsers)
	})
}

// The tab that invites is closed before the answer, while its user has another:
// that one may take the call over, and when it goes too the call is over.
func TestCallerChangesTabs(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		second := ann.open()
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		s.SocketClosed(ann.tab, true)
		start, err := bob.accept(in.InviteID, 60)
		require.NoError(t, err)
		require.Len(t, bob.told(dating.PeerAwayKind), 1)
		time.Sleep(10 * time.Second)
		_, err = s.Resume(ctx, ann.id, second, start.RoomID)
		require.NoError(t, err)
		time.Sleep(40 * time.Second)
		require.Empty(t, bob.told(dating.SessionFinalizedKind))
		require.NoError(t, s.EndCall(ctx, bob.id, start.RoomID))

		cat := s.free("Cat")
		ann.tab = second
		third := ann.open()
		ann.queue()
		in, err = ann.invite(cat, 60)
		require.NoError(t, err)
		s.SocketClosed(ann.tab, true)
		_, err = cat.accept(in.InviteID, 60)
		require.NoError(t, err)
		s.SocketClosed(third, true)
		synctest.Wait()
		require.Equal(t, "disconnected", last[*dating.Finalized](cat, dating.SessionFinalizedKind).Reason)
	})
}

func TestCutAndBack(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 60)
		require.NoError(t, s.Chat(ctx, bob.id, start.RoomID, "are you there?"))
		time.Sleep(10 * time.Second)
		s.SocketAway(bob.tab)
		s.SocketAway(bob.tab)
		require.Len(t, ann.told(dating.PeerAwayKind), 1)
		s.SocketBack(bob.tab)
		require.Equal(t, []bool{false}, []bool{last[*dating.PeerState](ann, dating.PeerBackKind).Restart})

		// A reload: the old socket is cut, a new one resumes, then the old one's
		// grace ends and changes nothing.
		s.SocketAway(bob.tab)
		reloaded := bob.open()
		call, invite, err := s.Current(ctx, bob.id)
		require.NoError(t, err)
		require.Nil(t, invite)
		require.Equal(t, start.RoomID, call.RoomID)
		require.Equal(t, "are you there?", call.Chat[0].Text)
		_, err = s.Resume(ctx, bob.id, reloaded, start.RoomID)
		require.NoError(t, err)
		s.SocketClosed(bob.tab, false)
		time.Sleep(time.Second)
		require.Empty(t, ann.told(dating.SessionFinalizedKind))

		// The last socket is gone for good: the call is over, with a history.
		s.SocketAway(reloaded)
		s.SocketClosed(reloaded, false)
		synctest.Wait()
		require.Equal(t, &dating.Finalized{RoomID: start.RoomID, DurationSeconds: 11, Reason: "disconnected"}, last[*dating.Finalized](ann, dating.SessionFinalizedKind))
		require.Len(t, ann.calls(), 1)
		require.Len(t, bob.calls(), 1)
		require.Equal(t, dating.Live{OnlineUsers: 1}, s.LiveStats())
	})
}

func TestBothEndAtOnce(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 60)
		time.Sleep(5 * time.Second)
		done := make(chan error, 3)
		for _, p := range []*person{ann, bob, ann} {
			go func() { done <- s.EndCall(ctx, p.id, start.RoomID) }()
		}
		worked := 0
		for range cap(done) {
			if err := <-done; err == nil {
				worked++
			} else {
				refused(t, dating.NotFound, err)
			}
		}
		require.GreaterOrEqual(t, worked, 1)
		synctest.Wait()
		require.Len(t, ann.told(dating.SessionFinalizedKind), 1)
		p, err := s.Profile(ctx, ann.id)
		require.NoError(t, err)
		require.EqualValues(t, 1, p.Metrics.Calls)
		require.EqualValues(t, 5, p.Metrics.TalkSeconds)
		require.Len(t, p.Metrics.Recent, 1)
	})
}

func TestShortCallLeavesNothing(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 60)
		time.Sleep(5*time.Second - time.Millisecond)
		require.NoError(t, s.EndCall(ctx, ann.id, start.RoomID))
		require.Empty(t, ann.calls())
		ann.queue()
		bob.queue()
		ann.call(bob, 60) // no cooldown
	})
}

func TestChatLimits(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 1800)
		for _, text := range []string{"", "  \n", "\xff", string(make([]rune, 501)), "ä" + string(make([]byte, 600))} {
			refused(t, dating.Invalid, s.Chat(ctx, ann.id, start.RoomID, text))
		}
		for range 5 {
			require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "x"))
		}
		refused(t, dating.TooMany, s.Chat(ctx, ann.id, start.RoomID, "x"))
		require.NoError(t, s.Chat(ctx, bob.id, start.RoomID, "each has their own five"))
		for range 250 {
			time.Sleep(time.Second)
			require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "<b>kept as it is</b>"))
		}
		require.NoError(t, s.EndCall(ctx, ann.id, start.RoomID))
		h := ann.calls()
		require.Len(t, h[0].Chat, 200)
		require.Equal(t, "<b>kept as it is</b>", h[0].Chat[0].Text)
		refused(t, dating.NotFound, s.Chat(ctx, ann.id, start.RoomID, "late"))
		require.Len(t, bob.told(dating.ChatKind), 256)
		require.Equal(t, bob.tab, bob.told(dating.ChatKind)[0].Socket)
	})
}

// An admin bans somebody who is just connecting, on this node or on another:
// the socket is refused, or closed.
func TestBannedWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{})
		w.account, w.share = &ledger{}, presence.NewMemoryStore()
		n1, n2 := w.start("n1"), w.start("n2")
		defer w.close()
		for _, by := range []*server{n1, n2} {
			for range 10 {
				ann := n1.guest("Ann")
				n1.SocketClosed(ann.tab, true)
				w.account.hook = func() { require.NoError(t, by.Decide(ctx, ann.id, dating.Out)) }
				err := n1.SocketOpened(ctx, ann.id, "late", ann.session)
				synctest.Wait()
				if err == nil {
					require.Len(t, ann.told(dating.AccountReviewKind), 1)
					n1.SocketClosed("late", true)
				} else {
					refused(t, dating.Banned, err)
				}
				require.Zero(t, n1.Stats().Sockets)
			}
		}
		require.Zero(t, w.account.used.Load())
	})
}
