package presence

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/centrifugal/centrifuge"
	"github.com/plimsoll-go/plimsoll/presence"
	"golang.org/x/sys/unix"
)

const members = 100_000

var info = []byte(`{"name":"Ann"}`)

func user(i int) string { return fmt.Sprintf("user-%010d", i) }

func tracker(tb testing.TB) *presence.Tracker {
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

func fill(tb testing.TB) (*presence.Tracker, *centrifuge.MemoryPresenceManager, []string) {
	t, m := tracker(tb), manager(tb)
	names := make([]string, members)
	for i := range names {
		names[i] = user(i)
		_ = t.Connect(names[i], names[i], nil)
		_ = t.Join("queue", names[i], info)
		add(m, "queue", names[i], info)
	}
	return t, m, names
}

// cpu reports the processor time of an operation, which a busy machine does
// not change as it does the time on the clock.
func cpu(b *testing.B, loop func(i int)) {
	b.ReportAllocs()
	runtime.GC()
	start := spent()
	for i := 0; b.Loop(); i++ {
		loop(i)
	}
	b.ReportMetric(float64(spent()-start)/float64(b.N), "cpu-ns/op")
}

func spent() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkComeAndGo(b *testing.B) {
	t, m, names := fill(b)
	b.Run("plimsoll", func(b *testing.B) {
		cpu(b, func(i int) {
			u := names[i*7919%members]
			t.Leave("queue", u)
			_ = t.Join("queue", u, info)
		})
	})
	b.Run("centrifuge", func(b *testing.B) {
		cpu(b, func(i int) {
			u := names[i*7919%members]
			_ = m.RemovePresence("queue", u, u)
			add(m, "queue", u, info)
		})
	})
}

// A minute of a member's life as the two need it: he comes, he is kept alive,
// he goes. Centrifuge's clients
// add themselves again every 25 s (Config.ClientPresenceUpdateInterval), a
// Tracker keeps a socket until it is told of its end.
func BenchmarkMinute(b *testing.B) {
	t, m, names := fill(b)
	b.Run("plimsoll", func(b *testing.B) {
		cpu(b, func(i int) {
			u := names[i*7919%members]
			t.Leave("queue", u)
			_ = t.Join("queue", u, info)
		})
	})
	b.Run("centrifuge", func(b *testing.B) {
		cpu(b, func(i int) {
			u := names[i*7919%members]
			_ = m.RemovePresence("queue", u, u)
			add(m, "queue", u, info)
			for j := 1; j <= 2; j++ { // others have their turn in between
				add(m, "queue", names[(i+j*members/3)*7919%members], info)
			}
		})
	})
}

func BenchmarkCount(b *testing.B) {
	t, m, _ := fill(b)
	b.Run("plimsoll", func(b *testing.B) {
		cpu(b, func(int) {
			_ = t.Count("queue")
		})
	})
	b.Run("centrifuge", func(b *testing.B) {
		cpu(b, func(int) {
			_, _ = m.PresenceStats("queue")
		})
	})
}

func BenchmarkFirstFifty(b *testing.B) {
	t, m, _ := fill(b)
	b.Run("plimsoll", func(b *testing.B) {
		cpu(b, func(int) {
			_, _ = t.List("queue", presence.ListOptions{Limit: 50})
		})
	})
	b.Run("centrifuge", func(b *testing.B) {
		cpu(b, func(int) {
			_, _ = m.Presence("queue") // all: there is no page
		})
	})
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
	for _, channels := range []int{1, 2, 5, 20} {
		users := members / channels
		before := heap()
		tr := tracker(t)
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
	}
}
