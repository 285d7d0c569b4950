package presence_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
)

func benchTracker(b *testing.B, users int) (*presence.Tracker, []string) {
	b.Helper()
	tr, err := presence.New(presence.Options{
		MaxUsers: 2 * users, MaxSockets: 2 * users, MaxTopics: 100, MaxWatchers: users, MaxMeta: 256,
		FlapBurst: 1 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tr.Shutdown(context.Background()) })
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprintf("user-%06d", i)
		if err := tr.Connect(names[i], "tab", nil); err != nil {
			b.Fatal(err)
		}
	}
	return tr, names
}

const crowd = 100_000

func BenchmarkHeartbeat(b *testing.B) {
	tr, names := benchTracker(b, crowd)
	for _, u := range names {
		_ = tr.ConnectTTL(u, "tab", nil, time.Hour)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = tr.Heartbeat(names[i%crowd], "tab")
	}
}

// A socket ends and another comes within the grace.
func BenchmarkReconnect(b *testing.B) {
	tr, names := benchTracker(b, crowd)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		u := names[i%crowd]
		tr.Disconnect(u, "tab", false)
		_ = tr.Connect(u, "tab", nil)
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, watched := range []bool{false, true} {
		name := "unwatched"
		if watched {
			name = "watched"
		}
		b.Run(name, func(b *testing.B) {
			tr, names := benchTracker(b, crowd)
			if watched {
				if _, err := tr.Watch("queue", presence.WatchOptions{Deliver: func(*presence.Diff) {}}); err != nil {
					b.Fatal(err)
				}
			}
			meta := []byte(`{"name":"Ann"}`)
			for _, u := range names {
				_ = tr.Join("queue", u, meta)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ { // half of them leave, half of them join
				u := names[i/2*7919%crowd]
				if i%2 == 0 {
					tr.Leave("queue", u)
				} else {
					_ = tr.Join("queue", u, meta)
				}
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	tr, names := benchTracker(b, crowd)
	metas := [][]byte{[]byte(`{"name":"Ann"}`), []byte(`{"name":"Bea"}`), []byte(`{"name":"Cid"}`)}
	for _, u := range names {
		_ = tr.Join("queue", u, metas[0])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = tr.Update("queue", names[i%crowd], metas[i%3])
	}
}

// One change is told to each of a thousand watchers, who exclude themselves:
// what a watcher costs, without the frame that is sent to him.
func BenchmarkTell(b *testing.B) {
	for _, n := range []int{50, 1000, 10000} {
		b.Run(fmt.Sprint("watchers=", n), func(b *testing.B) {
			tr, err := presence.New(presence.Options{
				MaxUsers: 2 * n, MaxSockets: 2 * n, MaxTopics: 100, MaxWatchers: n, MaxMeta: 256,
				Tick: time.Hour, MaxDelay: time.Hour, CountEvery: 1, FlapBurst: 1 << 30,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = tr.Shutdown(context.Background()) }()
			told := 0
			for i := range n {
				u := fmt.Sprint("user", i)
				_ = tr.Connect(u, "tab", nil)
				_ = tr.Join("queue", u, nil)
			}
			ready := make(chan struct{}, n)
			var started atomic.Bool
			for i := range n {
				_, err := tr.Watch("queue", presence.WatchOptions{Exclude: []string{fmt.Sprint("user", i)}, Deliver: func(d *presence.Diff) {
					if !started.Load() {
						ready <- struct{}{}
					}
					told++
				}})
				if err != nil {
					b.Fatal(err)
				}
			}
			for range n {
				<-ready
			}
			_ = tr.Connect("ann", "tab", nil)
			_ = tr.Join("queue", "ann", nil)
			started.Store(true)
			tr.Manual()
			tr.Flush("queue")
			told = 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%2 == 0 {
					tr.Leave("queue", "ann")
				} else {
					_ = tr.Join("queue", "ann", nil)
				}
				tr.Flush("queue")
			}
			if told != b.N*n {
				b.Fatal(told, b.N*n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/watcher")
		})
	}
}
