package dating_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func TestInviteRefusalsInOrder(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat := s.free("Ann"), s.free("Bob"), s.free("Cat")
		_, err := ann.Invite(ctx, ann.id, ann.tab, "", 1)
		refused(t, dating.InvalidTarget, err)
		_, err = ann.invite(ann, 1)
		refused(t, dating.InvalidTarget, err)
		_, err = ann.Invite(ctx, ann.id, ann.tab, "nobody", 1)
		refused(t, dating.UserNotFound, err)
		for _, n := range []int{-1, 0, 59, 1801, 1 << 30} {
			_, err = ann.invite(bob, n)
			refused(t, dating.InvalidDuration, err)
		}
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		for _, pair := range [][2]*person{{ann, cat}, {cat, ann}, {cat, bob}, {bob, ann}, {bob, cat}} {
			_, err = pair[0].invite(pair[1], 60)
			refused(t, dating.Busy, err)
		}
		require.NoError(t, s.Decline(ctx, bob.id, in.InviteID))
		_, err = ann.invite(bob, 60)
		refused(t, dating.Cooldown, err)
		_, err = bob.invite(ann, 60)
		refused(t, dating.Cooldown, err)

		require.NoError(t, s.LeaveQueue(ctx, cat.id, cat.tab))
		_, err = ann.invite(cat, 60)
		refused(t, dating.Busy, err) // here, but not free
		s.SocketClosed(cat.tab, true)
		_, err = ann.invite(cat, 60)
		refused(t, dating.Offline, err)

		s.SocketClosed(bob.tab, true)
		_, err = ann.invite(bob, 60)
		refused(t, dating.Offline, err) // before cooldown
		_, err = bob.invite(ann, 60)
		require.Error(t, err)
	})
}

func TestOnlyTheCalleeAnswers(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, eve := s.free("Ann"), s.free("Bob"), s.free("Eve")
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		for _, p := range []*person{ann, eve} {
			_, err = p.accept(in.InviteID, 60)
			refused(t, dating.Forbidden, err)
			refused(t, dating.Forbidden, s.Decline(ctx, p.id, in.InviteID))
		}
		for _, p := range []*person{bob, eve} {
			refused(t, dating.Forbidden, s.Rescind(ctx, p.id, in.InviteID))
			_, err = s.ExtendWait(ctx, p.id, in.InviteID)
			refused(t, dating.Forbidden, err)
		}
		for _, id := range []string{"", "x", ".", "n1.", "n2.x", "n1.none"} {
			_, err = bob.accept(id, 60)
			refused(t, dating.NotFound, err)
			refused(t, dating.NotFound, s.EndCall(ctx, bob.id, id))
		}
		start, err := bob.accept(in.InviteID, 60)
		require.NoError(t, err)
		_, err = bob.accept(in.InviteID, 60)
		refused(t, dating.NotFound, err)
		refused(t, dating.Forbidden, s.Chat(ctx, eve.id, start.RoomID, "boo"))
		refused(t, dating.Forbidden, s.GiveSocial(ctx, eve.id, start.RoomID, dating.Socials{"x": "y"}))
		refused(t, dating.Forbidden, s.EndCall(ctx, eve.id, start.RoomID))
		_, err = s.Resume(ctx, eve.id, eve.tab, start.RoomID)
		refused(t, dating.Forbidden, err)
	})
}

func TestInviteExpires(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		require.Equal(t, 0, s.LiveStats().AvailableUsers, "who is being called is not free")
		for left := 2; left >= 0; left-- {
			time.Sleep(15 * time.Second)
			v, err := s.ExtendWait(ctx, ann.id, in.InviteID)
			require.NoError(t, err)
			require.Equal(t, left, v.ExtensionsLeft)
		}
		_, err = s.ExtendWait(ctx, ann.id, in.InviteID)
		refused(t, dating.TooMany, err)
		require.Len(t, bob.told(dating.CallWaitExtendedKind), 3)
		time.Sleep(35*time.Second - time.Millisecond) // 80 s since the invite
		synctest.Wait()
		require.Empty(t, bob.told(dating.CallExpiredKind))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, "expired", last[*dating.InviteOutcome](bob, dating.CallExpiredKind).Reason)
		require.Equal(t, in.InviteID, last[*dating.InviteOutcome](ann, dating.CallExpiredKind).InviteID)
		_, err = bob.accept(in.InviteID, 60)
		refused(t, dating.NotFound, err)
		require.Equal(t, 2, s.LiveStats().AvailableUsers, "both are free again")
		_, err = bob.invite(ann, 60)
		require.NoError(t, err, "an invite that expired leaves no cooldown")
		require.Equal(t, 1, s.Stats().Invites)
	})
}

// The wall clock is put back by an hour while an invite is open: it ends in
// time all the same.
func TestInviteExpiresByTheMonotonicClock(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		s.ClockPutBack(in.InviteID, time.Hour)
		time.Sleep(15 * time.Second)
		_, err = s.ExtendWait(ctx, ann.id, in.InviteID)
		require.NoError(t, err)
		time.Sleep(25*time.Second - time.Millisecond)
		synctest.Wait()
		require.Empty(t, bob.told(dating.CallExpiredKind))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Len(t, bob.told(dating.CallExpiredKind), 1)
		require.Zero(t, s.Stats().Invites)
	})
}

// An invite that is answered in the moment in which it ends has one outcome.
// Everybody is at the lock then, so that whoever lets go of it waits in line.
func TestAnswerAtTheLastMoment(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		started, expired := map[string]bool{}, map[string]bool{}
		s.hook = func(e dating.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch d := e.Data.(type) {
			case *dating.CallStart:
				started[d.RoomID] = true
			case *dating.InviteOutcome:
				expired[d.InviteID] = true
			}
		}
		for range 20 {
			var wg sync.WaitGroup
			for range 40 {
				a, b := s.free("A"), s.free("B")
				wg.Go(func() {
					in, err := a.invite(b, 60)
					require.NoError(t, err)
					time.Sleep(20 * time.Second)
					s.Crowd(rand.IntN(5))
					_, _ = b.accept(in.InviteID, 60) // either outcome is right
				})
			}
			wg.Wait()
			synctest.Wait()
		}
		for id := range started {
			require.False(t, expired[id], "begun, and expired")
		}
	})
}

func TestRescindAndVanish(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat := s.free("Ann"), s.free("Bob"), s.free("Cat")
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		require.NoError(t, s.Rescind(ctx, ann.id, in.InviteID))
		require.Equal(t, "rescinded", last[*dating.InviteOutcome](bob, dating.CallRescindedKind).Reason)
		_, err = ann.invite(bob, 60)
		refused(t, dating.Cooldown, err)

		in, err = ann.invite(cat, 60)
		require.NoError(t, err)
		second := ann.open()
		s.SocketClosed(ann.tab, false)
		synctest.Wait()
		require.Empty(t, cat.told(dating.CallRescindedKind), "only the last socket counts")
		s.SocketClosed(second, true)
		synctest.Wait()
		require.Equal(t, "vanished", last[*dating.InviteOutcome](cat, dating.CallRescindedKind).Reason)
		ann.tab = ann.open()
		_, err = ann.invite(cat, 60)
		refused(t, dating.Cooldown, err)
		time.Sleep(time.Hour)
		in, err = ann.invite(cat, 60)
		require.NoError(t, err)
		s.SocketClosed(cat.tab, true)
		synctest.Wait()
		require.Equal(t, "offline", last[*dating.InviteOutcome](ann, dating.CallExpiredKind).Reason)
	})
}

// Everybody invites everybody at once, and everybody accepts what they get:
// on one node and on two, nobody may be in two calls.
func TestEverybodyInvitesEverybody(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		bubble(t, nodes, func(t *testing.T, w *world) {
			const people = 40
			var all []*person
			for i := range people {
				all = append(all, w.nodes[i%nodes].free("P"))
			}
			byID := map[dating.UserID]*person{}
			for _, p := range all {
				byID[p.id] = p
			}
			time.Sleep(2 * time.Second)
			var wg sync.WaitGroup
			for _, s := range w.nodes {
				s.mu.Lock()
				s.hook = func(e dating.Event) {
					if n, ok := e.Data.(*dating.CallNotify); ok {
						p := byID[e.To]
						wg.Go(func() { _, _ = p.accept(n.InviteID, 60) })
					}
				}
				s.mu.Unlock()
			}
			for i, p := range all {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(i)))
					for _, j := range r.Perm(people) {
						_, err := p.invite(all[j], 60)
						if err != nil {
							require.Contains(t, []dating.Code{dating.InvalidTarget, dating.Busy, dating.Offline}, dating.CodeOf(err), "%v", err)
						}
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			rooms := map[string]int{}
			for _, p := range all {
				var open []string
				for _, e := range p.told(dating.CallStartKind) {
					open = append(open, e.Data.(*dating.CallStart).RoomID)
				}
				require.LessOrEqual(t, len(open), 1, "%s is in %v", p.id, open)
				for _, r := range open {
					rooms[r]++
				}
			}
			require.NotEmpty(t, rooms)
			for r, n := range rooms {
				require.Equal(t, 2, n, r)
			}
			live := 0
			for _, s := range w.nodes {
				live += s.Stats().Calls
			}
			require.Equal(t, len(rooms), live)
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, p := range all {
				require.Len(t, p.calls(), len(p.told(dating.CallStartKind)))
			}
		})
	}
}
