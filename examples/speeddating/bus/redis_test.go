package bus_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus/bustest"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/internal/redistest"
)

func open(t *testing.T, c redis.UniversalClient, change ...func(*bus.RedisOptions)) *bus.Redis {
	t.Helper()
	o := bus.RedisOptions{Client: c, Prefix: t.Name(), MaxQueueBytes: 1 << 20, Settle: 20 * time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	r, err := bus.OpenRedis(t.Context(), o)
	require.NoError(t, err)
	return r
}

func TestRedis(t *testing.T) {
	srv := redistest.New(t)
	bustest.Run(t, func(t *testing.T) (a, b dating.Bus) { return open(t, srv.Client(t)), open(t, srv.Client(t)) })
}

func TestRedisCluster(t *testing.T) {
	c := redistest.NewCluster(t)
	bustest.Run(t, func(t *testing.T) (a, b dating.Bus) { return open(t, c.Client(t)), open(t, c.Client(t)) })
}

// listener is a node that keeps what it hears, in order.
type listener struct {
	mu     sync.Mutex
	got    []string
	left   []string
	missed int
}

func (l *listener) handler() dating.Handler {
	return dating.Handler{
		Message: func(_ string, b []byte) { l.mu.Lock(); l.got = append(l.got, string(b)); l.mu.Unlock() },
		Left:    func(n string) { l.mu.Lock(); l.left = append(l.left, n); l.mu.Unlock() },
		Missed:  func(string) { l.mu.Lock(); l.missed++; l.mu.Unlock() },
	}
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}

// pair are two nodes; ann is at the second.
func pair(t *testing.T, srv *redistest.Server, change ...func(*bus.RedisOptions)) (a, b *bus.Redis, at *listener) {
	t.Helper()
	a, b, at = open(t, srv.Client(t), change...), open(t, srv.Client(t), change...), &listener{}
	for name, r := range map[string]*bus.Redis{"n1": a, "n2": b} {
		h := dating.Handler{Message: func(string, []byte) {}}
		if name == "n2" {
			h = at.handler()
		}
		leave, err := r.Join(t.Context(), name, h)
		require.NoError(t, err)
		t.Cleanup(leave)
	}
	require.NoError(t, b.Subscribe(t.Context(), "n2", "ann"))
	return a, b, at
}

// While messages are on their way Redis is killed and comes back with nothing,
// is stopped for a while, and forgets all: each arrives once, in order, soon
// after, and what was claimed stays claimed.
func TestNothingIsLost(t *testing.T) {
	srv := redistest.New(t)
	a, b, at := pair(t, srv, func(o *bus.RedisOptions) { o.Settle = 0 })
	ok, err := a.Claim(t.Context(), "x", time.Minute, "key")
	require.NoError(t, err)
	require.True(t, ok)
	stop, sent := make(chan struct{}), 0
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Microsecond):
				a.Publish("n1", "ann", fmt.Append(nil, sent))
				sent++
			}
		}
	})
	arrives := func(what string, within time.Duration) {
		t.Helper()
		began, n := time.Now(), at.count()
		require.Eventually(t, func() bool { return at.count() > n }, within, time.Millisecond, what)
		t.Logf("%s: messages arrive again after %v", what, time.Since(began).Round(time.Millisecond))
	}
	arrives("start", time.Second)
	srv.Kill(t)
	time.Sleep(500 * time.Millisecond)
	srv.Start(t)
	arrives("killed for 0.5 s", 2*time.Second)
	time.Sleep(time.Second)
	srv.Pause(t)
	require.Eventually(t, func() bool { return a.Ping(t.Context()) != nil && a.Stats().Away }, 5*time.Second, 10*time.Millisecond)
	time.Sleep(time.Second)
	srv.Resume(t)
	arrives("stopped for more than 2 s", 2*time.Second)
	require.NoError(t, srv.Client(t).FlushAll(t.Context()).Err())
	time.Sleep(50 * time.Millisecond)
	arrives("flushed", 2*time.Second)
	close(stop)
	sending.Wait()
	require.Eventually(t, func() bool { return at.count() >= sent }, 5*time.Second, time.Millisecond)
	at.mu.Lock()
	defer at.mu.Unlock()
	require.Len(t, at.got, sent)
	for i, s := range at.got {
		require.Equal(t, fmt.Sprint(i), s)
	}
	require.Zero(t, at.missed)
	require.Empty(t, at.left, "nobody was taken for dead")
	ok, err = b.Claim(t.Context(), "y", time.Minute, "key")
	require.NoError(t, err)
	require.False(t, ok, "a claim outlives the data")
	t.Logf("%d messages, %d came twice and were ignored", sent, b.Stats().Doubled)
}

// What does not fit while Redis is away is thrown away, and the receiver is told.
func TestQueueIsBounded(t *testing.T) {
	srv := redistest.New(t)
	a, b, at := pair(t, srv, func(o *bus.RedisOptions) { o.MaxQueueBytes = 64 << 10 })
	srv.Kill(t)
	for i := range 2000 {
		a.Publish("n1", "ann", fmt.Appendf(nil, "%0100d", i))
	}
	require.NotZero(t, a.Stats().Dropped)
	srv.Start(t)
	require.Eventually(t, func() bool { at.mu.Lock(); defer at.mu.Unlock(); return at.missed > 0 }, 10*time.Second, time.Millisecond)
	require.NotZero(t, b.Stats().Gaps)
	a.Publish("n1", "ann", []byte("after"))
	require.Eventually(t, func() bool {
		at.mu.Lock()
		defer at.mu.Unlock()
		return len(at.got) > 0 && at.got[len(at.got)-1] == "after"
	}, 5*time.Second, time.Millisecond)
}

// A process that ended is known to be dead within half a second, and who comes from
// there to another one waits no longer. One whose pulse alone is interrupted
// lives.
func TestDeathIsFelt(t *testing.T) {
	srv := redistest.New(t)
	a, at := open(t, srv.Client(t)), &listener{}
	leave, err := a.Join(t.Context(), "n1", at.handler())
	require.NoError(t, err)
	t.Cleanup(leave)
	mortal := srv.Client(t)
	b := open(t, mortal)
	leave, err = b.Join(t.Context(), "n2", dating.Handler{Message: func(string, []byte) {}})
	require.NoError(t, err)
	t.Cleanup(leave)
	require.NoError(t, b.Subscribe(t.Context(), "n2", "ann"))
	for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(150 * time.Millisecond) {
		require.NoError(t, srv.Client(t).ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
		a.Publish("n1", "ann", []byte("hello"))
	}
	at.mu.Lock()
	require.Empty(t, at.left, "nobody was taken for dead")
	at.mu.Unlock()
	require.NoError(t, mortal.Close()) // as the kernel does for a process that is killed
	began := time.Now()
	require.NoError(t, a.Subscribe(t.Context(), "n1", "bob"))
	took := time.Since(began)
	t.Logf("a person is served %v after another node's end", took.Round(time.Millisecond))
	require.Less(t, took, time.Second)
	require.Eventually(t, func() bool { at.mu.Lock(); defer at.mu.Unlock(); return len(at.left) == 1 }, time.Second, time.Millisecond)
}

// A node that has nobody who is interested gets no byte of what is published,
// and many messages share a command.
func TestCommandsAndInterest(t *testing.T) {
	srv := redistest.New(t)
	a, _, at := pair(t, srv)
	c, other := open(t, srv.Client(t)), &listener{}
	leave, err := c.Join(t.Context(), "n3", other.handler())
	require.NoError(t, err)
	defer leave()
	client := srv.Client(t)
	lengths := func() (bytes int64) {
		keys, err := client.Keys(t.Context(), "*n3.*in").Result()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		entries, err := client.XRange(t.Context(), keys[0], "-", "+").Result()
		require.NoError(t, err)
		for _, e := range entries {
			bytes += int64(len(e.Values["b"].(string)))
		}
		return bytes
	}
	require.Eventually(t, func() bool { return lengths() == 0 }, 5*time.Second, 50*time.Millisecond, "the join is over and trimmed away")
	before := commands(t, client)
	const n = 20_000
	for i := range n {
		a.Publish("n1", "ann", fmt.Append(nil, i))
		if i%10 == 9 {
			time.Sleep(time.Millisecond)
		}
	}
	require.Eventually(t, func() bool { return at.count() >= n }, 10*time.Second, time.Millisecond)
	per := float64(commands(t, client)-before) / n
	t.Logf("%.3f commands of Redis for each message delivered", per)
	require.Less(t, per, 0.2)
	require.Zero(t, lengths(), "bytes for a node that nobody is at")
	require.Zero(t, other.count())
}

// commands is how many Redis has carried out, those of scripts included.
func commands(t *testing.T, c *redis.Client) (n int64) {
	t.Helper()
	info, err := c.InfoMap(t.Context(), "stats").Result()
	require.NoError(t, err)
	_, err = fmt.Sscan(info["Stats"]["total_commands_processed"], &n)
	require.NoError(t, err)
	return n
}
