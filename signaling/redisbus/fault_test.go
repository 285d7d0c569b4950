package redisbus_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/redisbus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestFaults does to a real Redis what happens to one, while a checker numbers
// messages from one bus to another.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		gaps bool // are right: the messages are gone
		do   func(t *testing.T, srv *redistest.Server)
	}{
		{name: "the subscriber's connection is cut", do: func(t *testing.T, srv *redistest.Server) {
			rdb := srv.Client(t)
			for range 5 {
				require.NoError(t, rdb.ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
				time.Sleep(200 * time.Millisecond)
			}
		}},
		{name: "all connections are cut", do: func(t *testing.T, srv *redistest.Server) {
			rdb := srv.Client(t)
			for range 5 {
				require.NoError(t, rdb.ClientKillByFilter(ctx, "SKIPME", "yes").Err())
				time.Sleep(200 * time.Millisecond)
			}
		}},
		{name: "killed and restarted with its data", args: []string{"--appendonly", "yes"}, do: func(t *testing.T, srv *redistest.Server) {
			srv.Kill(t)
			time.Sleep(time.Second)
			srv.Start(t)
		}},
		{name: "killed and restarted without", gaps: true, do: func(t *testing.T, srv *redistest.Server) {
			srv.Kill(t)
			time.Sleep(time.Second)
			srv.Start(t)
		}},
		{name: "stopped for 5 s", do: func(t *testing.T, srv *redistest.Server) {
			srv.Pause(t)
			time.Sleep(5 * time.Second)
			srv.Resume(t)
		}},
		{name: "emptied", gaps: true, do: func(t *testing.T, srv *redistest.Server) {
			require.NoError(t, srv.Client(t).FlushAll(ctx).Err())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.New(t, test.args...)
			from, to := open(t, srv.Client(t)), open(t, srv.Client(t))
			c := check(t, from, to, 20, 2*time.Millisecond)
			time.Sleep(300 * time.Millisecond)
			test.do(t, srv)
			back := c.back()
			time.Sleep(300 * time.Millisecond)
			v := c.verdict()
			t.Logf("%+v; back after %v; %+v", v, back.Round(time.Millisecond), to.Stats())
			require.Less(t, back, 2*time.Second)
			require.Zero(t, v.silent, "lost without a word")
			require.Zero(t, v.doubled)
			require.Zero(t, v.unordered)
			if test.gaps {
				require.NotZero(t, v.gaps)
			} else {
				require.Zero(t, v.gaps)
			}
		})
	}
}

// A subscriber that is too slow is cut off by Redis, and reads what it missed.
func TestOutputBuffer(t *testing.T) {
	srv := redistest.New(t, "--client-output-buffer-limit", "pubsub 256kb 128kb 1")
	from, to := open(t, srv.Client(t)), open(t, srv.Client(t))
	var n, wrong atomic.Int64
	_, err := to.Subscribe(ctx, "t", signaling.Position{}, func(e signaling.Event) {
		if int64(e.Position.Offset) != n.Add(1) || e.Gap {
			wrong.Add(1)
		}
		if e.Position.Offset == 1 {
			time.Sleep(time.Second)
		}
	})
	require.NoError(t, err)
	const messages = 900 // of 60 KiB: more than all socket buffers hold
	data := make([]byte, 60<<10)
	for range messages {
		_, err := from.Publish(ctx, "t", data)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.Load() >= messages }, 20*time.Second, 5*time.Millisecond)
	require.Zero(t, wrong.Load())
	require.NotZero(t, to.Stats().Lost, "Redis has not cut it off")
	t.Logf("%d delivered, %d of them from the stream: %+v", n.Load(), to.Stats().Repaired, to.Stats())
}

// A connection that is open and brings nothing is noticed.
func TestStarved(t *testing.T) {
	srv := redistest.New(t)
	p := newProxy(t, srv.Addr())
	rdb := redis.NewClient(&redis.Options{Addr: p.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	from, to := open(t, srv.Client(t)), open(t, rdb, func(o *redisbus.Options) { o.Probe = 200 * time.Millisecond })
	c := check(t, from, to, 1, 20*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	require.Zero(t, to.Stats().Lost)
	p.mute()
	back := c.back() // the connections themselves are never closed
	v := c.verdict()
	t.Logf("%+v; back after %v; %+v", v, back.Round(time.Millisecond), to.Stats())
	require.NotZero(t, to.Stats().Starved)
	require.Zero(t, v.silent+v.doubled+v.unordered+v.gaps, "%+v", v)
}

// proxy forwards connections, and can have those that are open hear nothing more.
type proxy struct {
	addr  string
	muted atomic.Uint64 // connections up to this number
	count atomic.Uint64
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			n := p.count.Add(1)
			wg.Go(func() { io.Copy(out, in); out.Close() })
			wg.Go(func() {
				defer in.Close()
				for buf := make([]byte, 4096); ; {
					k, err := out.Read(buf)
					if err != nil {
						return
					}
					if n > p.muted.Load() {
						in.Write(buf[:k])
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close() })
	return p
}

func (p *proxy) mute() { p.muted.Store(p.count.Load()) }

// While Redis is away so much waits, and no more.
func TestAway(t *testing.T) {
	srv := redistest.New(t)
	b := open(t, srv.Client(t), func(o *redisbus.Options) { o.MaxPending, o.MaxMessageBytes, o.MaxPendingBytes = 10, 100, 500 })
	n := 0
	_, err := b.Subscribe(ctx, "t", signaling.Position{}, func(signaling.Event) { n++ })
	require.NoError(t, err)
	_, err = b.Publish(ctx, "t", make([]byte, 101))
	require.ErrorIs(t, err, signaling.ErrTooLarge)
	srv.Pause(t)
	fill := func(messages, size int) {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		var full, late atomic.Int64
		for range messages + 5 {
			wg.Go(func() {
				start := time.Now()
				switch _, err := b.Publish(short, "t", make([]byte, size)); {
				case err == redisbus.ErrFull:
					full.Add(1)
					if time.Since(start) > 300*time.Millisecond {
						t.Error("ErrFull came late")
					}
				case err != nil:
					late.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 5, full.Load(), "ErrFull")
		require.EqualValues(t, messages, late.Load(), "in time")
		require.Eventually(t, func() bool { return b.Stats().Pending == 0 }, 10*time.Second, time.Millisecond, "those given up make room")
	}
	fill(10, 1)
	fill(5, 100)
	srv.Resume(t)
	_, err = b.Publish(ctx, "t", []byte("x"))
	require.NoError(t, err)

	// What waits when the bus is closed is told.
	srv.Kill(t)
	told := make(chan error)
	go func() {
		_, err := b.Publish(ctx, "t", []byte("x"))
		told <- err
	}()
	time.Sleep(50 * time.Millisecond)
	b.Close()
	require.ErrorIs(t, <-told, redisbus.ErrClosed)
	_, err = b.Publish(ctx, "t", nil)
	require.ErrorIs(t, err, redisbus.ErrClosed)
	_, err = b.Subscribe(ctx, "t", signaling.Position{}, func(signaling.Event) {})
	require.ErrorIs(t, err, redisbus.ErrClosed)
}

// When all have left, nothing is left.
func TestNothingIsLeft(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	b := open(t, rdb, func(o *redisbus.Options) { o.Retain = time.Second })
	var subs []signaling.Subscription
	for i := range 50 {
		s, err := b.Subscribe(ctx, fmt.Sprint(i), signaling.Position{}, func(signaling.Event) {})
		require.NoError(t, err)
		subs = append(subs, s)
	}
	for i := range 100 {
		_, err := b.Publish(ctx, fmt.Sprint(i), []byte("x"))
		require.NoError(t, err)
	}
	time.Sleep(2 * time.Second)
	require.EqualValues(t, 51, rdb.DBSize(ctx).Val(), "those with a subscriber live on, and what remembers the last call")
	for _, s := range subs {
		s.Close()
	}
	b.Close()
	require.Eventually(t, func() bool { return rdb.DBSize(ctx).Val() == 0 }, 10*time.Second, 20*time.Millisecond)
	require.Empty(t, rdb.PubSubShardChannels(ctx, "*").Val())
}

// Slots move while messages are numbered.
func TestSlotsMove(t *testing.T) {
	cluster := redistest.NewCluster(t)
	change := func(o *redisbus.Options) { o.Partitions = 4 }
	from, to := open(t, cluster.Client(t), change), open(t, cluster.Client(t), change)
	c := check(t, from, to, 16, 5*time.Millisecond)
	time.Sleep(500 * time.Millisecond) // all have begun
	rdb := cluster.Client(t)
	slots := map[int]bool{}
	for _, s := range cluster.Servers {
		for _, key := range s.Client(t).Keys(ctx, "*").Val() {
			slots[int(rdb.ClusterKeySlot(ctx, key).Val())] = true
		}
	}
	require.Len(t, slots, 4)
	moves := 0
	for round := range 3 {
		for slot := range slots {
			cluster.Move(t, slot, (cluster.Owner(t, slot)+1+round%2)%3)
			moves++
			time.Sleep(50 * time.Millisecond)
		}
	}
	back := c.back()
	v := c.verdict()
	t.Logf("%d slots moved: %+v; back after %v; %+v", moves, v, back.Round(time.Millisecond), to.Stats())
	require.Zero(t, v.silent+v.doubled+v.unordered+v.gaps, "%+v", v)
	require.Less(t, back, 2*time.Second)
}
