package dating_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func TestNames(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann := s.guest("Ann")
		for _, name := range []string{
			"\u200b", "\u200d\ufeff", " \u00a0\u2003", "\u2060\u00ad", "\u3164", "\u115f\u1160", "\u2800", "\u0301", "\ufe0f", "\U000e0041",
			"a\x00b", "a\u0085b", "a\nb", "a\x7f", "a\u2028b", "\u202enna", "\u2067Ann",
		} {
			_, err := s.SignUp(ctx, dating.Newcomer{Name: name, Gender: "male"})
			refused(t, dating.Invalid, err)
			_, err = s.UpdateProfile(ctx, ann.id, dating.ProfileChange{Name: &name})
			refused(t, dating.Invalid, err)
		}
		for _, name := range []string{
			"Ann", "7", "\u201cA.\u201d", "Zoe\u0308", "\u738b\u4f1f", "\U0001f469\u200d\U0001f680", "\u2764\ufe0f",
			"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u05d0\u05e0\u05d4\u200f", "\uae40",
		} {
			_, err := s.SignUp(ctx, dating.Newcomer{Name: name, Gender: "male"})
			require.NoError(t, err, "%q", name)
		}
	})
}

func TestSignUpChecks(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		for _, n := range []dating.Newcomer{
			{}, {Name: "Ann"}, {Name: " ", Gender: "male"}, {Name: strings.Repeat("ä", 41), Gender: "male"},
			{Name: "a\x00b", Gender: "male"}, {Name: "\xff", Gender: "male"}, {Name: "Ann", Gender: "Male"},
		} {
			_, err := s.SignUp(ctx, n)
			refused(t, dating.Invalid, err)
		}
		_, err := s.SignUp(ctx, dating.Newcomer{Name: "Ann", Gender: "female", IntroCode: "none"})
		refused(t, dating.NotFound, err)
		c, err := s.SignUp(ctx, dating.Newcomer{Name: " " + strings.Repeat("ä", 40) + "\n", Gender: "female"})
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(7*24*time.Hour), c.ExpiresAt, time.Second)
		p, err := s.Profile(ctx, c.UserID)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("ä", 40), p.Name)
		for _, token := range []string{"", "x", c.Token + "x", strings.Repeat("x", 10_000)} {
			_, err = s.Authenticate(ctx, token)
			refused(t, dating.Unauthenticated, err)
		}
		time.Sleep(7*24*time.Hour + time.Second)
		_, err = s.Authenticate(ctx, c.Token)
		refused(t, dating.Unauthenticated, err)
	})
}

// slowLogin lets a test do something between the commit of a session and what
// the platform makes of it.
type slowLogin struct {
	dating.Store
	after func() // once
}

func (s *slowLogin) then() {
	if f := s.after; f != nil {
		s.after = nil
		f()
	}
}

func (s *slowLogin) ReplaceSessions(ctx context.Context, fresh dating.Session) ([]dating.TokenHash, error) {
	ended, err := s.Store.ReplaceSessions(ctx, fresh)
	s.then()
	return ended, err
}

func (s *slowLogin) LinkAccount(ctx context.Context, old dating.TokenHash, fresh dating.Session, email string, password []byte) error {
	err := s.Store.LinkAccount(ctx, old, fresh, email, password)
	s.then()
	return err
}

// Of two logins at once only the later one's token lives, and a login that
// comes in the middle of a link ends the linked session with its sockets.
func TestConcurrentLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 0, dating.Rules{})
		slow := &slowLogin{Store: w.store}
		w.faulty = slow
		s := w.start("n1")
		defer w.close()
		login := func() dating.Credential {
			c, err := s.Login(ctx, "ann@example.org", "correct horse")
			require.NoError(t, err)
			return c
		}
		ann := s.guest("Ann")
		var later dating.Credential
		slow.after = func() { later = login() }
		linked, err := s.Link(ctx, ann.session, "ann@example.org", "correct horse")
		require.NoError(t, err)
		for _, token := range []string{ann.token, linked.Token} {
			_, err = s.Authenticate(ctx, token)
			refused(t, dating.Unauthenticated, err)
		}
		_, err = s.Authenticate(ctx, later.Token)
		require.NoError(t, err)
		list := ann.told(dating.SessionInvalidatedKind)
		require.Len(t, list, 1, "its socket is to be closed")
		require.Equal(t, ann.tab, list[0].Socket)

		slow.after = func() { later = login() }
		earlier := login()
		_, err = s.Authenticate(ctx, earlier.Token)
		refused(t, dating.Unauthenticated, err)
		_, err = s.Authenticate(ctx, later.Token)
		require.NoError(t, err)
	})
}

func TestLoginEndsOlderSessions(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		ann := w.nodes[0].free("Ann")
		// Two sockets on two nodes, in the guest's session.
		far := ann.at(w.nodes[1])
		c, err := ann.Link(ctx, ann.session, "Ann@Example.org", "correct horse")
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(30*24*time.Hour), c.ExpiresAt, time.Second)
		_, err = ann.Authenticate(ctx, ann.token)
		refused(t, dating.Unauthenticated, err)
		require.Empty(t, ann.told(dating.SessionInvalidatedKind), "a link ends no socket")
		linked, err := far.Authenticate(ctx, c.Token)
		require.NoError(t, err)
		_, err = ann.Link(ctx, linked, "other@example.org", "correct horse")
		refused(t, dating.Conflict, err)
		other := w.nodes[0].guest("Eve")
		_, err = other.Link(ctx, other.session, "ann@example.org", "correct horse")
		refused(t, dating.Conflict, err)
		for _, bad := range [][2]string{{"", "correct horse"}, {"x", "correct horse"}, {"A <a@b.c>", "correct horse"}, {"a@b.c", "short"}, {"a@b.c", strings.Repeat("x", 73)}} {
			_, err = other.Link(ctx, other.session, bad[0], bad[1])
			refused(t, dating.Invalid, err)
		}
		_, err = ann.Login(ctx, "ann@example.org", "wrong horse")
		refused(t, dating.Unauthenticated, err)
		_, err = ann.Login(ctx, "nobody@example.org", "correct horse")
		refused(t, dating.Unauthenticated, err)

		again, err := w.nodes[1].Login(ctx, "ANN@example.org", "correct horse")
		require.NoError(t, err)
		require.Equal(t, ann.id, again.UserID)
		for _, s := range w.nodes {
			_, err = s.Authenticate(ctx, c.Token)
			refused(t, dating.Unauthenticated, err)
			_, err = s.Authenticate(ctx, again.Token)
			require.NoError(t, err)
		}
		for _, p := range []*person{ann, far} {
			list := p.told(dating.SessionInvalidatedKind)
			require.Len(t, list, 1, "its socket is to be closed")
			require.Equal(t, p.tab, list[0].Socket)
		}
		s, err := ann.Authenticate(ctx, again.Token)
		require.NoError(t, err)
		require.NoError(t, w.nodes[1].Logout(ctx, s))
		_, err = ann.Authenticate(ctx, again.Token)
		refused(t, dating.Unauthenticated, err)
		refused(t, dating.Unauthenticated, ann.SocketOpened(ctx, ann.id, "late", s))
	})
}

func TestReportsBringReview(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		eve := s.free("Eve")
		meet := func(p *person) {
			t.Helper()
			eve.queue()
			start := p.call(eve, 60)
			time.Sleep(5 * time.Second)
			require.NoError(t, s.EndCall(ctx, p.id, start.RoomID))
		}
		stranger := s.guest("Stranger")
		refused(t, dating.Forbidden, s.Report(ctx, stranger.id, eve.id, "never met"))
		refused(t, dating.InvalidTarget, s.Report(ctx, eve.id, eve.id, "me"))
		refused(t, dating.UserNotFound, s.Report(ctx, eve.id, "nobody", "who"))
		refused(t, dating.Invalid, s.Report(ctx, stranger.id, eve.id, " "))

		for range 3 {
			p := s.free("Reporter")
			meet(p)
			require.NoError(t, s.Report(ctx, p.id, eve.id, "rude"))
			refused(t, dating.Conflict, s.Report(ctx, p.id, eve.id, "rude again"))
		}
		require.Empty(t, eve.told(dating.AccountReviewKind))
		fourth, victim := s.free("Fourth"), s.free("Victim")
		meet(fourth)
		eve.queue()
		start := eve.call(victim, 60)
		time.Sleep(6 * time.Second)
		require.NoError(t, s.Report(ctx, fourth.id, eve.id, "rude"))
		synctest.Wait()
		require.Equal(t, "reported", last[*dating.Review](eve, dating.AccountReviewKind).Reason)
		require.Equal(t, &dating.Finalized{RoomID: start.RoomID, DurationSeconds: 6, Reason: "review"}, last[*dating.Finalized](victim, dating.SessionFinalizedKind))
		refused(t, dating.UnderReview, s.JoinQueue(ctx, eve.id, eve.tab))
		refused(t, dating.UnderReview, s.SocketOpened(ctx, eve.id, "new", eve.session))
		_, err := stranger.invite(eve, 60)
		refused(t, dating.Offline, err)
		_, err = eve.invite(victim, 60)
		refused(t, dating.UnderReview, err)
		s.SocketClosed(eve.tab, true)

		cases, err := s.UnderReview(ctx)
		require.NoError(t, err)
		require.Len(t, cases, 1)
		require.Len(t, cases[0].Reports, 4)
		refused(t, dating.Invalid, s.Decide(ctx, eve.id, dating.InReview))
		refused(t, dating.UserNotFound, s.Decide(ctx, "nobody", dating.Good))
		require.NoError(t, s.Decide(ctx, eve.id, dating.Good))
		eve.tab = eve.open()
		eve.queue()
		require.NoError(t, s.Report(ctx, victim.id, eve.id, "rude"), "the settled ones do not count")
		require.Empty(t, eve.told(dating.AccountReviewKind)[1:])
		require.NoError(t, s.Decide(ctx, eve.id, dating.Out))
		refused(t, dating.Banned, s.SocketOpened(ctx, eve.id, "new", eve.session))
	})
}

func TestIntroductions(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		link, err := s.CreateIntro(ctx, ann.id, bob.id)
		require.NoError(t, err)
		view, err := s.Intro(ctx, link.Code)
		require.NoError(t, err)
		require.Equal(t, "Bob", view.To.Name)
		c, err := s.SignUp(ctx, dating.Newcomer{Name: "New", Gender: "female", IntroCode: link.Code})
		require.NoError(t, err)
		se, err := s.Authenticate(ctx, c.Token)
		require.NoError(t, err)
		newcomer := &person{server: s, id: c.UserID, session: se}
		newcomer.tab = newcomer.open()
		time.Sleep(time.Second)
		newcomer.queue()
		time.Sleep(2 * time.Second)
		for _, card := range last[*dating.Window](newcomer, dating.QueueSnapshotKind).Cards {
			require.Equal(t, card.UserID == bob.id, card.IntroducedBy == "Ann")
		}
		require.Equal(t, "Ann", last[*dating.QueueUpdate](bob, dating.QueueUpdateKind).Added[0].IntroducedBy)
		require.Empty(t, last[*dating.QueueUpdate](ann, dating.QueueUpdateKind).Added[0].IntroducedBy)
		for range 19 {
			_, err = s.CreateIntro(ctx, ann.id, "")
			require.NoError(t, err)
		}
		_, err = s.CreateIntro(ctx, ann.id, "")
		refused(t, dating.TooMany, err)
	})
}

func TestSelfieAndSocials(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann := s.free("Ann")
		bob := s.free("Bob")
		url, err := s.SetSelfie(ctx, ann.id, []byte("jpeg"), "image/jpeg")
		require.NoError(t, err)
		m, err := s.Selfie(ctx, strings.TrimPrefix(url, "/media/"))
		require.NoError(t, err)
		require.Equal(t, "image/jpeg", m.Type)
		time.Sleep(3 * time.Second)
		require.Equal(t, url, last[*dating.Window](bob, dating.QueueSnapshotKind).Cards[0].SelfieURL)
		second, err := s.SetSelfie(ctx, ann.id, []byte("other"), "image/jpeg")
		require.NoError(t, err)
		require.NotEqual(t, url, second)
		time.Sleep(3 * time.Second)
		require.Equal(t, second, last[*dating.QueueUpdate](bob, dating.QueueUpdateKind).Added[0].SelfieURL)
		_, err = s.Selfie(ctx, strings.TrimPrefix(url, "/media/"))
		refused(t, dating.NotFound, err)
		for _, id := range []string{"", "..", strings.Repeat("x", 1000)} {
			_, err = s.Selfie(ctx, id)
			refused(t, dating.NotFound, err)
		}
		_, err = s.SetSelfie(ctx, ann.id, make([]byte, 1<<20+1), "image/jpeg")
		refused(t, dating.Invalid, err)

		p, err := s.UpdateProfile(ctx, ann.id, dating.ProfileChange{Socials: &dating.Socials{" Instagram ": " ann ", "empty": ""}})
		require.NoError(t, err)
		require.Equal(t, dating.Socials{"instagram": "ann"}, p.Socials)
		_, err = s.UpdateProfile(ctx, ann.id, dating.ProfileChange{Socials: &dating.Socials{"x": strings.Repeat("y", 65)}})
		refused(t, dating.Invalid, err)
	})
}

// Whoever is under review or banned sees what is theirs, and changes nothing.
func TestWhoIsOutOnlyLooks(t *testing.T) {
	bubbleRules(t, 1, dating.Rules{Reporters: 1}, func(t *testing.T, w *world) {
		s := w.nodes[0]
		ann, bob := s.free("Ann"), s.free("Bob")
		start := ann.call(bob, 60)
		time.Sleep(10 * time.Second)
		require.NoError(t, s.EndCall(ctx, ann.id, start.RoomID))
		name := "Mallory"
		for code, fall := range map[dating.Code]func() error{
			dating.UnderReview: func() error { return s.Report(ctx, bob.id, ann.id, "rude") },
			dating.Banned:      func() error { return s.Decide(ctx, ann.id, dating.Out) },
		} {
			require.NoError(t, s.Decide(ctx, ann.id, dating.Good))
			require.NoError(t, fall())
			refused(t, code, s.Report(ctx, ann.id, bob.id, "revenge"))
			_, err := s.CreateIntro(ctx, ann.id, "")
			refused(t, code, err)
			_, err = s.UpdateProfile(ctx, ann.id, dating.ProfileChange{Name: &name})
			refused(t, code, err)
			_, err = s.SetSelfie(ctx, ann.id, []byte("jpeg"), "image/jpeg")
			refused(t, code, err)
			refused(t, code, s.JoinQueue(ctx, ann.id, ann.tab))

			require.Len(t, ann.calls(), 1)
			p, err := s.Profile(ctx, ann.id)
			require.NoError(t, err)
			require.Equal(t, "Ann", p.Name)
			require.True(t, p.UnderReview)
			require.Equal(t, code == dating.Banned, p.Banned)
		}
		_, err := s.CreateIntro(ctx, bob.id, ann.id)
		require.NoError(t, err)
	})
}
