package dating_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// The version of a window is its viewer's alone: two with equally many changes
// behind them share none, and a state that was dropped from memory and loaded
// again does not come back under the name of another.
func TestWindowVersionNamesItsViewer(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat := s.free("Ann"), s.free("Bob"), s.free("Cat")
		time.Sleep(time.Second)
		version := func(p *person) string {
			q, err := s.QueueWindow(ctx, p.id, "")
			require.NoError(t, err)
			return q.Version
		}
		require.NotEqual(t, version(ann), version(bob))
		require.Contains(t, version(ann), string(ann.id))
		require.Equal(t, version(ann), version(ann), "nothing has changed")

		// Somebody without a socket: their relations live in the cache alone.
		eve, err := s.SignUp(ctx, dating.Newcomer{Name: "Eve", Gender: "female"})
		require.NoError(t, err)
		at := &person{server: s, id: eve.UserID}
		seen := map[string]bool{}
		for i := range 5 {
			v := version(at)
			require.False(t, seen[v], "%d: %s", i, v)
			seen[v] = true
			s.Trim(1)
			require.NoError(t, w.store.SetCooldown(ctx, eve.UserID, []dating.UserID{ann.id, bob.id, cat.id}[i%3], time.Now().Add(time.Duration(i+1)*time.Hour)))
		}
	})
}

// A window at the end of the queue gets a cursor when people come after it,
// and loses it when they go.
func TestUpdateHasTheCursor(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{WindowCards: 3, FlushEvery: time.Minute, NodeLease: time.Hour}, func(t *testing.T, w *world) {
		s := w.nodes[0]
		me, marked := s.free("Me"), s.free("Marked")
		var all []*person
		join := func(n int) {
			for range n {
				all = append(all, s.free(fmt.Sprintf("P%02d", len(all))))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Second)
		}
		join(2)
		up := last[*dating.QueueUpdate](me, dating.QueueUpdateKind)
		require.Empty(t, up.Cursor)
		require.Empty(t, last[*dating.Window](me, dating.QueueSnapshotKind).Cursor)
		join(4)
		up = last[*dating.QueueUpdate](me, dating.QueueUpdateKind)
		require.Equal(t, 7, up.Total)
		require.NotEmpty(t, up.Cursor)
		require.NoError(t, s.WatchQueue(ctx, me.id, me.tab, up.Cursor))
		time.Sleep(time.Second)
		next := last[*dating.Window](me, dating.QueueSnapshotKind)
		require.Equal(t, []string{"P02", "P03", "P04"}, names(next.Cards))
		require.NotEmpty(t, next.Cursor)
		require.NoError(t, s.LeaveQueue(ctx, all[5].id, all[5].tab))
		time.Sleep(time.Second)
		require.Empty(t, last[*dating.QueueUpdate](me, dating.QueueUpdateKind).Cursor)

		// Also when a card is marked for this viewer alone.
		in, err := marked.invite(all[0], 60)
		require.NoError(t, err)
		require.NoError(t, s.Decline(ctx, all[0].id, in.InviteID))
		time.Sleep(time.Second)
		name := "P00 anew"
		_, err = s.UpdateProfile(ctx, all[0].id, dating.ProfileChange{Name: &name})
		require.NoError(t, err)
		time.Sleep(time.Second)
		own := last[*dating.QueueUpdate](marked, dating.QueueUpdateKind)
		require.NotNil(t, own.Added[0].CooldownUntil)
		require.NotEmpty(t, own.Cursor)
	})
}

// Who has not talked for as long as a call takes to count has nothing to
// report, however the call stands.
func TestReportNeedsACallThatCounts(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat, dan := s.free("Ann"), s.free("Bob"), s.free("Cat"), s.free("Dan")
		short := ann.call(bob, 60)
		refused(t, dating.Forbidden, s.Report(ctx, ann.id, bob.id, "0 s"))
		time.Sleep(5*time.Second - 10*time.Millisecond)
		refused(t, dating.Forbidden, s.Report(ctx, ann.id, bob.id, "not yet"))
		require.NoError(t, s.EndCall(ctx, ann.id, short.RoomID))
		refused(t, dating.Forbidden, s.Report(ctx, ann.id, bob.id, "it did not count"))
		cat.call(dan, 60)
		time.Sleep(5 * time.Second)
		require.NoError(t, s.Report(ctx, cat.id, dan.id, "rude"))
	})
}
