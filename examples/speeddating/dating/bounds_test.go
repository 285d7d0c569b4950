package dating_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// Chat that waits for a database that is away is on the account, bounded, and
// given back when it is written or given up.
func TestWaitingChatIsOnTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{ChatKept: 2, FlushEvery: time.Second, NodeLease: 15 * time.Second})
		st := &mute{Store: w.store}
		w.account, w.faulty = &ledger{}, st
		s := w.start("n1")
		ann, bob := s.free("Ann"), s.free("Bob")
		room := ann.call(bob, 1800).RoomID
		line := strings.Repeat("x", 400)
		say := func(n int) {
			t.Helper()
			for range n {
				require.NoError(t, s.Chat(ctx, ann.id, room, line))
				time.Sleep(200 * time.Millisecond)
			}
		}
		say(10)
		time.Sleep(2 * time.Second)
		idle := w.account.used.Load() // with two lines
		st.away.Store(true)
		say(600)
		held := w.account.used.Load() - idle
		require.Greater(t, held, int64(600*400))
		require.Less(t, held, int64(600*1000))
		st.away.Store(false)
		time.Sleep(2 * time.Second)
		require.Equal(t, idle, w.account.used.Load())
		require.Equal(t, 256, st.most, "lines a statement")
		chat, _, err := w.store.Said(ctx, room, 1000)
		require.NoError(t, err)
		require.Len(t, chat, 2)
		st.away.Store(true)
		say(10)
		for _, p := range []*person{ann, bob} {
			s.SocketClosed(p.tab, true)
		}
		time.Sleep(time.Minute)
		require.Positive(t, w.account.used.Load())
		w.close()
		require.Zero(t, w.account.used.Load())
	})
}

// mute is a store that can refuse chat, and remembers the most lines it took.
type mute struct {
	dating.Store
	away atomic.Bool
	most int
}

func (m *mute) AddChat(ctx context.Context, said []dating.Pending, keep int) error {
	if m.away.Load() {
		return errAway
	}
	m.most = max(m.most, len(said))
	return m.Store.AddChat(ctx, said, keep)
}

// In memory are at most so many cooldowns of a person: those that last longest,
// as after a load.
func TestCooldownsInMemoryAreBounded(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{RelationKept: 3, FlushEvery: time.Minute, NodeLease: time.Hour}, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann := s.free("Ann")
		marked := func() (list []string) {
			time.Sleep(time.Second)
			q, err := s.QueueWindow(ctx, ann.id, "")
			require.NoError(t, err)
			for _, c := range q.Cards {
				if c.CooldownUntil != nil {
					list = append(list, c.Name)
				}
			}
			return list
		}
		for i := range 6 {
			p := s.free(fmt.Sprint("P", i))
			in, err := p.invite(ann, 60)
			require.NoError(t, err)
			time.Sleep(time.Second)
			require.NoError(t, s.Decline(ctx, ann.id, in.InviteID))
		}
		require.Equal(t, []string{"P3", "P4", "P5"}, marked())
		// One that is shorter than all of them does not push one out.
		p := s.free("Short")
		in, err := p.invite(ann, 60)
		require.NoError(t, err)
		require.NoError(t, s.Rescind(ctx, p.id, in.InviteID))
		require.Equal(t, []string{"P3", "P4", "P5"}, marked())
		time.Sleep(25 * time.Hour)
		require.Empty(t, marked())
	})
}

// Guests who can never return leave nothing; accounts and those with a past do.
func TestGuestsAreSwept(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		guest, ann, bob, account := s.guest("Guest"), s.free("Ann"), s.free("Bob"), s.guest("Account")
		_, err := s.SetSelfie(ctx, guest.id, []byte("jpeg"), "image/jpeg")
		require.NoError(t, err)
		_, err = s.Link(ctx, account.session, "a@example.org", "correct horse")
		require.NoError(t, err)
		ann.call(bob, 60)
		time.Sleep(time.Minute)
		sweep := func() (guests int) {
			for _, job := range s.Sweeps() {
				r, err := job.Run(ctx)
				require.NoError(t, err)
				if job.Name == "guests" {
					guests = r.Deleted
				}
			}
			return guests
		}
		time.Sleep(7*24*time.Hour - 2*time.Minute)
		require.Zero(t, sweep(), "the sessions are in force")
		time.Sleep(2 * time.Hour)
		require.Equal(t, 1, sweep())
		s.SocketClosed(guest.tab, true)
		time.Sleep(time.Hour)
		_, err = s.Profile(ctx, guest.id)
		refused(t, dating.UserNotFound, err)
		for _, p := range []*person{ann, bob, account} {
			_, err := s.Profile(ctx, p.id)
			require.NoError(t, err)
		}
		require.Zero(t, sweep())
	})
}
