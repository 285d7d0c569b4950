package dating_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func names(cards []dating.Card) []string {
	list := []string{}
	for _, c := range cards {
		list = append(list, c.Name)
	}
	return list
}

func TestQueueWindows(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		var all []*person
		for i := range 120 {
			all = append(all, s.free(fmt.Sprintf("P%03d", i)))
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		me := all[0]
		seen := map[dating.UserID]bool{}
		cursor, pages := "", 0
		for {
			q, err := s.QueueWindow(ctx, me.id, cursor)
			require.NoError(t, err)
			require.LessOrEqual(t, len(q.Cards), 50)
			require.Equal(t, 119, q.Total)
			for _, c := range q.Cards {
				require.False(t, seen[c.UserID])
				require.NotEqual(t, me.id, c.UserID)
				seen[c.UserID] = true
			}
			pages++
			if cursor = q.Cursor; cursor == "" {
				break
			}
		}
		require.Len(t, seen, 119)
		require.Equal(t, 3, pages)
		_, err := s.QueueWindow(ctx, me.id, "-")
		refused(t, dating.Invalid, err)

		// A change outside of the window costs a viewer only a count.
		before := len(me.told(dating.QueueUpdateKind))
		require.NoError(t, s.LeaveQueue(ctx, all[110].id, all[110].tab))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		up := last[*dating.QueueUpdate](me, dating.QueueUpdateKind)
		require.Equal(t, before+1, len(me.told(dating.QueueUpdateKind)))
		require.Empty(t, up.Added)
		require.Empty(t, up.Removed)
		require.Equal(t, 118, up.Total)

		require.NoError(t, s.LeaveQueue(ctx, all[1].id, all[1].tab))
		time.Sleep(2 * time.Second)
		up = last[*dating.QueueUpdate](me, dating.QueueUpdateKind)
		require.Equal(t, []dating.UserID{all[1].id}, up.Removed)
		require.Equal(t, []string{"P051"}, names(up.Added), "the next one comes into the window")

		// Another window.
		q, err := s.QueueWindow(ctx, me.id, "")
		require.NoError(t, err)
		require.NoError(t, s.WatchQueue(ctx, me.id, me.tab, q.Cursor))
		time.Sleep(time.Second)
		require.Equal(t, "P052", last[*dating.Window](me, dating.QueueSnapshotKind).Cards[0].Name)
	})
}

func TestQueueShowsAndHides(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat := s.free("Ann"), s.free("Bob"), s.free("Cat")
		time.Sleep(time.Second)
		see := func(p *person) []string {
			t.Helper()
			time.Sleep(time.Second)
			q, err := s.QueueWindow(ctx, p.id, "")
			require.NoError(t, err)
			require.Equal(t, len(q.Cards), q.Total)
			return names(q.Cards)
		}
		require.Equal(t, []string{"Bob", "Cat"}, see(ann))
		name := "Bobby"
		_, err := s.UpdateProfile(ctx, bob.id, dating.ProfileChange{Name: &name})
		require.NoError(t, err)
		require.Equal(t, []string{"Bobby", "Cat"}, see(ann))
		require.Equal(t, []string{"Bobby"}, names(last[*dating.QueueUpdate](ann, dating.QueueUpdateKind).Added))

		start := ann.call(bob, 60)
		require.Equal(t, []string{}, see(cat))
		time.Sleep(5 * time.Second)
		require.NoError(t, s.EndCall(ctx, bob.id, start.RoomID))
		require.Equal(t, []string{}, see(cat), "free only after queue:join")
		ann.queue()
		bob.queue()
		require.Equal(t, []string{"Ann", "Bobby"}, see(cat))

		// People in cooldown are shown, marked, to each other only.
		time.Sleep(time.Second)
		mine := last[*dating.Window](ann, dating.QueueSnapshotKind)
		theirs := last[*dating.QueueUpdate](cat, dating.QueueUpdateKind)
		for _, c := range mine.Cards {
			require.Equal(t, c.UserID == bob.id, c.CooldownUntil != nil)
		}
		for _, c := range theirs.Added {
			require.Nil(t, c.CooldownUntil)
		}

		// One is not shown whom one has reported; others see them.
		require.NoError(t, s.Report(ctx, ann.id, bob.id, "rude"))
		require.Equal(t, []string{"Cat"}, see(ann))
		require.Equal(t, []string{"Ann", "Bobby"}, see(cat))
		require.Equal(t, []string{"Cat"}, names(last[*dating.Window](ann, dating.QueueSnapshotKind).Cards), "the window is told anew")

		// A decline marks the card at once.
		in, err := cat.invite(ann, 60)
		require.NoError(t, err)
		require.NoError(t, s.Decline(ctx, ann.id, in.InviteID))
		time.Sleep(2 * time.Second)
		for _, c := range last[*dating.Window](cat, dating.QueueSnapshotKind).Cards {
			require.Equal(t, c.UserID == ann.id, c.CooldownUntil != nil)
		}
	})
}

// A queue read costs no statement when warm, and a call six for both people
// from the invite to both histories.
func TestStatementBudget(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{FlushEvery: time.Hour, NodeLease: 24 * time.Hour}, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		time.Sleep(time.Second)
		asked := func() uint64 { return w.store.Stats().Statements }
		before := asked()
		for range 100 {
			_, err := s.Authenticate(ctx, ann.token)
			require.NoError(t, err)
			_, err = s.QueueWindow(ctx, ann.id, "")
			require.NoError(t, err)
			s.LiveStats()
		}
		require.Zero(t, asked()-before, "warm queue reads")
		before = asked()
		start := ann.call(bob, 60)
		for range 5 {
			require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "hello"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, ann.told(dating.MetricsUpdateKind), 1)
		t.Logf("a call: %d statements", asked()-before)
		require.LessOrEqual(t, asked()-before, uint64(6), "invite to both histories")
		require.Len(t, ann.calls(), 1)
	})
}
