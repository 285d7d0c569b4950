// Package storetest is the suite that every dating.Store passes: the same
// people, calls and accidents, whatever the database.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Run tests the store that open gives. Each test calls open once, for an empty
// store that it may fill; open's cleanup closes it.
func Run(t *testing.T, open func(*testing.T) dating.Store) {
	for _, test := range []struct {
		name string
		f    func(*suite)
	}{
		{"People", people}, {"Pictures", pictures}, {"Accounts", accounts}, {"Sessions", sessions},
		{"Relations", relations}, {"Intros", intros}, {"Reports", reports},
		{"Calls", calls}, {"OneCallAPerson", oneCallAPerson}, {"EndOnce", endOnce}, {"ShortCall", shortCall},
		{"Orphans", orphans}, {"Said", said}, {"History", history}, {"HistoryBytes", historyBytes}, {"Archive", archive}, {"Sweeps", sweeps}, {"SweepGuests", sweepGuests}, {"AtOnce", atOnce}, {"Nonsense", nonsense}, {"Contexts", contexts},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.f(&suite{T: t, Store: open(t), ctx: context.Background(), now: time.Now().UTC().Truncate(time.Millisecond)})
		})
	}
}

type suite struct {
	*testing.T
	dating.Store
	ctx context.Context
	now time.Time
	n   int
}

func (s *suite) ok(err error) {
	s.Helper()
	require.NoError(s.T, err)
}

func (s *suite) is(want, err error) {
	s.Helper()
	require.ErrorIs(s.T, err, want)
}

func (s *suite) session(id dating.UserID) dating.Session {
	s.n++
	return dating.Session{Hash: dating.TokenHash{byte(s.n), byte(s.n >> 8), 1}, User: id, ExpiresAt: s.now.Add(time.Hour)}
}

func (s *suite) person(name string) dating.UserID {
	s.Helper()
	s.n++
	id := dating.UserID(fmt.Sprintf("user-%d", s.n))
	u := dating.User{ID: id, Name: name, Gender: "female", Socials: dating.Socials{}, CreatedAt: s.now}
	s.ok(s.CreateGuest(s.ctx, u, s.session(id), nil))
	return id
}

func (s *suite) user(id dating.UserID) dating.User {
	s.Helper()
	all, err := s.Users(s.ctx, []dating.UserID{id})
	s.ok(err)
	require.Contains(s.T, all, id)
	return all[id]
}

// begin starts a call of ten minutes.
func (s *suite) begin(a, b dating.UserID) dating.Call {
	s.Helper()
	c := s.call(a, b)
	s.ok(s.StartCall(s.ctx, c))
	return c
}

func (s *suite) call(a, b dating.UserID) dating.Call {
	s.n++
	return dating.Call{RoomID: fmt.Sprintf("n1.room-%d", s.n), Node: "n1", Incarnation: "i1", Members: [2]dating.UserID{a, b},
		AgreedSeconds: 600, StartedAt: s.now, EndsAt: s.now.Add(10 * time.Minute)}
}

// end ends a call after so long.
func (s *suite) end(c dating.Call, after time.Duration) dating.EndedCall {
	return dating.EndedCall{Call: c, EndedAt: c.StartedAt.Add(after), Reason: "ended", Counts: after >= 5*time.Second, Cooldown: s.now.Add(24 * time.Hour)}
}

func (s *suite) past(id dating.UserID) []dating.HistoryEntry {
	s.Helper()
	list, more, err := s.History(s.ctx, id, dating.HistoryKey{}, 100, 1<<20)
	s.ok(err)
	require.False(s.T, more)
	return list
}

func people(s *suite) {
	s.ok(s.Ping(s.ctx))
	u := dating.User{ID: "ann", Name: `Ann "<b>" 'ä' 🙂`, Gender: "nonbinary", Socials: dating.Socials{"x": "y"}, CreatedAt: s.now}
	se := s.session("ann")
	s.ok(s.CreateGuest(s.ctx, u, se, []dating.Introduction{{User: "ann", Other: "bob", By: "Cat"}}))
	s.is(dating.ErrConflict, s.CreateGuest(s.ctx, u, s.session("ann"), nil))
	require.Equal(s.T, u, s.user("ann"))
	got, err := s.Session(s.ctx, se.Hash)
	s.ok(err)
	require.Equal(s.T, se, got)
	bob := s.person("Bob")
	all, err := s.Users(s.ctx, []dating.UserID{"ann", bob, "nobody", "ann"})
	s.ok(err)
	require.Len(s.T, all, 2)
	all, err = s.Users(s.ctx, nil)
	s.ok(err)
	require.Empty(s.T, all)
	s.ok(s.UpdateProfile(s.ctx, "ann", "Anna", "female", nil))
	u.Name, u.Gender, u.Socials = "Anna", "female", dating.Socials{}
	require.Equal(s.T, u, s.user("ann"))
	s.is(dating.ErrNotFound, s.UpdateProfile(s.ctx, "nobody", "x", "male", nil))
	rel, err := s.Relations(s.ctx, "bob", s.now, 10)
	s.ok(err)
	require.Equal(s.T, map[dating.UserID]string{"ann": "Cat"}, rel.Introduced)
}

func pictures(s *suite) {
	ann := s.person("Ann")
	s.is(dating.ErrNotFound, s.SetSelfie(s.ctx, "nobody", dating.Media{ID: "m0", Type: "image/jpeg", Bytes: []byte{1}}))
	s.ok(s.SetSelfie(s.ctx, ann, dating.Media{ID: "m1", Type: "image/jpeg", Bytes: []byte{0, 1, 255}}))
	s.ok(s.SetSelfie(s.ctx, ann, dating.Media{ID: "m2", Type: "image/jpeg", Bytes: []byte{2}}))
	require.Equal(s.T, "m2", s.user(ann).SelfieID)
	m, err := s.Media(s.ctx, "m2")
	s.ok(err)
	require.Equal(s.T, dating.Media{ID: "m2", Type: "image/jpeg", Bytes: []byte{2}}, m)
	_, err = s.Media(s.ctx, "m1")
	s.is(dating.ErrNotFound, err)
	_, err = s.Media(s.ctx, "m0")
	s.is(dating.ErrNotFound, err)
}

func accounts(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	first := s.session(ann)
	ended, err := s.ReplaceSessions(s.ctx, first)
	s.ok(err)
	require.Len(s.T, ended, 1)
	second := s.session(ann)
	s.ok(s.LinkAccount(s.ctx, first.Hash, second, "Ann@Example.org", []byte("hash")))
	_, err = s.Session(s.ctx, first.Hash)
	s.is(dating.ErrNotFound, err)
	_, err = s.Session(s.ctx, second.Hash)
	s.ok(err)
	id, hash, err := s.Credentials(s.ctx, "aNN@example.org")
	s.ok(err)
	require.Equal(s.T, ann, id)
	require.Equal(s.T, []byte("hash"), hash)
	_, _, err = s.Credentials(s.ctx, "bob@example.org")
	s.is(dating.ErrNotFound, err)
	s.is(dating.ErrConflict, s.LinkAccount(s.ctx, second.Hash, s.session(ann), "other@example.org", []byte("h")))
	_, err = s.Session(s.ctx, second.Hash)
	s.ok(err) // a refusal changes nothing
	bobs := s.session(bob)
	_, err = s.ReplaceSessions(s.ctx, bobs)
	s.ok(err)
	s.is(dating.ErrConflict, s.LinkAccount(s.ctx, bobs.Hash, s.session(bob), "ann@example.org", []byte("h")))
	s.is(dating.ErrNotFound, s.LinkAccount(s.ctx, second.Hash, s.session(bob), "bob@example.org", []byte("h")))
	require.Empty(s.T, s.user(bob).Email)
}

func sessions(s *suite) {
	ann := s.person("Ann")
	a, b := s.session(ann), s.session(ann)
	_, err := s.ReplaceSessions(s.ctx, a)
	s.ok(err)
	ended, err := s.ReplaceSessions(s.ctx, b)
	s.ok(err)
	require.Equal(s.T, []dating.TokenHash{a.Hash}, ended)
	s.ok(s.EndSession(s.ctx, b.Hash))
	s.ok(s.EndSession(s.ctx, b.Hash))
	_, err = s.Session(s.ctx, b.Hash)
	s.is(dating.ErrNotFound, err)
}

func relations(s *suite) {
	ann, bob, cat := s.person("Ann"), s.person("Bob"), s.person("Cat")
	s.ok(s.SetCooldown(s.ctx, ann, bob, s.now.Add(time.Hour)))
	s.ok(s.SetCooldown(s.ctx, bob, ann, s.now.Add(time.Minute))) // never shorter
	s.ok(s.SetCooldown(s.ctx, ann, cat, s.now.Add(time.Second)))
	rel, err := s.Relations(s.ctx, bob, s.now, 10)
	s.ok(err)
	require.Equal(s.T, map[dating.UserID]time.Time{ann: s.now.Add(time.Hour)}, rel.Cooldowns)
	rel, err = s.Relations(s.ctx, ann, s.now, 1)
	s.ok(err)
	require.Equal(s.T, map[dating.UserID]time.Time{bob: s.now.Add(time.Hour)}, rel.Cooldowns, "the longest")
	rel, err = s.Relations(s.ctx, ann, s.now.Add(time.Hour), 10)
	s.ok(err)
	require.Empty(s.T, rel.Cooldowns)
}

func intros(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	for i := range 3 {
		in := dating.Intro{Code: fmt.Sprint("code-", i), By: ann, To: bob, ExpiresAt: s.now.Add(time.Hour)}
		err := s.AddIntro(s.ctx, in, s.now, 2)
		if i == 2 {
			s.is(dating.ErrConflict, err)
			continue
		}
		s.ok(err)
		got, err := s.Intro(s.ctx, in.Code, s.now)
		s.ok(err)
		require.Equal(s.T, in, got)
	}
	_, err := s.Intro(s.ctx, "code-0", s.now.Add(time.Hour))
	s.is(dating.ErrNotFound, err)
	n, err := s.SweepIntros(s.ctx, s.now.Add(time.Hour), 10)
	s.ok(err)
	require.Equal(s.T, 2, n)
}

func reports(s *suite) {
	eve := s.person("Eve")
	for i := range 3 {
		p := s.person("P")
		r := dating.Report{By: p, About: eve, Reason: "rude", At: s.now}
		_, _, err := s.AddReport(s.ctx, r, 5*time.Second, 2)
		s.is(dating.ErrNotTalked, err)
		c := s.begin(p, eve)
		r.At = c.StartedAt.Add(5*time.Second - time.Millisecond)
		_, _, err = s.AddReport(s.ctx, r, 5*time.Second, 2)
		s.is(dating.ErrNotTalked, err) // not yet
		r.At = c.StartedAt.Add(5 * time.Second)
		if i > 0 { // the first one reports during the call
			_, err := s.EndCall(s.ctx, s.end(c, time.Minute))
			s.ok(err)
		}
		if i == 2 { // the last one when the history is in the archive
			_, err := s.ArchiveHistory(s.ctx, s.now.Add(time.Hour), 100)
			s.ok(err)
		}
		n, standing, err := s.AddReport(s.ctx, r, 5*time.Second, 2)
		s.ok(err)
		require.Equal(s.T, i+1, n)
		require.Equal(s.T, i >= 1, standing == dating.InReview)
		_, _, err = s.AddReport(s.ctx, r, 5*time.Second, 2)
		s.is(dating.ErrConflict, err)
		if i == 0 {
			_, err := s.EndCall(s.ctx, s.end(c, time.Minute))
			s.ok(err)
		}
	}
	// A call that was over before it counted is none.
	hasty := s.person("P")
	_, err := s.EndCall(s.ctx, s.end(s.begin(hasty, eve), 4*time.Second))
	s.ok(err)
	_, _, err = s.AddReport(s.ctx, dating.Report{By: hasty, About: eve, Reason: "x", At: s.now.Add(time.Hour)}, 5*time.Second, 2)
	s.is(dating.ErrNotTalked, err)
	rel, err := s.Relations(s.ctx, "user-3", s.now, 10)
	s.ok(err)
	require.Equal(s.T, []dating.UserID{eve}, rel.Reported)
	cases, err := s.UnderReview(s.ctx, 10)
	s.ok(err)
	require.Len(s.T, cases, 1)
	require.Equal(s.T, eve, cases[0].UserID)
	require.Len(s.T, cases[0].Reports, 3)
	s.ok(s.Decide(s.ctx, eve, dating.Good))
	s.is(dating.ErrNotFound, s.Decide(s.ctx, "nobody", dating.Good))
	cases, err = s.UnderReview(s.ctx, 10)
	s.ok(err)
	require.Empty(s.T, cases)
	s.ok(s.Decide(s.ctx, eve, dating.Out))
	require.Equal(s.T, dating.Out, s.user(eve).Standing)
	// Who is out stays out, whatever is reported.
	p := s.person("P")
	_, err = s.EndCall(s.ctx, s.end(s.begin(p, eve), time.Minute))
	s.ok(err)
	_, standing, err := s.AddReport(s.ctx, dating.Report{By: p, About: eve, Reason: "x", At: s.now}, 5*time.Second, 1)
	s.ok(err)
	require.Equal(s.T, dating.Out, standing)
}

func contexts(s *suite) {
	done, cancel := context.WithCancel(s.ctx)
	cancel()
	require.Error(s.T, s.SetCooldown(done, "a", "b", s.now.Add(time.Hour)))
	_, err := s.Users(done, []dating.UserID{"a"})
	require.Error(s.T, err)
	rel, err := s.Relations(s.ctx, "a", s.now, 10)
	s.ok(err)
	require.Empty(s.T, rel.Cooldowns, "what was refused was not written")
	require.NotZero(s.T, s.Stats().Statements)
}
