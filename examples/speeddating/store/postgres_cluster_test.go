package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/internal/pgtest"
	"github.com/plimsoll-go/plimsoll/presence"
)

// meeting is two servers on one database, and what a hundred people did there.
type meeting struct {
	nodes [2]*dating.Platform
	work  sync.WaitGroup

	mu      sync.Mutex
	in      map[dating.UserID]string // the call of each
	rooms   int
	answers map[dating.Code]int
	slowest time.Duration
	faults  []string
}

// answered notes what became of an attempt.
func (m *meeting) answered(began time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	code := dating.Code("ok")
	if err != nil {
		code = dating.CodeOf(err)
	}
	m.answers[code]++
	m.slowest = max(m.slowest, time.Since(began))
	if code == dating.Unavailable {
		m.faults = append(m.faults, err.Error())
	}
}

// deliver accepts whatever rings, at once.
func (m *meeting) deliver(node int) func(dating.Event) {
	return func(e dating.Event) {
		ring, ok := e.Data.(*dating.CallNotify)
		if !ok {
			return
		}
		m.work.Go(func() {
			began := time.Now()
			start, err := m.nodes[node].Accept(context.Background(), e.To, tab(e.To, node), ring.InviteID, 600)
			m.answered(began, err)
			if err != nil {
				return
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.rooms++
			for _, id := range []dating.UserID{e.To, start.Peer.UserID} {
				if m.in[id] != "" {
					m.faults = append(m.faults, fmt.Sprintf("%s is in %s and in %s", id, m.in[id], start.RoomID))
				}
				m.in[id] = start.RoomID
			}
		})
	}
}

func tab(id dating.UserID, node int) string { return fmt.Sprint(id, "-", node) }

// A hundred people invite and accept each other at once on two servers with one
// PostgreSQL: nobody is in two calls, nothing waits for itself, every attempt is
// answered. Once the servers are joined by a bus; once they know nothing of
// each other, everybody is on both, and the constraint of the database alone stands
// between a person and a second call.
func TestPostgresTwoServers(t *testing.T) {
	srv := pgtest.Private(t)
	for _, joined := range []bool{true, false} {
		t.Run(map[bool]string{true: "joined", false: "split"}[joined], func(t *testing.T) {
			db := srv.Database(t)
			m := &meeting{in: map[dating.UserID]string{}, answers: map[dating.Code]int{}}
			ctx := context.Background()
			shared, share := bus.NewMemory(), presence.NewMemoryStore()
			for i := range m.nodes {
				b, ps := shared, presence.Store(share)
				if !joined {
					b, ps = bus.NewMemory(), nil
				}
				name := fmt.Sprint("n", i+1)
				tracker, err := presence.New(presence.Options{MaxUsers: 400, MaxSockets: 400, MaxTopics: 8, MaxWatchers: 400, MaxMeta: 256, Store: ps, Node: name})
				require.NoError(t, err)
				s := openPostgres(t, db, Options{})
				p, err := dating.New(dating.Options{Store: s, Bus: b, Presence: tracker, Deliver: m.deliver(i), Node: name, MaxSockets: 400, Rules: dating.Rules{PasswordCost: 4}})
				require.NoError(t, err)
				m.nodes[i] = p
				ran := make(chan error, 1)
				go func() { ran <- p.Run(ctx) }()
				t.Cleanup(func() {
					require.NoError(t, p.Shutdown(ctx))
					require.NoError(t, <-ran)
					require.NoError(t, tracker.Shutdown(ctx))
				})
				require.Eventually(t, func() bool { return p.Ready(ctx) == nil }, 10*time.Second, 5*time.Millisecond)
			}
			var people []dating.UserID
			for i := range 100 {
				home := m.nodes[i%2]
				c, err := home.SignUp(ctx, dating.Newcomer{Name: fmt.Sprint("P", i), Gender: "female"})
				require.NoError(t, err)
				people = append(people, c.UserID)
				for node, p := range m.nodes {
					if joined && node != i%2 {
						continue
					}
					se, err := p.Authenticate(ctx, c.Token)
					require.NoError(t, err)
					require.NoError(t, p.SocketOpened(ctx, c.UserID, tab(c.UserID, node), se))
					require.NoError(t, p.JoinQueue(ctx, c.UserID, tab(c.UserID, node)))
				}
			}
			if joined {
				require.Eventually(t, func() bool {
					return m.nodes[0].LiveStats().AvailableUsers == 100 && m.nodes[1].LiveStats().AvailableUsers == 100
				}, 10*time.Second, 10*time.Millisecond)
			}
			var inviters sync.WaitGroup
			inviters.Add(len(people))
			m.work.Go(func() { // what rings last is answered as well
				inviters.Wait()
				time.Sleep(time.Second)
			})
			for i, id := range people {
				m.work.Go(func() {
					defer inviters.Done()
					for try := range 12 {
						node := i % 2
						if !joined {
							node = (i + try) % 2
						}
						began := time.Now()
						_, err := m.nodes[node].Invite(ctx, id, tab(id, node), people[rand.IntN(len(people))], 600)
						m.answered(began, err)
						time.Sleep(rand.N(20 * time.Millisecond))
					}
				})
			}
			done := make(chan struct{})
			go func() { m.work.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("attempts are not answered")
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Logf("%d calls of %d people; answers %v, the slowest after %v", m.rooms, len(m.in), m.answers, m.slowest.Round(time.Millisecond))
			require.Empty(t, m.faults)
			require.Greater(t, m.rooms, 15)
			require.Equal(t, fmt.Sprint(2*m.rooms, "|", m.rooms), srv.SQL(t, db, "SELECT count(*), count(DISTINCT room_id) FROM call_members"))
			if !joined {
				require.NotZero(t, m.answers[dating.Busy])
			}
			log, err := os.ReadFile(srv.Log())
			require.NoError(t, err)
			require.NotContains(t, string(log), "deadlock")
			if !joined {
				t.Logf("%d times the constraint refused", strings.Count(string(log), "call_members_pkey"))
				require.Contains(t, string(log), "call_members_pkey")
			}
		})
	}
}
