package dating_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
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

// However much was said, what one who comes back is given fits into the queue
// of a socket: 32 KiB. It is the end of the chat, and not less than needs be.
func TestComingBackToALongChat(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		longest := strings.Repeat("<", 40)
		ann, bob := s.free(longest), s.free(longest)
		start := ann.call(bob, 1800)
		handles := dating.Socials{}
		for i := range 8 {
			handles[strings.Repeat("&", 19)+strconv.Itoa(i)] = strings.Repeat("<", 64)
		}
		require.NoError(t, s.GiveSocial(ctx, ann.id, start.RoomID, handles))
		require.NoError(t, s.GiveSocial(ctx, bob.id, start.RoomID, handles))
		text := strings.Repeat("<", 500) // six bytes each in JSON
		for range 200 {
			time.Sleep(time.Second)
			require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, text))
		}
		require.NoError(t, s.Chat(ctx, bob.id, start.RoomID, "the last"))
		view, err := s.Resume(ctx, bob.id, bob.tab, start.RoomID)
		require.NoError(t, err)
		hello, _, err := s.Current(ctx, bob.id)
		require.NoError(t, err)
		for _, v := range []*dating.CallView{&view, hello} {
			b, err := json.Marshal(v)
			require.NoError(t, err)
			require.Less(t, len(b), 30<<10)
			require.Len(t, v.Chat, 6)
			require.Equal(t, "the last", v.Chat[5].Text)
			require.Equal(t, text, v.Chat[0].Text)
		}
		require.NoError(t, s.EndCall(ctx, ann.id, start.RoomID))
		list, _, err := w.store.History(ctx, ann.id, dating.HistoryKey{}, 1, 4<<20)
		require.NoError(t, err)
		require.Len(t, list[0].Chat, 200, "nothing is lost")
	})
}
