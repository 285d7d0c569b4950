package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func calls(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	before := s.Stats().Statements
	c := s.begin(ann, bob)
	line := dating.ChatLine{From: ann, Text: "hello", At: s.now}
	s.ok(s.AddChat(s.ctx, []dating.Pending{{RoomID: c.RoomID, Seq: 1, Chat: &line}}, 10))
	started := s.Stats().Statements - before
	require.LessOrEqual(s.T, started, uint64(2), "statements of a start, and of a second's chat of all calls")
	e := s.end(c, 90*time.Second+999*time.Millisecond)
	e.Chat = []dating.ChatLine{{From: ann, Text: `"ä" <b>`, At: s.now}}
	e.Socials = []dating.SocialShared{{From: bob, Socials: dating.Socials{"x": "y"}, At: s.now}}
	before = s.Stats().Statements
	totals, err := s.EndCall(s.ctx, e)
	s.ok(err)
	require.LessOrEqual(s.T, s.Stats().Statements-before, uint64(3), "statements of an end")
	s.Logf("statements of a call from its start to both histories: %d, and 1 for a second of everybody's chat", started-1+s.Stats().Statements-before)
	require.Equal(s.T, map[dating.UserID]dating.Totals{ann: {TalkSeconds: 90, Calls: 1}, bob: {TalkSeconds: 90, Calls: 1}}, totals)
	for me, other := range map[dating.UserID]dating.UserID{ann: bob, bob: ann} {
		require.Equal(s.T, []dating.HistoryEntry{{
			RoomID: c.RoomID, WithUserID: other, WithName: s.user(other).Name, StartedAt: c.StartedAt, EndedAt: e.EndedAt,
			DurationSeconds: 90, Reason: "ended", Chat: e.Chat, Socials: e.Socials,
		}}, s.past(me))
		require.EqualValues(s.T, 90, s.user(me).TalkSeconds)
		rel, err := s.Relations(s.ctx, me, s.now, 10)
		s.ok(err)
		require.Equal(s.T, map[dating.UserID]time.Time{other: e.Cooldown}, rel.Cooldowns)
	}
	// Two calls that end in the same millisecond stay two.
	cat := s.person("Cat")
	one, two := s.begin(ann, cat), s.begin(bob, s.person("Dan"))
	for _, c := range []dating.Call{one, two} {
		e := s.end(c, 90*time.Second+999*time.Millisecond)
		e.Chat = []dating.ChatLine{{From: c.Members[0], Text: c.RoomID, At: s.now}}
		_, err := s.EndCall(s.ctx, e)
		s.ok(err)
	}
	for id, room := range map[dating.UserID]string{ann: one.RoomID, cat: one.RoomID, bob: two.RoomID} {
		for _, h := range s.past(id) {
			if h.RoomID != c.RoomID {
				require.Equal(s.T, room, h.RoomID)
				require.Equal(s.T, room, h.Chat[0].Text)
			}
		}
	}
}

func oneCallAPerson(s *suite) {
	var ids []dating.UserID
	for range 10 {
		ids = append(ids, s.person("P"))
	}
	var mu sync.Mutex
	in := map[dating.UserID]string{}
	var wg sync.WaitGroup
	for i := range ids {
		for j := range ids {
			if i == j {
				continue
			}
			c := s.call(ids[i], ids[j])
			wg.Go(func() {
				err := s.StartCall(s.ctx, c)
				if errors.Is(err, dating.ErrBusy) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					s.Errorf("StartCall: %v", err)
				}
				for _, m := range c.Members {
					if in[m] != "" {
						s.Errorf("%s is in %s and in %s", m, in[m], c.RoomID)
					}
					in[m] = c.RoomID
				}
			})
		}
	}
	wg.Wait()
	require.GreaterOrEqual(s.T, len(in), 8)
	open, err := s.Orphans(s.ctx, "n2", "x", s.now.Add(time.Hour), 100)
	s.ok(err)
	require.Len(s.T, open, len(in)/2, "a refused call leaves nothing")
	s.is(dating.ErrConflict, s.StartCall(s.ctx, open[0].Call))
}

func endOnce(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	c := s.begin(ann, bob)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ended := 0
	for range 8 {
		wg.Go(func() {
			_, err := s.EndCall(s.ctx, s.end(c, time.Minute))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ended++
			} else if !errors.Is(err, dating.ErrNotFound) {
				s.Errorf("EndCall: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(s.T, 1, ended)
	require.Len(s.T, s.past(ann), 1)
	require.Len(s.T, s.past(bob), 1)
	require.EqualValues(s.T, 60, s.user(ann).TalkSeconds)
	s.begin(bob, ann)
}

func shortCall(s *suite) {
	ann, bob := s.person("Ann"), s.person("Bob")
	c := s.begin(ann, bob)
	_, err := s.EndCall(s.ctx, s.end(c, 4*time.Second))
	s.ok(err)
	require.Empty(s.T, s.past(ann))
	rel, err := s.Relations(s.ctx, ann, s.now, 10)
	s.ok(err)
	require.Empty(s.T, rel.Cooldowns)
	s.begin(ann, bob)
}

func orphans(s *suite) {
	s.ok(s.Beat(s.ctx, "n1", "i1", s.now, s.now.Add(15*time.Second)))
	s.ok(s.Beat(s.ctx, "n1", "i1", s.now.Add(2*time.Second), s.now.Add(17*time.Second)))
	c := s.begin(s.person("Ann"), s.person("Bob"))
	silent := s.call(s.person("Cat"), s.person("Dan"))
	silent.Node, silent.Incarnation = "n3", "never beat"
	s.ok(s.StartCall(s.ctx, silent))
	line := dating.ChatLine{From: c.Members[0], Text: "hello", At: s.now}
	given := dating.SocialShared{From: c.Members[1], Socials: dating.Socials{"x": "y"}, At: s.now}
	said := []dating.Pending{
		{RoomID: c.RoomID, Seq: 1, Chat: &line}, {RoomID: c.RoomID, Seq: 2, Socials: &given},
		{RoomID: "n1.over", Seq: 1, Chat: &line},
	}
	s.ok(s.AddChat(s.ctx, said, 10))
	s.ok(s.AddChat(s.ctx, said, 10)) // tried again after a fault: not doubled
	s.ok(s.AddChat(s.ctx, nil, 10))
	chat, socials, err := s.Said(s.ctx, c.RoomID, 10)
	s.ok(err)
	require.Equal(s.T, []dating.ChatLine{line}, chat)
	require.Equal(s.T, []dating.SocialShared{given}, socials)
	chat, socials, err = s.Said(s.ctx, "n1.over", 10)
	s.ok(err)
	require.Empty(s.T, chat, "of a call that is over")
	require.Empty(s.T, socials)
	find := func(node, incarnation string, after time.Duration) []string {
		list, err := s.Orphans(s.ctx, node, incarnation, s.now.Add(after), 100)
		s.ok(err)
		var rooms []string
		for _, o := range list {
			rooms = append(rooms, o.RoomID)
			if o.RoomID == c.RoomID {
				require.Equal(s.T, dating.Orphan{Call: c, LastBeat: s.now.Add(2 * time.Second)}, o)
			}
		}
		return rooms
	}
	require.Empty(s.T, find("n1", "i1", 16*time.Second), "its own")
	require.Empty(s.T, find("n2", "i1", 16*time.Second), "n1 lives")
	require.Equal(s.T, []string{c.RoomID}, find("n1", "i2", 0), "of an earlier incarnation")
	require.Equal(s.T, []string{c.RoomID}, find("n2", "i1", 17*time.Second), "n1 is dead")
	require.ElementsMatch(s.T, []string{c.RoomID, silent.RoomID}, find("n2", "i1", time.Hour))

	n, err := s.SweepNodes(s.ctx, s.now.Add(time.Hour), 10)
	s.ok(err)
	require.Zero(s.T, n, "it owns a call")
	_, err = s.EndCall(s.ctx, s.end(c, time.Minute))
	s.ok(err)
	n, err = s.SweepNodes(s.ctx, s.now.Add(time.Hour), 10)
	s.ok(err)
	require.Equal(s.T, 1, n)
}

// However much is said in a call, the store holds the last lines and the last
// handles of each side.
func said(s *suite) {
	const keep, batches, each = 20, 12, 15
	ann, bob := s.person("Ann"), s.person("Bob")
	long, short := s.begin(ann, bob), s.begin(s.person("Cat"), s.person("Dan"))
	var lines []dating.ChatLine
	var mine, theirs dating.SocialShared
	s.ok(s.AddChat(s.ctx, []dating.Pending{{RoomID: short.RoomID, Seq: 1, Chat: &dating.ChatLine{From: short.Members[0], Text: "one", At: s.now}}}, keep))
	seq := 0
	for b := range batches {
		var batch []dating.Pending
		add := func(p dating.Pending) {
			seq++
			p.RoomID, p.Seq = long.RoomID, seq
			batch = append(batch, p)
		}
		for i := range each {
			line := dating.ChatLine{From: ann, Text: fmt.Sprint(b, "-", i), At: s.now}
			lines = append(lines, line)
			add(dating.Pending{Chat: &line})
		}
		// Handles as often as lines: they do not push the lines out.
		for i := range each {
			mine = dating.SocialShared{From: ann, Socials: dating.Socials{"x": fmt.Sprint(b, "-", i)}, At: s.now}
			given := mine
			add(dating.Pending{Socials: &given})
			if b == 3 {
				theirs = dating.SocialShared{From: bob, Socials: dating.Socials{"y": fmt.Sprint(i)}, At: s.now}
				given := theirs
				add(dating.Pending{Socials: &given})
			}
		}
		s.ok(s.AddChat(s.ctx, batch, keep))
		chat, socials, err := s.Said(s.ctx, long.RoomID, 1<<20)
		s.ok(err)
		require.Equal(s.T, lines[max(0, len(lines)-keep):], chat, "nothing older is held")
		want := []dating.SocialShared{mine}
		if b == 3 {
			want = []dating.SocialShared{mine, theirs}
		} else if b > 3 {
			want = []dating.SocialShared{theirs, mine}
		}
		require.Equal(s.T, want, socials)
	}
	chat, _, err := s.Said(s.ctx, long.RoomID, 3)
	s.ok(err)
	require.Equal(s.T, lines[len(lines)-3:], chat)
	chat, _, err = s.Said(s.ctx, short.RoomID, keep)
	s.ok(err)
	require.Len(s.T, chat, 1, "others' are left alone")
}
