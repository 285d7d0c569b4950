package redisstore_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// tracker runs a node on a Store of its own.
func tracker(t *testing.T, rdb redis.UniversalClient, node string) *presence.Tracker {
	t.Helper()
	tr, err := presence.New(presence.Options{
		MaxUsers: 1000, MaxSockets: 1000, MaxTopics: 10, MaxWatchers: 10, MaxMeta: 100,
		Node: node, Store: open(t, rdb, func(o *redisstore.Options) { o.Retain = time.Second }),
		Lease: 2 * time.Second, Grace: time.Second, Tick: 10 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() { stop(tr, 5*time.Second) })
	return tr
}

// stop ends a node; in no time it is killed, and says no goodbye.
func stop(tr *presence.Tracker, within time.Duration) {
	end, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = tr.Shutdown(end)
}

func join(t *testing.T, tr *presence.Tracker, user string) {
	t.Helper()
	require.NoError(t, tr.Connect(user, "tab", nil))
	require.NoError(t, tr.Join("queue", user, []byte(user)))
}

// sees waits until a node counts n members.
func sees(t *testing.T, tr *presence.Tracker, n int, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	require.Eventually(t, func() bool { return tr.Count("queue") == n }, 20*time.Second, 5*time.Millisecond, "%d members", n)
	took := time.Since(start)
	require.Less(t, took, within)
	return took
}

// TestFaults has two nodes go through what happens to a Redis: both know who is
// there afterwards, and nobody else.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		do   func(t *testing.T, srv *redistest.Server)
	}{
		{name: "events are cut off", do: func(t *testing.T, srv *redistest.Server) {
			require.NoError(t, srv.Client(t).ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
		}},
		{name: "killed and restarted with its data", args: []string{"--appendonly", "yes"}, do: func(t *testing.T, srv *redistest.Server) {
			srv.Restart(t)
		}},
		{name: "killed and restarted without", do: func(t *testing.T, srv *redistest.Server) { srv.Restart(t) }},
		{name: "stopped for 5 s", do: func(t *testing.T, srv *redistest.Server) {
			srv.Pause(t)
			time.Sleep(5 * time.Second)
			srv.Resume(t)
		}},
		{name: "emptied", do: func(t *testing.T, srv *redistest.Server) {
			require.NoError(t, srv.Client(t).FlushAll(ctx).Err())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.New(t, test.args...)
			a, b := tracker(t, srv.Client(t), "a"), tracker(t, srv.Client(t), "b")
			for i := range 50 {
				join(t, a, fmt.Sprint("a", i))
				join(t, b, fmt.Sprint("b", i))
			}
			sees(t, a, 100, 5*time.Second)
			sees(t, b, 100, 5*time.Second)
			test.do(t, srv)
			for i := range 10 { // some come and some go meanwhile
				join(t, a, fmt.Sprint("late", i))
				b.Leave("queue", fmt.Sprint("b", i))
			}
			took := max(sees(t, a, 100, 5*time.Second), sees(t, b, 100, 5*time.Second))
			t.Logf("both know after %v", took.Round(time.Millisecond))
			time.Sleep(2 * time.Second) // nobody is taken for dead afterwards
			require.Equal(t, 100, a.Count("queue"))
			require.Equal(t, 100, b.Count("queue"))
		})
	}
}

// The users of a node that died are gone when its lease and their grace are
// over, and when all have left nothing of them is in Redis.
func TestNodeDies(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	a, b := tracker(t, rdb, "a"), tracker(t, rdb, "b")
	join(t, b, "bob")
	base := rdb.DBSize(ctx).Val()
	for i := range 100 {
		join(t, a, fmt.Sprint("a", i))
	}
	sees(t, b, 101, 5*time.Second)
	stop(a, 0)
	t.Logf("ghosts are gone after %v", sees(t, b, 1, 8*time.Second).Round(time.Millisecond))
	require.LessOrEqual(t, rdb.DBSize(ctx).Val(), max(base, 5))
	b.Remove("bob")
	require.Eventually(t, func() bool {
		b.Sweep()
		return rdb.DBSize(ctx).Val() == 2 // who is alive, and the generation
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, []string{"{0}plimsoll:presence:g", "{0}plimsoll:presence:n"}, sorted(rdb.Keys(ctx, "*").Val()))
	require.Eventually(t, func() bool { // the dead one's lease is reaped
		b.Sweep()
		return rdb.ZCard(ctx, "{0}plimsoll:presence:n").Val() == 1
	}, 10*time.Second, 20*time.Millisecond)
	stop(b, 5*time.Second)
	require.Zero(t, rdb.DBSize(ctx).Val())
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// Slots move while users come and go.
func TestSlotsMove(t *testing.T) {
	cluster := redistest.NewCluster(t)
	a, b := tracker(t, cluster.Client(t), "a"), tracker(t, cluster.Client(t), "b")
	join(t, b, "bob")
	join(t, a, "ann")
	sees(t, a, 2, 5*time.Second)
	rdb := cluster.Client(t)
	slots := map[int]bool{}
	for _, s := range cluster.Servers {
		for _, key := range s.Client(t).Keys(ctx, "*{*}*[lm]:queue").Val() {
			slots[int(rdb.ClusterKeySlot(ctx, key).Val())] = true
		}
	}
	require.Len(t, slots, 1)
	for i := range 9 {
		for slot := range slots {
			cluster.Move(t, slot, i%3)
		}
		for j := range 10 {
			join(t, a, fmt.Sprint("user", 10*i+j))
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("b knows after %v", sees(t, b, 92, 5*time.Second).Round(time.Millisecond))
	time.Sleep(2 * time.Second)
	require.Equal(t, 92, a.Count("queue"))
	require.Equal(t, 92, b.Count("queue"))
}

// TestCost counts, by Redis' own figures, what a change costs.
func TestCost(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	s := open(t, rdb)
	x, err := s.Open(ctx, "a", time.Minute, func(presence.Event) {})
	require.NoError(t, err)
	require.NoError(t, x.Subscribe(ctx, "queue"))
	var ops []presence.Op
	for i := range 256 {
		ops = append(ops, presence.Op{Kind: presence.Put, Topic: "queue", User: fmt.Sprint("user", i), Meta: []byte("available")})
	}
	require.NoError(t, rdb.Do(ctx, "CONFIG", "RESETSTAT").Err())
	require.NoError(t, x.Apply(ctx, ops))
	all := 0
	for _, m := range regexp.MustCompile(`cmdstat_[^:]+:calls=(\d+)`).FindAllStringSubmatch(rdb.Info(ctx, "commandstats").Val(), -1) {
		n, _ := strconv.Atoi(m[1])
		all += n
	}
	t.Logf("256 changes: %.3f commands each, those inside the script included; %d bytes a member in Redis",
		float64(all)/256, rdb.MemoryUsage(ctx, "{0}plimsoll:presence:m:queue", 0).Val()/256)
	require.Less(t, float64(all)/256, 3.2)
}

// Redis alone keeps time: a lease that a node asks for ends by the clock of
// Redis, and nothing that is sent to it holds another.
func TestClock(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	x, err := open(t, rdb).Open(ctx, "a", time.Minute, func(presence.Event) {})
	require.NoError(t, err)
	ends, err := rdb.ZScore(ctx, "{0}plimsoll:presence:n", x.Incarnation()).Result()
	require.NoError(t, err)
	now, err := rdb.Time(ctx).Result()
	require.NoError(t, err)
	require.InDelta(t, now.Add(time.Minute).UnixMilli(), ends, 10_000)
}
