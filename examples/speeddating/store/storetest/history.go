package storetest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// fill gives ann so many calls, each of a minute, ten minutes apart, some of
// which end in the same millisecond.
func (s *suite) fill(n int) (ann dating.UserID, rooms []string) {
	ann, bob := s.person("Ann"), s.person("Bob")
	for i := range n {
		c := s.call(ann, bob)
		c.StartedAt = s.now.Add(time.Duration(i/2) * 10 * time.Minute)
		s.ok(s.StartCall(s.ctx, c))
		_, err := s.EndCall(s.ctx, s.end(c, time.Minute))
		s.ok(err)
		rooms = append(rooms, c.RoomID)
	}
	return ann, rooms
}

// pages reads a history by pages of three and checks its order.
func (s *suite) pages(id dating.UserID) (rooms []string) {
	var before dating.HistoryKey
	for {
		list, more, err := s.History(s.ctx, id, before, 3, 1<<20)
		s.ok(err)
		for _, h := range list {
			if !before.EndedAt.IsZero() {
				older := h.EndedAt.Before(before.EndedAt) || h.EndedAt.Equal(before.EndedAt) && h.RoomID < before.RoomID
				require.True(s.T, older, "%v after %v", h, before)
			}
			before = dating.HistoryKey{EndedAt: h.EndedAt, RoomID: h.RoomID}
			rooms = append(rooms, h.RoomID)
		}
		if !more {
			return rooms
		}
		require.Len(s.T, list, 3)
	}
}

func history(s *suite) {
	ann, rooms := s.fill(20)
	require.ElementsMatch(s.T, rooms, s.pages(ann))
	require.Empty(s.T, s.past("nobody"))
}

// A page ends before it is too large, whatever was said, and the next begins
// where it ended; the newest are also there without what was said in them.
func historyBytes(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	var rooms []string
	for i, lines := range []int{0, 3, 200, 10, 10, 10, 10, 0, 0, 1} { // 200: one call larger than a page
		c := s.call(ann, bob)
		c.StartedAt = s.now.Add(time.Duration(-i) * 10 * time.Minute)
		s.ok(s.StartCall(s.ctx, c))
		e := s.end(c, time.Minute)
		for j := range lines {
			e.Chat = append(e.Chat, dating.ChatLine{From: ann, Text: fmt.Sprintf("%03d %0400d", j, i), At: s.now})
		}
		_, err := s.EndCall(s.ctx, e)
		s.ok(err)
		rooms = append(rooms, c.RoomID)
	}
	pages := func() (got []string, sizes []int) {
		var before dating.HistoryKey
		for {
			list, more, err := s.History(s.ctx, ann, before, 5, 12<<10)
			s.ok(err)
			size := 0
			for _, h := range list {
				for _, line := range h.Chat {
					size += len(line.Text)
				}
				got = append(got, h.RoomID)
				before = dating.HistoryKey{EndedAt: h.EndedAt, RoomID: h.RoomID}
			}
			if len(list) > 1 {
				require.LessOrEqual(s.T, size, 12<<10)
			}
			sizes = append(sizes, len(list))
			if !more {
				return got, sizes
			}
		}
	}
	for range 2 {
		got, sizes := pages()
		require.Equal(s.T, rooms, got, "each once, in order")
		require.Equal(s.T, []int{2, 1, 2, 5}, sizes)
		recent, err := s.Recent(s.ctx, ann, 4)
		s.ok(err)
		require.Len(s.T, recent, 4)
		for i, h := range recent {
			require.Equal(s.T, rooms[i], h.RoomID)
			require.Equal(s.T, bob, h.WithUserID)
			require.Equal(s.T, "Bob", h.WithName)
			require.Equal(s.T, 60, h.DurationSeconds)
			require.Equal(s.T, []dating.ChatLine{}, h.Chat)
			require.Equal(s.T, []dating.SocialShared{}, h.Socials)
		}
		_, err = s.ArchiveHistory(s.ctx, s.now.Add(-25*time.Minute), 100) // the larger half
		s.ok(err)
	}
	recent, err := s.Recent(s.ctx, "nobody", 4)
	s.ok(err)
	require.Empty(s.T, recent)
}

func archive(s *suite) {
	ann, rooms := s.fill(20)
	want := s.pages(ann)
	cut := s.now.Add(55 * time.Minute) // some of it
	total := 0
	for {
		n, err := s.ArchiveHistory(s.ctx, cut, 3)
		s.ok(err)
		require.LessOrEqual(s.T, n, 3)
		require.Equal(s.T, want, s.pages(ann), "live and archived read alike")
		total += n
		if n == 0 {
			break
		}
	}
	require.Equal(s.T, 24, total, "twelve calls, both sides")
	require.Len(s.T, rooms, 20)
}

func sweeps(s *suite) {
	ann := s.person("Ann")
	for i := range 5 {
		se := s.session(s.person("P"))
		se.ExpiresAt = s.now.Add(time.Duration(i) * time.Minute)
		_, err := s.ReplaceSessions(s.ctx, se)
		s.ok(err)
		s.ok(s.SetCooldown(s.ctx, ann, se.User, s.now.Add(time.Duration(i)*time.Minute)))
	}
	for _, sweep := range []func(time.Time, int) (int, error){
		func(now time.Time, n int) (int, error) { return s.SweepSessions(s.ctx, now, n) },
		func(now time.Time, n int) (int, error) { return s.SweepCooldowns(s.ctx, now, n/2*2) },
	} {
		first, err := sweep(s.now.Add(2*time.Minute), 2)
		s.ok(err)
		require.Equal(s.T, 2, first)
		all, err := sweep(s.now.Add(2*time.Minute), 100)
		s.ok(err)
		require.Positive(s.T, all)
		none, err := sweep(s.now.Add(2*time.Minute), 100)
		s.ok(err)
		require.Zero(s.T, none)
	}
	rel, err := s.Relations(s.ctx, ann, s.now, 10)
	s.ok(err)
	require.Len(s.T, rel.Cooldowns, 2)
}

// Guests who can never return are forgotten with all that is theirs; whom
// anything still needs stays.
func sweepGuests(s *suite) {
	gone := func(name string) dating.UserID { // a guest whose session is over
		s.n++
		id := dating.UserID(fmt.Sprintf("user-%d", s.n))
		se := s.session(id)
		u := dating.User{ID: id, Name: name, Gender: "female", Socials: dating.Socials{}, CreatedAt: s.now.Add(-time.Hour)}
		s.ok(s.CreateGuest(s.ctx, u, se, []dating.Introduction{{User: id, Other: "friend", By: "Ann"}}))
		s.ok(s.SetSelfie(s.ctx, id, dating.Media{ID: "m-" + string(id), Type: "image/jpeg", Bytes: []byte{1}}))
		s.ok(s.EndSession(s.ctx, se.Hash))
		return id
	}
	present := s.session("present")
	s.ok(s.CreateGuest(s.ctx, dating.User{ID: "present", CreatedAt: s.now.Add(-time.Hour)}, present, nil))
	keep := map[string]dating.UserID{"a session": "present", "signed up later": s.person("Late")}

	old := s.session("account")
	s.ok(s.CreateGuest(s.ctx, dating.User{ID: "account", CreatedAt: s.now.Add(-time.Hour)}, old, nil))
	linked := s.session("account")
	s.ok(s.LinkAccount(s.ctx, old.Hash, linked, "a@example.org", []byte("hash")))
	s.ok(s.EndSession(s.ctx, linked.Hash))
	keep["an account"] = "account"

	live, archived, talking, reporter, rude := gone("Live"), gone("Archived"), gone("Talking"), gone("Reporter"), gone("Rude")
	longAgo := s.call(archived, s.person("P"))
	longAgo.StartedAt = s.now.Add(-time.Hour)
	s.ok(s.StartCall(s.ctx, longAgo))
	_, err := s.EndCall(s.ctx, s.end(longAgo, time.Minute))
	s.ok(err)
	n, err := s.ArchiveHistory(s.ctx, s.now, 100)
	s.ok(err)
	require.Equal(s.T, 2, n)
	_, err = s.EndCall(s.ctx, s.end(s.begin(live, s.person("P")), time.Minute))
	s.ok(err)
	keep["a live history"], keep["an archived history"] = live, archived
	running := s.begin(talking, s.person("P"))
	keep["a call"] = talking
	hasty := s.begin(reporter, rude) // reported during a call that did not count in the end
	_, _, err = s.AddReport(s.ctx, dating.Report{By: reporter, About: rude, Reason: "x", At: s.now}, 0, 9)
	s.ok(err)
	_, err = s.EndCall(s.ctx, s.end(hasty, time.Second))
	s.ok(err)
	keep["a report by them"], keep["a report about them"] = reporter, rude
	maker, target := gone("Maker"), gone("Target")
	s.ok(s.AddIntro(s.ctx, dating.Intro{Code: "code", By: maker, To: target, ExpiresAt: s.now.Add(time.Minute)}, s.now, 9))
	keep["a link by them"], keep["a link to them"] = maker, target

	var lost []dating.UserID
	for range 5 {
		lost = append(lost, gone("Lost"))
	}
	left := func() (n int) {
		users, err := s.Users(s.ctx, lost)
		s.ok(err)
		return len(users)
	}
	sweep := func(limit, want int) {
		s.Helper()
		n, err := s.SweepGuests(s.ctx, s.now.Add(-time.Minute), limit)
		s.ok(err)
		require.Equal(s.T, want, n)
	}
	sweep(2, 2)
	require.Equal(s.T, 3, left(), "so many at once")
	sweep(100, 3)
	require.Zero(s.T, left())
	sweep(100, 0)
	for why, id := range keep {
		users, err := s.Users(s.ctx, []dating.UserID{id})
		s.ok(err)
		require.Len(s.T, users, 1, why)
	}
	for _, id := range lost {
		_, err := s.Media(s.ctx, "m-"+string(id))
		s.is(dating.ErrNotFound, err)
	}
	rel, err := s.Relations(s.ctx, "friend", s.now, 100)
	s.ok(err)
	require.Len(s.T, rel.Introduced, 7, "only those who stay")

	// What held them ends.
	_, err = s.EndCall(s.ctx, s.end(running, time.Second))
	s.ok(err)
	s.ok(s.Decide(s.ctx, rude, dating.Good))
	_, err = s.SweepIntros(s.ctx, s.now.Add(time.Hour), 100)
	s.ok(err)
	s.ok(s.EndSession(s.ctx, present.Hash))
	sweep(100, 6)
	users, err := s.Users(s.ctx, []dating.UserID{live, archived, "account"})
	s.ok(err)
	require.Len(s.T, users, 3)
}
