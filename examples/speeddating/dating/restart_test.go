package dating_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/presence"
)

// A node dies in the middle of 20 calls. The next one of its name finishes
// them: each is in both histories once, with its chat, and nobody is busy. The
// dead one comes back to life and changes nothing.
func TestRestartFinishesCalls(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second}, func(t *testing.T, w *world) {
		dead := w.nodes[0]
		var all []*person
		for i := range 40 {
			all = append(all, dead.free(fmt.Sprint("P", i)))
		}
		rooms := map[dating.UserID]string{}
		for i := 0; i < 40; i += 2 {
			a, b := all[i], all[i+1]
			start := a.call(b, 600)
			require.NoError(t, dead.Chat(ctx, a.id, start.RoomID, "hello"))
			require.NoError(t, dead.GiveSocial(ctx, b.id, start.RoomID, dating.Socials{"x": "y"}))
			rooms[a.id], rooms[b.id] = start.RoomID, start.RoomID
		}
		// It has not been heard of for some time when it is killed.
		time.Sleep(7 * time.Second)
		w.bus, w.share = bus.NewMemory(), nil
		s := w.start("n1")
		require.EqualValues(t, 20, s.Stats().Orphans)
		for _, p := range all {
			h, err := s.History(ctx, p.id, "")
			require.NoError(t, err)
			require.Len(t, h.Calls, 1)
			c := h.Calls[0]
			require.Equal(t, rooms[p.id], c.RoomID)
			require.Equal(t, "restart", c.Reason)
			require.InDelta(t, 7, c.DurationSeconds, 1)
			require.Equal(t, "hello", c.Chat[0].Text)
			require.Equal(t, dating.Socials{"x": "y"}, c.Socials[0].Socials)
			profile, err := s.Profile(ctx, p.id)
			require.NoError(t, err)
			require.EqualValues(t, 1, profile.Metrics.Calls)
		}
		again := make([]*person, 0, 2)
		for _, p := range []*person{all[0], all[3]} {
			n := &person{server: s, id: p.id, session: p.session}
			n.tab = n.open()
			n.queue()
			again = append(again, n)
		}
		again[0].call(again[1], 60) // nobody is busy for ever
		for _, p := range all {
			_ = dead.EndCall(ctx, p.id, rooms[p.id])
		}
		synctest.Wait()
		require.Len(t, all[0].calls(), 1)
	})
}

// What must be kept although the database is away: nothing is acknowledged
// that is not written, and an end that could not be written is written later.
func TestStoreAway(t *testing.T) {
	bubbleFaulty(t, func(t *testing.T, s *server, f *faulty) {
		ann, bob, cat, dan := s.free("Ann"), s.free("Bob"), s.free("Cat"), s.free("Dan")
		start := ann.call(bob, 60)
		time.Sleep(10 * time.Second)
		in, err := cat.invite(dan, 60)
		require.NoError(t, err)

		f.away.Store(true)
		refused(t, dating.Unavailable, s.Ready(ctx))
		_, err = s.SignUp(ctx, dating.Newcomer{Name: "Eve", Gender: "female"})
		refused(t, dating.Unavailable, err)
		_, err = dan.accept(in.InviteID, 60)
		refused(t, dating.Unavailable, err)
		refused(t, dating.Unavailable, s.Decline(ctx, dan.id, in.InviteID))
		_, err = s.QueueWindow(ctx, ann.id, "") // from memory
		require.NoError(t, err)
		require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "still here"))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		refused(t, dating.Unavailable, s.EndCall(short, ann.id, start.RoomID))
		require.Len(t, bob.told(dating.SessionFinalizedKind), 1, "both are told although it is not written yet")
		time.Sleep(5 * time.Second)

		f.away.Store(false)
		start2, err := dan.accept(in.InviteID, 60)
		require.NoError(t, err, "the invite is still open")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, p := range []*person{ann, bob} {
			require.Len(t, p.calls(), 1)
			require.Equal(t, 10, p.calls()[0].DurationSeconds)
			require.Equal(t, "still here", p.calls()[0].Chat[0].Text)
			require.Len(t, p.told(dating.SessionFinalizedKind), 1)
		}
		require.NoError(t, s.Ready(ctx))
		require.NoError(t, s.EndCall(ctx, cat.id, start2.RoomID))
	})
}

// A database that is cut off while it commits has written, or has not; the
// answer does not come. Whoever tries again gets on, whoever does not is kept
// from nothing, and what is in memory is what is in the store.
func TestStoreAnswersAreLost(t *testing.T) {
	bubbleFaulty(t, func(t *testing.T, s *server, f *faulty) {
		ann, bob, cat, dan, eve := s.free("Ann"), s.free("Bob"), s.free("Cat"), s.free("Dan"), s.free("Eve")
		in, err := ann.invite(bob, 60)
		require.NoError(t, err)
		f.mute.Store(true)
		_, err = bob.accept(in.InviteID, 60)
		refused(t, dating.Unavailable, err)
		f.mute.Store(false)
		start, err := bob.accept(in.InviteID, 60)
		require.NoError(t, err, "the same call, a second time")

		in, err = cat.invite(dan, 60)
		require.NoError(t, err)
		f.mute.Store(true)
		_, err = dan.accept(in.InviteID, 60)
		refused(t, dating.Unavailable, err)
		f.mute.Store(false)
		time.Sleep(30 * time.Second) // the invitation expires
		dan.call(eve, 60)
		require.Empty(t, cat.calls(), "a call that never was leaves nothing")

		f.mute.Store(true)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		refused(t, dating.Unavailable, s.EndCall(short, ann.id, start.RoomID))
		name := "Anna"
		_, err = s.UpdateProfile(ctx, ann.id, dating.ProfileChange{Name: &name})
		refused(t, dating.Unavailable, err)
		refused(t, dating.Unavailable, s.Logout(ctx, cat.session))
		f.mute.Store(false)
		time.Sleep(10 * time.Second)
		for _, p := range []*person{ann, bob} {
			require.Len(t, p.calls(), 1)
			profile, err := s.Profile(ctx, p.id)
			require.NoError(t, err)
			require.EqualValues(t, 1, profile.Metrics.Calls)
			require.EqualValues(t, 30, profile.Metrics.TalkSeconds)
		}
		profile, err := s.Profile(ctx, ann.id)
		require.NoError(t, err)
		require.Equal(t, "Anna", profile.Name)
		_, err = s.Authenticate(ctx, cat.token)
		refused(t, dating.Unauthenticated, err)
	})
}

func bubbleFaulty(t *testing.T, f func(*testing.T, *server, *faulty)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{})
		st := &faulty{Store: w.store}
		w.faulty = st
		defer w.close()
		f(t, w.start("n1"), st)
	})
}

// faulty is a store that can be away.
type faulty struct {
	dating.Store
	away  atomic.Bool
	mute  atomic.Bool // it does what it is asked, and the answer is lost
	hangs atomic.Bool // EndCall, while away
}

var errAway = errors.New("the database is away")

func (f *faulty) err() error {
	if f.away.Load() {
		return errAway
	}
	return nil
}

func (f *faulty) Ping(ctx context.Context) error { return errors.Join(f.err(), f.Store.Ping(ctx)) }

func (f *faulty) CreateGuest(ctx context.Context, u dating.User, s dating.Session, in []dating.Introduction) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.CreateGuest(ctx, u, s, in)
}

func (f *faulty) Beat(ctx context.Context, node, incarnation string, now, until time.Time) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.Beat(ctx, node, incarnation, now, until)
}

func (f *faulty) StartCall(ctx context.Context, c dating.Call) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.answer(f.Store.StartCall(ctx, c))
}

func (f *faulty) answer(err error) error {
	if f.mute.Load() {
		return errAway
	}
	return err
}

func (f *faulty) UpdateProfile(ctx context.Context, id dating.UserID, name, gender string, socials dating.Socials) error {
	return f.answer(f.Store.UpdateProfile(ctx, id, name, gender, socials))
}

func (f *faulty) EndSession(ctx context.Context, hash dating.TokenHash) error {
	return f.answer(f.Store.EndSession(ctx, hash))
}

func (f *faulty) EndCall(ctx context.Context, c dating.EndedCall) (map[dating.UserID]dating.Totals, error) {
	if err := f.err(); err != nil {
		if f.hangs.Load() {
			<-ctx.Done()
		}
		return nil, err
	}
	totals, err := f.Store.EndCall(ctx, c)
	if err := f.answer(err); err != nil {
		return nil, err
	}
	return totals, nil
}

func (f *faulty) SetCooldown(ctx context.Context, a, b dating.UserID, until time.Time) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.Store.SetCooldown(ctx, a, b, until)
}

func TestDrainAndShutdown(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob, cat, dan, eve := s.free("Ann"), s.free("Bob"), s.free("Cat"), s.free("Dan"), s.free("Eve")
		start := ann.call(bob, 600)
		in, err := cat.invite(dan, 60)
		require.NoError(t, err)
		require.NoError(t, s.Chat(ctx, ann.id, start.RoomID, "so long"))
		time.Sleep(20*time.Second - time.Millisecond)
		s.Drain(ctx)
		refused(t, dating.Draining, s.Ready(ctx))
		_, err = s.SignUp(ctx, dating.Newcomer{Name: "New", Gender: "male"})
		refused(t, dating.Draining, err)
		refused(t, dating.Draining, s.SocketOpened(ctx, ann.id, "new", ann.session))
		_, err = eve.invite(ann, 60)
		require.Error(t, err)
		_, err = dan.accept(in.InviteID, 60)
		refused(t, dating.NotFound, err)
		refused(t, dating.NotFound, s.Chat(ctx, ann.id, start.RoomID, "too late"))
		// All were told while their sockets are open, and nobody is blamed.
		for _, p := range []*person{cat, dan} {
			require.Equal(t, "restart", last[*dating.InviteOutcome](p, dating.CallExpiredKind).Reason)
		}
		for _, p := range []*person{ann, bob} {
			require.Equal(t, &dating.Finalized{RoomID: start.RoomID, DurationSeconds: 19, Reason: "restart"}, last[*dating.Finalized](p, dating.SessionFinalizedKind))
		}
		for _, p := range []*person{cat, ann, bob, dan} {
			s.SocketClosed(p.tab, false)
		}
		require.NoError(t, s.Shutdown(ctx))
		require.NoError(t, s.Shutdown(ctx), "twice does no harm")
		require.Empty(t, dan.told(dating.CallRescindedKind))
		require.Empty(t, bob.told(dating.PeerDisconnectedKind))
		rel, err := w.store.Relations(ctx, cat.id, time.Now(), 10)
		require.NoError(t, err)
		require.Empty(t, rel.Cooldowns)
		for _, p := range []*person{ann, bob} {
			list, _, err := w.store.History(ctx, p.id, dating.HistoryKey{}, 10, 1<<20)
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, "so long", list[0].Chat[0].Text)
			require.Equal(t, "restart", list[0].Reason)
		}
		s.SocketClosed(ann.tab, true) // late ends do no harm
		s.SocketAway(bob.tab)
		require.Zero(t, w.bus.Stats().Nodes)
		require.Zero(t, w.bus.Stats().Claims)
	})
}

// A node stops whose people are in an invite and a call of another node: the
// invite ends without a cooldown, and the call waits for them to come back there.
func TestDrainOfAGuestNode(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		n1, n2 := w.nodes[0], w.nodes[1]
		ann, bob, cat, dan := n1.free("Ann"), n2.free("Bob"), n1.free("Cat"), n2.free("Dan")
		time.Sleep(2 * time.Second)
		start := ann.call(bob, 600)
		in, err := cat.invite(dan, 60)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		n2.Drain(ctx)
		require.Empty(t, ann.told(dating.SessionFinalizedKind))
		n2.SocketClosed(bob.tab, false)
		n2.SocketClosed(dan.tab, false)
		require.NoError(t, n2.Shutdown(ctx))
		synctest.Wait()
		require.Equal(t, &dating.InviteOutcome{InviteID: in.InviteID, Reason: "restart"}, last[*dating.InviteOutcome](cat, dating.CallExpiredKind))
		require.Len(t, ann.told(dating.PeerAwayKind), 1)
		back := bob.at(n1)
		_, err = n1.Resume(ctx, bob.id, back.tab, start.RoomID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, ann.told(dating.SessionFinalizedKind))
	})
}

// A database that is away when the node stops, or does not even say so: Drain
// and Shutdown end with their contexts. The next start writes the history.
func TestDrainIsBounded(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		drainBounded(t, hangs)
	}
}

func drainBounded(t *testing.T, hangs bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{FlushEvery: time.Second, NodeLease: 15 * time.Second})
		f := &faulty{Store: w.store}
		w.faulty = f
		s := w.start("n1")
		ann, bob := s.free("Ann"), s.free("Bob")
		ann.call(bob, 600)
		time.Sleep(10 * time.Second)
		f.away.Store(true)
		f.hangs.Store(hangs)
		before := time.Now()
		second, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s.Drain(second)
		if hangs {
			require.Equal(t, time.Second, time.Since(before))
		} else {
			require.Zero(t, time.Since(before))
			require.Equal(t, "restart", last[*dating.Finalized](bob, dating.SessionFinalizedKind).Reason)
		}
		short, cancel := context.WithDeadline(ctx, before.Add(3*time.Second))
		defer cancel()
		require.ErrorIs(t, s.Shutdown(short), context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(before))
		require.NoError(t, <-s.ran)
		require.NoError(t, s.tracker.Shutdown(ctx))
		f.away.Store(false)
		w.nodes, w.bus = nil, bus.NewMemory()
		w.start("n1")
		defer w.close()
		list, _, err := w.store.History(ctx, ann.id, dating.HistoryKey{}, 10, 1<<20)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "restart", list[0].Reason)
	})
}

// An invite is being accepted when the node drains: the call begins, and ends
// at once with the rest, also when Drain could not wait for it.
func TestDrainWhileAccepting(t *testing.T) {
	for _, patience := range []time.Duration{time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 0, dating.Rules{})
			w.faulty = slowStart{w.store}
			s := w.start("n1")
			defer w.close()
			ann, bob := s.free("Ann"), s.free("Bob")
			in, err := ann.invite(bob, 60)
			require.NoError(t, err)
			go func() { _, _ = bob.accept(in.InviteID, 60) }()
			time.Sleep(time.Second)
			before := time.Now()
			short, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			s.Drain(short)
			require.Equal(t, min(patience, 2*time.Second), time.Since(before))
			time.Sleep(2 * time.Second)
			for _, p := range []*person{ann, bob} {
				require.Len(t, p.told(dating.CallStartKind), 1)
				require.Empty(t, p.told(dating.CallExpiredKind))
				require.Equal(t, "restart", last[*dating.Finalized](p, dating.SessionFinalizedKind).Reason)
			}
		})
	}
}

// slowStart takes three seconds for the start of a call.
type slowStart struct{ dating.Store }

func (s slowStart) StartCall(ctx context.Context, c dating.Call) error {
	time.Sleep(3 * time.Second)
	return s.Store.StartCall(ctx, c)
}

func TestSweeps(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 60)
		time.Sleep(time.Minute)
		sweep := func() map[string]dating.SweepResult {
			t.Helper()
			done := map[string]dating.SweepResult{}
			for _, job := range s.Sweeps() {
				require.Equal(t, 5*time.Minute, job.Every)
				r, err := job.Run(ctx)
				require.NoError(t, err)
				if r != (dating.SweepResult{}) {
					done[job.Name] = r
				}
			}
			return done
		}
		require.Empty(t, sweep())
		time.Sleep(25 * time.Hour)
		require.Equal(t, map[string]dating.SweepResult{"cooldowns": {Deleted: 2}}, sweep())
		time.Sleep(6 * 24 * time.Hour)
		require.Equal(t, map[string]dating.SweepResult{"sessions": {Deleted: 2}, "history": {Archived: 2, Deleted: 2}}, sweep())
		require.Equal(t, &dating.Invalidated{Reason: "expired"}, last[*dating.Invalidated](ann, dating.SessionInvalidatedKind))
		require.Len(t, ann.calls(), 1, "archived reads like live")
		require.Equal(t, start.RoomID, bob.calls()[0].RoomID)
		require.Empty(t, sweep())
	})
}

func TestOptions(t *testing.T) {
	_, err := dating.New(dating.Options{Node: "No!", Rules: dating.Rules{MinCall: -1}})
	for _, field := range []string{"Store", "Bus", "Presence", "Deliver", "MaxSockets", "Node", "Rules.MinCall"} {
		require.ErrorContains(t, err, field)
	}
}

// Everything that is kept in memory is given back when all have left.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{})
		w.account = &ledger{}
		s := w.start("n1")
		defer w.close()
		var all []*person
		for range 20 {
			all = append(all, s.free("P"))
		}
		for i := 0; i < 20; i += 2 {
			start := all[i].call(all[i+1], 60)
			for range 5 {
				require.NoError(t, s.Chat(ctx, all[i].id, start.RoomID, "hello"))
			}
		}
		require.Greater(t, w.account.used.Load(), int64(30<<10))
		w.account.full.Store(true)
		refused(t, dating.Overloaded, s.SocketOpened(ctx, all[0].id, "more", all[0].session))
		w.account.full.Store(false)
		for _, p := range all {
			s.SocketClosed(p.tab, true)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		st := s.Stats()
		require.Zero(t, st.People+st.Sockets+st.Invites+st.Calls+st.Bus.Claims)
		require.Equal(t, dating.Live{}, s.LiveStats())
		require.Zero(t, w.account.used.Load())
		_, err := s.tracker.List("queue", presence.ListOptions{})
		require.NoError(t, err)
	})
}

// ledger is an account that counts.
type ledger struct {
	used atomic.Int64
	full atomic.Bool
	hook func() // called by the next Reserve, once
}

func (l *ledger) Reserve(n int64) error {
	if f := l.hook; f != nil {
		l.hook = nil
		f()
	}
	if l.full.Load() {
		return errors.New("full")
	}
	l.used.Add(n)
	return nil
}

func (l *ledger) Release(n int64) { l.used.Add(-n) }
