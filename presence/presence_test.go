package presence_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/stretchr/testify/require"
)

// screen is a client that applies diffs and fails where they do not fit.
type screen struct {
	t     *testing.T
	mu    sync.Mutex
	who   []presence.Member
	count int
	next  uint64
	last  uint64
	log   []string
	left  map[string]time.Time // who was told to have left, and when
	diffs int
	lazy  func() bool // drops a diff when it returns true
	w     *presence.Watcher
}

func (s *screen) deliver(d *presence.Diff) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lazy != nil && s.lazy() {
		s.w.Resync()
		return
	}
	s.diffs++
	find := func(user string) int {
		return slices.IndexFunc(s.who, func(m presence.Member) bool { return m.User == user })
	}
	if d.Resync {
		s.who = nil
		s.log = append(s.log, "resync")
		require.Empty(s.t, d.Removed)
		require.GreaterOrEqual(s.t, d.Version, s.last)
	} else {
		require.Greater(s.t, d.Version, s.last, "versions rise")
	}
	for _, user := range d.Removed {
		i := find(user)
		require.GreaterOrEqual(s.t, i, 0, "removed %s, who was not shown", user)
		s.who = slices.Delete(s.who, i, i+1)
		s.log = append(s.log, "-"+user)
		if s.left == nil {
			s.left = make(map[string]time.Time)
		}
		s.left[user] = time.Now()
	}
	for _, m := range d.Added {
		if i := find(m.User); i >= 0 {
			require.NotEqual(s.t, string(s.who[i].Meta), string(m.Meta), "an update that changes nothing")
			s.who[i] = m
			s.log = append(s.log, "~"+m.User)
		} else {
			s.who = append(s.who, m)
			s.log = append(s.log, "+"+m.User)
		}
	}
	s.count, s.next, s.last = d.Count, d.Next, d.Version
}

// take returns what was told since the last take.
func (s *screen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.log, " ")
	s.log = nil
	return out
}

func (s *screen) users() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, m := range s.who {
		out = append(out, m.User)
	}
	return strings.Join(out, " ")
}

func (s *screen) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func watch(t *testing.T, tr *presence.Tracker, topic string, o presence.WatchOptions) *screen {
	t.Helper()
	s := &screen{t: t}
	o.Deliver = s.deliver
	w, err := tr.Watch(topic, o)
	require.NoError(t, err)
	s.w = w
	return s
}

func open(t *testing.T, change ...func(*presence.Options)) *presence.Tracker {
	t.Helper()
	o := presence.Options{MaxUsers: 100000, MaxSockets: 100000, MaxTopics: 1000, MaxWatchers: 100000, MaxMeta: 256}
	for _, f := range change {
		f(&o)
	}
	tr, err := presence.New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := tr.Shutdown(context.Background()); err != nil {
			require.ErrorIs(t, err, presence.ErrClosed)
		}
	})
	return tr
}

func inTopic(t *testing.T, tr *presence.Tracker, topic string, users ...string) {
	t.Helper()
	for _, u := range users {
		require.NoError(t, tr.Connect(u, "tab", nil))
		require.NoError(t, tr.Join(topic, u, []byte("meta of "+u)))
	}
}

const (
	tick = 250 * time.Millisecond
	late = 10 * time.Millisecond // a slot of the wheel
)

// bubble runs f in virtual time; wait lets d pass and everything settle.
func bubble(t *testing.T, f func(t *testing.T, wait func(d time.Duration))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		})
	})
}

func TestLeadingEdge(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		s := watch(t, tr, "queue", presence.WatchOptions{})
		wait(late)
		require.Equal(t, "resync", s.take(), "the first diff comes at once")

		wait(time.Second)
		inTopic(t, tr, "queue", "ann")
		wait(late)
		require.Equal(t, "+ann", s.take(), "a join in a quiet topic is told at once")
		inTopic(t, tr, "queue", "bob", "cid")
		wait(late)
		require.Empty(t, s.take(), "the next waits for the tick")
		wait(tick)
		require.Equal(t, "+bob +cid", s.take())

		wait(time.Second)
		tr.Leave("queue", "bob")
		wait(late)
		require.Equal(t, "-bob", s.take(), "a leave is not held back")
		require.Equal(t, 2, s.count)
	})
}

func TestGrace(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		s := watch(t, tr, "queue", presence.WatchOptions{})
		inTopic(t, tr, "queue", "ann", "bob", "cid")
		wait(time.Second)
		s.take()

		require.True(t, tr.Disconnect("ann", "tab", false))
		require.True(t, tr.Disconnect("bob", "tab", false))
		require.True(t, tr.Disconnect("cid", "tab", true))
		require.False(t, tr.Disconnect("cid", "tab", true), "twice is once")
		wait(late)
		require.Equal(t, "-cid", s.take(), "a clean end acts at once")
		wait(9 * time.Second)
		require.True(t, tr.Online("ann"))
		require.NoError(t, tr.Connect("ann", "other", nil))
		wait(time.Second)
		require.Equal(t, "-bob", s.take(), "ann came back, bob did not")
		require.False(t, tr.Online("bob"))
		ago, ok := tr.LastSeen("bob")
		require.True(t, ok)
		require.Less(t, ago, time.Second)
		require.EqualValues(t, 1, tr.Stats().Saved)
	})
}

// A tab reloads while the other is closed: the one that was lost may come back.
func TestGraceOfTheOtherTab(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		require.NoError(t, tr.Connect("ann", "1", nil))
		require.NoError(t, tr.Connect("ann", "2", nil))
		tr.Disconnect("ann", "1", false)
		wait(4 * time.Second)
		tr.Disconnect("ann", "2", true)
		require.True(t, tr.Online("ann"))
		wait(7 * time.Second)
		require.False(t, tr.Online("ann"))

		require.NoError(t, tr.Connect("ann", "1", nil))
		require.NoError(t, tr.Connect("ann", "2", nil))
		tr.Disconnect("ann", "1", false)
		require.NoError(t, tr.Connect("ann", "3", nil), "it came back")
		tr.Disconnect("ann", "2", true)
		tr.Disconnect("ann", "3", true)
		require.False(t, tr.Online("ann"))
	})
}

func TestUpdates(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		s := watch(t, tr, "queue", presence.WatchOptions{})
		inTopic(t, tr, "queue", "ann")
		wait(time.Second)
		s.take()
		update := func(meta string) { require.NoError(t, tr.Update("queue", "ann", []byte(meta))) }

		update("b")
		wait(tick - late)
		require.Empty(t, s.take(), "not before it stood still")
		wait(3 * late)
		require.Equal(t, "~ann", s.take())

		update("c")
		wait(100 * time.Millisecond)
		update("b")
		wait(5 * time.Second)
		require.Empty(t, s.take(), "b, c, b is silence")

		start := time.Now()
		for i := 0; s.take() == ""; i++ { // never still
			update(fmt.Sprint("x", i))
			wait(100 * time.Millisecond)
		}
		require.LessOrEqual(t, time.Since(start), 2*time.Second+100*time.Millisecond)
		require.Greater(t, time.Since(start), time.Second)

		tr.Leave("queue", "ann")
		require.NoError(t, tr.Join("queue", "ann", []byte("x")))
		wait(time.Second)
		require.Equal(t, "~ann", s.take(), "left and back within a tick: only the metadata differs")
	})
}

func TestFlapping(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t, func(o *presence.Options) { o.FlapBurst = 3 })
		s := watch(t, tr, "queue", presence.WatchOptions{})
		inTopic(t, tr, "queue", "ann")
		wait(time.Second)
		for range 20 { // once a second, which is twice what is earned
			tr.Leave("queue", "ann")
			wait(500 * time.Millisecond)
			require.NoError(t, tr.Join("queue", "ann", nil))
			wait(500 * time.Millisecond)
		}
		require.LessOrEqual(t, strings.Count(s.take(), "+ann"), 1+3+20/2)
		require.Positive(t, tr.Stats().Damped)
		wait(10 * time.Second)
		require.Equal(t, "ann", s.users(), "the last state is told in the end")
		tr.Leave("queue", "ann")
		wait(late)
		require.Empty(t, s.users(), "a leave is never held back")
	})
}

func TestWindow(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		names := make([]string, 10)
		for i := range names {
			names[i] = string(rune('a' + i))
		}
		inTopic(t, tr, "queue", names...)
		base := watch(t, tr, "queue", presence.WatchOptions{Limit: 3})
		b := watch(t, tr, "queue", presence.WatchOptions{Limit: 3, Exclude: []string{"b", "zoe"}})
		second := watch(t, tr, "queue", presence.WatchOptions{Limit: 3, After: 3})
		counter := watch(t, tr, "queue", presence.WatchOptions{Limit: -1})
		wait(late)
		require.Equal(t, "a b c", base.users())
		require.Equal(t, "a c d", b.users())
		require.Equal(t, "d e f", second.users())
		require.Equal(t, "", counter.users())
		require.Equal(t, []int{10, 9, 10, 10}, []int{base.count, b.count, second.count, counter.count})

		tr.Leave("queue", "a")
		wait(time.Second)
		require.Equal(t, "b c d", base.users())
		require.Equal(t, "c d e", b.users())
		require.Equal(t, "d e f", second.users())
		require.Equal(t, 9, counter.count)
		require.Equal(t, 9, second.count)

		next := base.next
		base.w.Move(next)
		wait(late)
		require.Equal(t, "e f g", base.users())
		require.NoError(t, b.w.Exclude([]string{"c", "e"}))
		wait(late)
		require.Equal(t, "b d f", b.users())

		base.w.Close()
		base.take()
		tr.Leave("queue", "e")
		wait(time.Second)
		require.Empty(t, base.take(), "nothing after Close")
	})
}

// Everybody excludes himself, and still one encoding serves all.
func TestSharing(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		const n = 300
		var mu sync.Mutex
		encoded, got := 0, 0
		for i := range n {
			user := fmt.Sprint("user", i)
			inTopic(t, tr, "queue", user)
			_, err := tr.Watch("queue", presence.WatchOptions{Exclude: []string{user}, Deliver: func(d *presence.Diff) {
				d.Encode("json", func(*presence.Diff) []byte {
					mu.Lock()
					encoded++
					mu.Unlock()
					return nil
				})
				mu.Lock()
				got++
				mu.Unlock()
			}})
			require.NoError(t, err)
		}
		wait(5 * time.Second)
		mu.Lock()
		encoded, got = 0, 0
		mu.Unlock()
		inTopic(t, tr, "queue", "ann") // beyond every window: a mere count
		wait(5 * time.Second)
		require.Equal(t, n, got)
		require.Equal(t, 2, encoded, "the windows of those who are in it end, and go on, one place later")
		encoded, got = 0, 0
		tr.Leave("queue", "user20")
		wait(5 * time.Second)
		require.Equal(t, n-1, got, "for user20 himself nothing has changed")
		require.LessOrEqual(t, encoded, 4)
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t, func(o *presence.Options) { o.Grace = time.Second })
		require.NoError(t, tr.ConnectTTL("ann", "phone", nil, 30*time.Second))
		require.NoError(t, tr.Connect("bob", "tab", nil))
		for range 5 {
			wait(20 * time.Second)
			require.NoError(t, tr.Heartbeat("ann", "phone"))
		}
		wait(30 * time.Second)
		require.True(t, tr.Online("ann"), "the grace goes on")
		wait(time.Second + 2*late)
		require.False(t, tr.Online("ann"))
		require.True(t, tr.Online("bob"))
		require.ErrorIs(t, tr.Heartbeat("ann", "phone"), presence.ErrNotHere)
		require.EqualValues(t, 1, tr.Stats().Expired)
	})
}

func TestSweep(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t, func(o *presence.Options) { o.MaxUsers = 10 })
		for i := range 10 {
			u := fmt.Sprint("user", i)
			require.NoError(t, tr.Connect(u, "tab", nil))
			tr.Disconnect(u, "tab", true)
			wait(time.Second)
		}
		require.Equal(t, 10, tr.Stats().Remembered)
		require.NoError(t, tr.Connect("ann", "tab", nil), "the remembered give way")
		_, ok := tr.LastSeen("user0")
		require.False(t, ok)
		require.Zero(t, tr.Sweep())
		wait(time.Hour)
		require.Equal(t, 9, tr.Sweep())
		require.Equal(t, 1, tr.Stats().Users)
		tr.Remove("ann")
		require.Zero(t, tr.Stats().Users)
		require.Zero(t, tr.Stats().Bytes)
	})
}

// A watcher that drops is told the whole again, and is not queued for.
func TestSlowWatcher(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		s := watch(t, tr, "queue", presence.WatchOptions{})
		wait(late)
		drops := 0
		s.mu.Lock()
		s.lazy = func() bool { drops++; return drops < 10 }
		s.mu.Unlock()
		inTopic(t, tr, "queue", "ann", "bob")
		wait(time.Second)
		inTopic(t, tr, "queue", "cid")
		wait(time.Minute)
		require.Equal(t, "ann bob cid", s.users())
		require.EqualValues(t, 9, tr.Stats().Behind)
		require.Less(t, s.diffs, 4)
	})
}

func TestPanic(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		tr := open(t)
		_, err := tr.Watch("queue", presence.WatchOptions{Deliver: func(*presence.Diff) { panic("user code") }})
		require.NoError(t, err)
		s := watch(t, tr, "queue", presence.WatchOptions{})
		inTopic(t, tr, "queue", "ann")
		wait(time.Second)
		require.Equal(t, "ann", s.users())
		st := tr.Stats()
		require.EqualValues(t, 1, st.Panics)
		require.Equal(t, 1, st.Watchers)
	})
}

func TestLimits(t *testing.T) {
	tr := open(t, func(o *presence.Options) {
		o.MaxUsers, o.MaxSockets, o.MaxTopics, o.MaxWatchers, o.MaxMeta = 2, 3, 1, 1, 4
		o.MaxSocketsPerUser, o.MaxTopicsPerUser = 2, 1
	})
	limit := func(err error, what string, n int) {
		t.Helper()
		var le *presence.LimitError
		require.ErrorAs(t, err, &le)
		require.Equal(t, presence.LimitError{What: what, Max: n}, *le)
	}
	require.ErrorIs(t, tr.Join("queue", "ann", nil), presence.ErrNotHere)
	require.NoError(t, tr.Connect("ann", "1", nil))
	require.NoError(t, tr.Connect("ann", "1", nil), "the same again is no other")
	require.NoError(t, tr.Connect("ann", "2", nil))
	limit(tr.Connect("ann", "3", nil), "sockets of a user", 2)
	require.NoError(t, tr.Connect("bob", "1", nil))
	limit(tr.Connect("bob", "2", nil), "sockets", 3)
	tr.Disconnect("ann", "2", true)
	limit(tr.Connect("cid", "1", nil), "users", 2)
	limit(tr.Connect("bob", "2", make([]byte, 5)), "bytes of metadata", 4)
	require.ErrorIs(t, tr.Connect("", "2", nil), presence.ErrInvalidID)
	require.ErrorIs(t, tr.Connect(strings.Repeat("x", 257), "2", nil), presence.ErrInvalidID)
	require.ErrorIs(t, tr.Update("queue", "ann", nil), presence.ErrNotMember)
	require.NoError(t, tr.Join("queue", "ann", nil))
	limit(tr.Join("other", "ann", nil), "topics", 1)
	w, err := tr.Watch("queue", presence.WatchOptions{Deliver: func(*presence.Diff) {}})
	require.NoError(t, err)
	_, err = tr.Watch("queue", presence.WatchOptions{Deliver: func(*presence.Diff) {}})
	limit(err, "watchers", 1)
	_, err = tr.Watch("queue", presence.WatchOptions{Limit: 1000, Deliver: func(*presence.Diff) {}})
	limit(err, "members in a window", 200)
	_, err = tr.Watch("queue", presence.WatchOptions{})
	require.Error(t, err)
	_, err = tr.List("queue", presence.ListOptions{Exclude: make([]string, 65)})
	limit(err, "excluded users", 64)
	require.ErrorContains(t, err, "presence: too many excluded users: the limit is 64")
	w.Close()
	w.Close()
	require.Equal(t, presence.Refused{Users: 1, Sockets: 1, PerUser: 1, Topics: 1, Watchers: 1, Window: 2, Meta: 1, IDs: 2}, tr.Stats().Refused)

	require.NoError(t, tr.Shutdown(context.Background()))
	require.ErrorIs(t, tr.Shutdown(context.Background()), presence.ErrClosed)
	require.ErrorIs(t, tr.Connect("ann", "1", nil), presence.ErrClosed)
	require.False(t, tr.Online("ann"))
}

func TestOptions(t *testing.T) {
	_, err := presence.New(presence.Options{MaxUsers: -1, Tick: -1, Store: presence.NewMemoryStore()})
	for _, want := range []string{
		"Options.MaxUsers = -1, want > 0", "MaxSockets = 0", "MaxTopics = 0", "MaxWatchers = 0", "MaxMeta = 0",
		"Tick = -1ns", `Node = ""`,
	} {
		require.ErrorContains(t, err, want)
	}
}

// ledger is an Account that refuses beyond a limit and must balance.
type ledger struct {
	mu         sync.Mutex
	used, max  int64
	limit      int64
	underflows int
}

func (l *ledger) Reserve(n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used+n > l.limit {
		return errFull
	}
	l.used += n
	l.max = max(l.max, l.used)
	return nil
}

func (l *ledger) Release(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used -= n; l.used < 0 || n < 0 {
		l.underflows++
	}
}

// balance returns what is reserved, -1 if ever more was released than that.
func (l *ledger) balance() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underflows > 0 {
		return -1
	}
	return l.used
}

var errFull = fmt.Errorf("full")

func TestAccount(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		l := &ledger{limit: 10000}
		tr := open(t, func(o *presence.Options) { o.Account = l })
		s := watch(t, tr, "queue", presence.WatchOptions{Limit: 5, Exclude: []string{"ann"}})
		refused := 0
		for i := range 100 {
			u := fmt.Sprint("user", i)
			if err := tr.Connect(u, "tab", []byte("meta")); err != nil {
				require.ErrorIs(t, err, errFull)
				refused++
				continue
			}
			if err := tr.Join("queue", u, []byte("meta")); err != nil {
				require.ErrorIs(t, err, errFull)
				refused++
			}
		}
		require.Positive(t, refused)
		require.EqualValues(t, refused, tr.Stats().Refused.Memory)
		wait(time.Second)
		require.Equal(t, tr.Stats().Bytes, l.used)
		for i := range 100 {
			tr.Disconnect(fmt.Sprint("user", i), "tab", i%2 == 0)
		}
		wait(time.Minute)
		require.Equal(t, tr.Stats().Bytes, l.used)
		s.w.Close()
		wait(2 * time.Hour)
		tr.Sweep()
		require.Zero(t, l.used)
		require.Zero(t, tr.Stats().Bytes)

		inTopic(t, tr, "queue", "ann", "bob")
		watch(t, tr, "queue", presence.WatchOptions{})
		require.NoError(t, tr.Shutdown(context.Background()))
		require.Zero(t, l.used, "Shutdown gives everything back")
		require.Zero(t, l.underflows)
	})
}
