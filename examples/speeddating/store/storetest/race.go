package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// atOnce does what must be one from many sides at the same time.
func atOnce(s *suite) {
	each := func(n int, f func(i int) error) (errs []error) {
		errs = make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = f(i) })
		}
		wg.Wait()
		return errs
	}
	ann := s.person("Ann")

	// Of logins at once the last one's session is left.
	logins := make([]dating.Session, 8)
	for i := range logins {
		logins[i] = s.session(ann)
	}
	for _, err := range each(len(logins), func(i int) error { _, err := s.ReplaceSessions(s.ctx, logins[i]); return err }) {
		s.ok(err)
	}
	open := 0
	for _, se := range logins {
		if _, err := s.Session(s.ctx, se.Hash); err == nil {
			open++
		} else {
			s.is(dating.ErrNotFound, err)
		}
	}
	require.Equal(s.T, 1, open, "sessions that are left")

	// Each reporter counts those before, so that one of them is the fourth.
	var rude []dating.Report
	for range 8 {
		p := s.person("P")
		_, err := s.EndCall(s.ctx, s.end(s.begin(p, ann), time.Minute))
		s.ok(err)
		rude = append(rude, dating.Report{By: p, About: ann, Reason: "rude", At: s.now.Add(time.Hour)})
	}
	counts := make([]int, len(rude))
	for _, err := range each(len(rude), func(i int) (err error) {
		counts[i], _, err = s.AddReport(s.ctx, rude[i], 5*time.Second, 4)
		return err
	}) {
		s.ok(err)
	}
	require.ElementsMatch(s.T, []int{1, 2, 3, 4, 5, 6, 7, 8}, counts)
	require.Equal(s.T, dating.InReview, s.user(ann).Standing)

	// No more links than are allowed.
	made := 0
	bob := s.person("Bob")
	for _, err := range each(8, func(i int) error {
		return s.AddIntro(s.ctx, dating.Intro{Code: fmt.Sprint("link-", i), By: bob, To: ann, ExpiresAt: s.now.Add(time.Hour)}, s.now, 3)
	}) {
		if err == nil {
			made++
		} else {
			s.is(dating.ErrConflict, err)
		}
	}
	require.Equal(s.T, 3, made, "links")

	// A pair's two rows, from both sides.
	for _, err := range each(16, func(i int) error {
		a, b := ann, bob
		if i%2 == 1 {
			a, b = b, a
		}
		return s.SetCooldown(s.ctx, a, b, s.now.Add(time.Duration(i)*time.Hour))
	}) {
		s.ok(err)
	}
	for id, other := range map[dating.UserID]dating.UserID{ann: bob, bob: ann} {
		rel, err := s.Relations(s.ctx, id, s.now, 100)
		s.ok(err)
		require.Equal(s.T, s.now.Add(15*time.Hour), rel.Cooldowns[other])
	}

	// Histories are moved by two servers at once: each row once.
	moved := make([]int, 2)
	for _, err := range each(2, func(i int) (err error) {
		for err == nil {
			var n int
			if n, err = s.ArchiveHistory(s.ctx, s.now.Add(time.Hour), 3); n == 0 {
				return err
			}
			moved[i] += n
		}
		return err
	}) {
		s.ok(err)
	}
	require.Equal(s.T, 16, moved[0]+moved[1], "rows moved")
	require.Len(s.T, s.past(ann), 8)
}

// nonsense is what people may send to look something up: it finds nothing, and
// is no fault of the database.
func nonsense(s *suite) {
	ann := s.person("Ann")
	for _, text := range []string{"", "\x00", "a\x00b", "\xff\xfe", "'; DROP TABLE users; --", string(make([]byte, 4096))} {
		users, err := s.Users(s.ctx, []dating.UserID{dating.UserID(text), ann})
		s.ok(err)
		require.Len(s.T, users, 1)
		_, err = s.Media(s.ctx, text)
		s.is(dating.ErrNotFound, err)
		_, err = s.Intro(s.ctx, text, s.now)
		s.is(dating.ErrNotFound, err)
		_, _, err = s.Credentials(s.ctx, text)
		s.is(dating.ErrNotFound, err)
		_, _, err = s.History(s.ctx, ann, dating.HistoryKey{EndedAt: s.now, RoomID: text}, 10, 1<<20)
		s.ok(err)
		_, err = s.Relations(s.ctx, dating.UserID(text), s.now, 10)
		s.ok(err)
		_, _, err = s.AddReport(s.ctx, dating.Report{By: ann, About: dating.UserID(text), Reason: text, At: s.now}, 0, 4)
		if !errors.Is(err, dating.ErrNotTalked) {
			s.Errorf("AddReport about %q: %v", text, err)
		}
	}
	require.Zero(s.T, s.Stats().Errors)
}
