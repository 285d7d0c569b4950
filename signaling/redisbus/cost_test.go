package redisbus_test

import (
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var calls = regexp.MustCompile(`cmdstat_([^:]+):calls=(\d+)`)

// commands returns how often Redis ran each command, those in scripts included.
func commands(rdb *redis.Client) map[string]int {
	out := map[string]int{}
	for _, m := range calls.FindAllStringSubmatch(rdb.Info(ctx, "commandstats").Val(), -1) {
		out[m[1]], _ = strconv.Atoi(m[2])
	}
	return out
}

// TestCost counts, by Redis' own figures, what a delivered message costs, and
// shows that a server without an interested user hears nothing.
func TestCost(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	const topics = 500
	from, to, idle := open(t, rdb), open(t, rdb), open(t, rdb)
	var n, stray atomic.Int64
	for i := range topics {
		_, err := to.Subscribe(ctx, fmt.Sprint("user/", i), signaling.Position{}, func(signaling.Event) { n.Add(1) })
		require.NoError(t, err)
	}
	_, err := idle.Subscribe(ctx, "user/of another server", signaling.Position{}, func(signaling.Event) { stray.Add(1) })
	require.NoError(t, err)
	for _, load := range []struct {
		name             string
		publishers, each int
	}{{"one after the other", 1, 4}, {"500 at once", topics, 40}} {
		total := topics * load.each
		n.Store(0)
		before, calls := commands(rdb), from.Stats().Calls
		var wg sync.WaitGroup
		for p := range load.publishers {
			wg.Go(func() {
				for i := p; i < topics; i += load.publishers {
					for range load.each {
						if _, err := from.Publish(ctx, fmt.Sprint("user/", i), make([]byte, 200)); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool { return n.Load() == int64(total) }, soon, tick)
		after := commands(rdb)
		sent, all := 0, 0
		for name, k := range after {
			k -= before[name]
			switch all += k; name {
			case "xadd", "spublish", "get", "set", "xrevrange", "pexpire", "time": // only scripts do
			case "info":
				all -= k
			default:
				sent += k
			}
		}
		sent += after["spublish"] - before["spublish"] - (after["xadd"] - before["xadd"]) // the probes
		perMessage := float64(sent) / float64(total)
		t.Logf("%s: %.3f commands sent to Redis per delivered message, %.2f run by it with those inside the script; %.1f messages a call",
			load.name, perMessage, float64(all)/float64(total), float64(total)/float64(from.Stats().Calls-calls))
		require.LessOrEqual(t, perMessage, 1.1)
	}
	subscribed, err := rdb.PubSubShardNumSub(ctx, "{0}plimsoll:bus:s:user/0").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, subscribed["{0}plimsoll:bus:s:user/0"], "only who hosts the user is sent anything")
	require.Zero(t, stray.Load())
}

// TestMemory prints what a subscription takes here.
func TestMemory(t *testing.T) {
	bus := open(t, redistest.New(t).Client(t))
	const n = 5000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := range n / 50 {
				if _, err := bus.Subscribe(ctx, fmt.Sprint("user/", w, "/", i), signaling.Position{}, func(signaling.Event) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	each := (heap() - before) / n
	t.Logf("%d bytes a subscription", each)
	require.Less(t, each, uint64(2000))
	runtime.KeepAlive(bus)
}

func BenchmarkPublish(b *testing.B) {
	bus := open(b, redistest.New(b).Client(b))
	data := make([]byte, 200)
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if _, err := bus.Publish(ctx, "t", data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := bus.Publish(ctx, "t", data); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
