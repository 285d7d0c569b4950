package dating_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// However long two have chatted when their node dies, the store holds the last
// lines and no more, and the next start reads no more than those.
func TestOrphanChatIsBounded(t *testing.T) {
	rules := dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second, ChatKept: 20}
	bubbleRules(t, 1, rules, func(t *testing.T, w *world) {
		dead := w.nodes[0]
		ann, bob := dead.free("Ann"), dead.free("Bob")
		room := ann.call(bob, 600).RoomID
		for i := range 50 {
			require.NoError(t, dead.Chat(ctx, ann.id, room, fmt.Sprint("line ", i)))
			require.NoError(t, dead.GiveSocial(ctx, bob.id, room, dating.Socials{"x": fmt.Sprint(i)}))
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		chat, socials, err := w.store.Said(ctx, room, 1000)
		require.NoError(t, err)
		require.Len(t, chat, 20)
		require.Equal(t, "line 30", chat[0].Text)
		require.Len(t, socials, 1)

		// An older version has left more than it should.
		var more []dating.Pending
		for i := range 100 {
			more = append(more, dating.Pending{RoomID: room, Seq: 1000 + i, Chat: &dating.ChatLine{From: ann.id, Text: fmt.Sprint("old ", i), At: time.Now()}})
		}
		require.NoError(t, w.store.AddChat(ctx, more, 1<<20))
		asked := &said{Store: w.store}
		w.faulty, w.bus, w.share = asked, bus.NewMemory(), nil
		s := w.start("n1")
		require.EqualValues(t, 1, s.Stats().Orphans)
		require.Equal(t, 20, asked.most)
		h, err := s.History(ctx, bob.id, "")
		require.NoError(t, err)
		require.Len(t, h.Calls[0].Chat, 20)
		require.Equal(t, "old 99", h.Calls[0].Chat[19].Text)
		require.Equal(t, dating.Socials{"x": "49"}, h.Calls[0].Socials[0].Socials)
	})
}

// said is a store that remembers the most lines it was asked for at once.
type said struct {
	dating.Store
	most int
}

func (s *said) Said(ctx context.Context, room string, keep int) ([]dating.ChatLine, []dating.SocialShared, error) {
	s.most = max(s.most, keep)
	return s.Store.Said(ctx, room, keep)
}

// A page of a history ends when enough was said, and the cursor goes on there.
func TestHistoryPageIsBounded(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{HistoryBytes: 5000, HistoryPage: 3, FlushEvery: time.Minute, NodeLease: time.Hour}, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann := s.free("Ann")
		var rooms []string
		for i := range 8 {
			other := s.free("P")
			ann.queue()
			room := ann.call(other, 60).RoomID
			for range 2 {
				require.NoError(t, s.Chat(ctx, ann.id, room, strings.Repeat("ä", 500)))
			}
			if i == 3 { // larger than a page
				for range 4 {
					time.Sleep(time.Second)
					require.NoError(t, s.Chat(ctx, other.id, room, strings.Repeat("ä", 500)))
				}
			}
			refused(t, dating.Invalid, s.Chat(ctx, ann.id, room, "six bytes each: \x01"))
			time.Sleep(10 * time.Second)
			require.NoError(t, s.EndCall(ctx, ann.id, room))
			rooms = append([]string{room}, rooms...)
		}
		var got []string
		var sizes []int
		for cursor := ""; ; {
			h, err := s.History(ctx, ann.id, cursor)
			require.NoError(t, err)
			for _, c := range h.Calls {
				got = append(got, c.RoomID)
				require.GreaterOrEqual(t, len(c.Chat), 2)
			}
			sizes = append(sizes, len(h.Calls))
			if cursor = h.Cursor; cursor == "" {
				break
			}
		}
		require.Equal(t, rooms, got)
		require.Equal(t, []int{2, 2, 1, 2, 1}, sizes)
		me, err := s.Profile(ctx, ann.id)
		require.NoError(t, err)
		require.Len(t, me.Metrics.Recent, 8)
		require.Equal(t, rooms[0], me.Metrics.Recent[0].RoomID)
		require.Empty(t, me.Metrics.Recent[0].Chat)
	})
}
