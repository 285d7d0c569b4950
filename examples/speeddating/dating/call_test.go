package dating_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

var ctx = context.Background()

func TestThirtyMinuteCall(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		in, err := ann.invite(bob, 1800)
		require.NoError(t, err)
		n := last[*dating.CallNotify](bob, dating.CallNotifyKind)
		require.Equal(t, in.InviteID, n.InviteID)
		require.Equal(t, "Ann", n.FromUser.Name)
		require.Equal(t, 1800, n.RequestedSeconds)

		start, err := bob.accept(in.InviteID, 1799)
		require.NoError(t, err)
		require.Equal(t, 1799, start.AgreedSeconds, "the floor of the mean")
		require.False(t, start.IsInitiator)
		require.True(t, last[*dating.CallStart](ann, dating.CallStartKind).IsInitiator, "the caller offers")
		require.Equal(t, dating.Live{OnlineUsers: 2, ActiveCalls: 1}, s.LiveStats())

		require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "hello"))
		require.NoError(t, s.Chat(ctx, bob.id, start.RoomID, "hi"))
		require.NoError(t, s.GiveSocial(ctx, bob.id, start.RoomID, dating.Socials{"instagram": "bob"}))

		time.Sleep(1799*time.Second - time.Millisecond)
		synctest.Wait()
		require.Empty(t, ann.told(dating.SessionFinalizedKind))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		for _, p := range []*person{ann, bob} {
			require.Equal(t, &dating.Finalized{RoomID: start.RoomID, DurationSeconds: 1799, Reason: "time"}, last[*dating.Finalized](p, dating.SessionFinalizedKind))
			require.Equal(t, &dating.Metrics{TalkSeconds: 1799, Calls: 1}, last[*dating.Metrics](p, dating.MetricsUpdateKind))
			h := p.calls()
			require.Len(t, h, 1)
			require.Equal(t, 1799, h[0].DurationSeconds)
			require.Len(t, h[0].Chat, 2)
			require.Equal(t, "hello", h[0].Chat[0].Text)
			require.Equal(t, dating.Socials{"instagram": "bob"}, h[0].Socials[0].Socials)
		}
		require.Equal(t, "Bob", ann.calls()[0].WithName)

		// The pair is in cooldown for a day.
		ann.queue()
		bob.queue()
		_, err = bob.invite(ann, 60)
		refused(t, dating.Cooldown, err)
		time.Sleep(time.Second) // the queue is told in ticks
		q, err := s.QueueWindow(ctx, ann.id, "")
		require.NoError(t, err)
		require.Len(t, q.Cards, 1)
		require.NotNil(t, q.Cards[0].CooldownUntil)
		time.Sleep(24*time.Hour - time.Second)
		_, err = bob.invite(ann, 60)
		require.NoError(t, err)
	})
}
