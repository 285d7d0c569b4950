package dating_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store"
	"github.com/plimsoll-go/plimsoll/presence"
)

// crowd is a node in real time with n people in the queue, each with a window.
func crowd(b testing.TB, n int, deliver func(dating.Event)) (*dating.Platform, *store.SQLite, []*person) {
	b.Helper()
	st, err := store.OpenSQLite(context.Background(), filepath.Join(b.TempDir(), "db"), store.Options{})
	require.NoError(b, err)
	tracker, err := presence.New(presence.Options{MaxUsers: 2 * n, MaxSockets: 2 * n, MaxTopics: 8, MaxWatchers: 2 * n, MaxMeta: 256})
	require.NoError(b, err)
	p, err := dating.New(dating.Options{Store: st, Bus: bus.NewMemory(), Presence: tracker, Deliver: deliver, MaxSockets: 2 * n})
	require.NoError(b, err)
	ran := make(chan error, 1)
	go func() { ran <- p.Run(context.Background()) }()
	b.Cleanup(func() {
		require.NoError(b, p.Shutdown(context.Background()))
		require.NoError(b, <-ran)
		require.NoError(b, tracker.Shutdown(context.Background()))
		require.NoError(b, st.Close())
	})
	for p.Ready(context.Background()) != nil {
		time.Sleep(time.Millisecond)
	}
	people := make([]*person, n)
	errs := make(chan error, n)
	for i := range people {
		go func() {
			c, err := p.SignUp(ctx, dating.Newcomer{Name: fmt.Sprint("Person ", i), Gender: "female"})
			people[i] = &person{id: c.UserID, token: c.Token, tab: fmt.Sprint("tab", i)}
			if err == nil {
				people[i].session, err = p.Authenticate(ctx, c.Token)
			}
			if err == nil {
				err = p.SocketOpened(ctx, c.UserID, people[i].tab, people[i].session)
			}
			if err == nil {
				err = p.JoinQueue(ctx, c.UserID, people[i].tab)
			}
			errs <- err
		}()
		if i%64 == 63 {
			for range 64 {
				require.NoError(b, <-errs)
			}
		}
	}
	for range n % 64 {
		require.NoError(b, <-errs)
	}
	time.Sleep(time.Second)
	return p, st, people
}

func BenchmarkQueueWindow(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint("people=", n), func(b *testing.B) {
			p, st, people := crowd(b, n, func(dating.Event) {})
			before := st.Stats().Statements
			took := make([]time.Duration, 0, 1<<16)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				begun := time.Now()
				if _, err := p.QueueWindow(ctx, people[i%n].id, ""); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
				i++
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(st.Stats().Statements-before)/float64(i), "statements/op")
		})
	}
}

// A whole call, from the invite to both histories, with 1000 people who watch
// the queue.
func BenchmarkCall(b *testing.B) {
	p, st, people := crowd(b, 1000, func(dating.Event) {})
	before := st.Stats().Statements
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a, c := people[(2*i)%1000], people[(2*i+1+2*(i/500))%1000]
		i++
		in, err := p.Invite(ctx, a.id, a.tab, c.id, 60)
		if err != nil {
			b.Fatal(err)
		}
		start, err := p.Accept(ctx, c.id, c.tab, in.InviteID, 60)
		if err != nil {
			b.Fatal(err)
		}
		if err := p.EndCall(ctx, a.id, start.RoomID); err != nil {
			b.Fatal(err)
		}
		_ = p.JoinQueue(ctx, a.id, a.tab)
		_ = p.JoinQueue(ctx, c.id, c.tab)
	}
	b.ReportMetric(float64(st.Stats().Statements-before)/float64(i), "statements/op")
}

// What a person costs who is in the queue with a window, without a socket.
func TestBytesPerPerson(t *testing.T) {
	const n, limit = 1000, 6 << 10
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p, _, people := crowd(t, n, func(dating.Event) {})
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d people in the queue: %d bytes each (limit %d)", len(people), each, limit)
	require.Less(t, each, int64(limit))
	runtime.KeepAlive(p)
}
