package presence

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/centrifugal/centrifuge"
	"golang.org/x/sys/unix"

	"github.com/plimsoll-go/plimsoll/internal/bench/summary"
	"github.com/plimsoll-go/plimsoll/presence"
)

// sizes are the members of a topic in TestTable: all of them in a processor's
// cache, and far from it.
var sizes = []int{1_000, 100_000, 200_000}

var info = []byte(`{"name":"Ann"}`)

func user(i int) string { return fmt.Sprintf("user-%010d", i) }

func tracker(tb testing.TB, members int) *presence.Tracker {
	tb.Helper()
	t, err := presence.New(presence.Options{MaxUsers: members, MaxSockets: members, MaxTopics: members, MaxWatchers: 1, MaxMeta: 256})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = t.Shutdown(context.Background()) })
	return t
}

func manager(tb testing.TB) *centrifuge.MemoryPresenceManager {
	tb.Helper()
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	m, err := centrifuge.NewMemoryPresenceManager(node, centrifuge.MemoryPresenceManagerConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func add(m *centrifuge.MemoryPresenceManager, channel, id string, info []byte) {
	_ = m.AddPresence(channel, id, &centrifuge.ClientInfo{ClientID: id, UserID: id, ChanInfo: info})
}

func fill(tb testing.TB, members int) (*presence.Tracker, *centrifuge.MemoryPresenceManager, []string) {
	t, m := tracker(tb, members), manager(tb)
	names := make([]string, members)
	for i := range names {
		names[i] = user(i)
		_ = t.Connect(names[i], names[i], nil)
		_ = t.Join("queue", names[i], info)
		add(m, "queue", names[i], info)
	}
	return t, m, names
}

// spent is the processor time of this process in ns, which a busy machine does
// not change as it does the time on the clock.
func spent() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// TestTable prints the processor time of each operation, the median of rounds in
// which the two take turns.
func TestTable(t *testing.T) {
	for _, members := range sizes {
		t.Run(fmt.Sprint(members), func(t *testing.T) { table(t, members) })
	}
}

func table(t *testing.T, members int) {
	tr, m, names := fill(t, members)
	somebody := func(i int) string { return names[i*7919%members] } // everybody once, then again
	comesAndGoes := func(i int) {
		u := somebody(i)
		tr.Leave("queue", u)
		_ = tr.Join("queue", u, info)
	}
	const rounds = 21
	few := 1 + 200_000/members // takes long
	for _, c := range []struct {
		what         string
		n            [2]int // operations a round
		ours, theirs func(i int)
	}{
		{"a member goes and comes", [2]int{20_000, 20_000}, comesAndGoes, func(i int) {
			u := somebody(i)
			_ = m.RemovePresence("queue", u, u)
			add(m, "queue", u, info)
		}},
		// Centrifuge's clients add themselves again every 25 s
		// (Config.ClientPresenceUpdateInterval); a Tracker keeps a socket until it
		// is told of its end.
		{"a member's minute: he goes, comes, is kept alive", [2]int{20_000, 20_000}, comesAndGoes, func(i int) {
			u := somebody(i)
			_ = m.RemovePresence("queue", u, u)
			add(m, "queue", u, info)
			for j := 1; j <= 2; j++ { // others have their turn in between
				add(m, "queue", somebody(i+j*members/3), info)
			}
		}},
		{"how many there are", [2]int{10_000, few}, func(int) { _ = tr.Count("queue") }, func(int) { _, _ = m.PresenceStats("queue") }},
		{"the first fifty (centrifuge gives all)", [2]int{1_000, few},
			func(int) { _, _ = tr.List("queue", presence.ListOptions{Limit: 50}) },
			func(int) { _, _ = m.Presence("queue") }},
	} {
		t.Run(c.what, func(t *testing.T) {
			var took [2][]float64
			for round := range 1 + rounds {
				for side, f := range []func(int){c.ours, c.theirs} {
					runtime.GC()
					n := c.n[side]
					start := spent()
					for i := range n {
						f(round*n + i)
					}
					if round > 0 { // in the first, what both keep for later grows
						took[side] = append(took[side], float64(spent()-start)/float64(n))
					}
				}
			}
			for side := range took {
				slices.Sort(took[side])
			}
			ours, theirs := took[0][rounds/2], took[1][rounds/2]
			t.Logf("plimsoll %.0f ns, centrifuge %.0f ns, %s", ours, theirs, summary.Faster(ours, theirs))
			summary.Row(fmt.Sprintf("presence: %d members, %s", members, c.what),
				fmt.Sprintf("%.2f µs", ours/1e3), fmt.Sprintf("%.2f µs (centrifuge)", theirs/1e3), summary.Faster(ours, theirs))
		})
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}

// TestMemory prints bytes of heap for each membership, ids included and the
// metadata shared, where a user is in one channel and where he is in several.
func TestMemory(t *testing.T) {
	const members = 100_000
	for _, channels := range []int{1, 2, 5, 20} {
		users := members / channels
		before := heap()
		tr := tracker(t, members)
		for i := range users {
			u := user(i)
			_ = tr.Connect(u, u, nil)
			for c := range channels {
				_ = tr.Join(fmt.Sprint("channel", c), u, info)
			}
		}
		ours := (heap() - before) / members
		runtime.KeepAlive(tr)

		before = heap()
		m := manager(t)
		for i := range users {
			u := user(i)
			for c := range channels {
				add(m, fmt.Sprint("channel", c), u, info)
			}
		}
		theirs := (heap() - before) / members
		runtime.KeepAlive(m)
		t.Logf("%2d channels a user: plimsoll %.0f bytes a membership (with user and socket), centrifuge %.0f (without), ratio %.2f",
			channels, ours, theirs, ours/theirs)
		summary.Row(fmt.Sprintf("presence: memory of a membership, %d topics a user", channels),
			fmt.Sprintf("%.0f B with user and socket", ours), fmt.Sprintf("%.0f B without (centrifuge)", theirs), summary.Less(ours, theirs))
	}
}
