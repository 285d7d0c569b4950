package redislink

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func TestPartitions(t *testing.T) {
	require.EqualValues(t, 0x31C3, crc16("123456789"))
	for _, n := range []int{1, 3, 16, 64, 1024} {
		p := NewPartitions(n)
		require.Equal(t, n, p.Len())
		counts := make([]int, n)
		for i := range n {
			tag := p.Tag(i)
			require.Equal(t, i, int(crc16(tag[1:len(tag)-1]))%slots*n/slots, "each has its own share of the slots")
		}
		for i := range 100 * n {
			counts[p.Of(fmt.Sprint("user/", i))]++
		}
		for i, k := range counts {
			require.InDelta(t, 100, k, 80, "partition %d of %d", i, n)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, client := range []redis.UniversalClient{
		nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil), redis.NewClient(&redis.Options{}),
		redis.NewRing(&redis.RingOptions{}),
	} {
		_, err := Check("pkg", client)
		require.ErrorContains(t, err, "pkg: client")
	}
}

// Interest that comes and goes quickly ends as it was last said.
func TestLink(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	var heard, acked atomic.Int64
	l := New(rdb, 1, Options{
		Message: func(string, string) { heard.Add(1) },
		Acked:   func(string) { acked.Add(1) },
		Base:    func(int) string { return "x:" },
		Probe:   20 * time.Millisecond,
		Logger:  slog.New(slog.DiscardHandler),
	})
	defer l.Close()
	for i := range 100 {
		require.NoError(t, l.Subscribe(ctx, 0, "x:kept"))
		require.NoError(t, l.Subscribe(ctx, 0, "x:gone"))
		require.EqualValues(t, 1, rdb.SPublish(ctx, "x:kept", i).Val())
		l.Unsubscribe(0, "x:kept")
		l.Unsubscribe(0, "x:gone")
		l.Unsubscribe(0, "x:never")
	}
	require.NoError(t, l.Subscribe(ctx, 0, "x:kept"))
	require.Eventually(t, func() bool {
		return rdb.PubSubShardNumSub(ctx, "x:gone").Val()["x:gone"] == 0 && heard.Load() == 100
	}, 10*time.Second, 5*time.Millisecond)
	require.EqualValues(t, 1, rdb.PubSubShardNumSub(ctx, "x:kept").Val()["x:kept"])
	lost, starved := l.Stats()
	require.Zero(t, lost+starved)
	require.GreaterOrEqual(t, acked.Load(), int64(100))
	short, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	require.ErrorIs(t, l.Subscribe(short, 0, "x:new"), context.DeadlineExceeded)
	l.Close()
	require.ErrorIs(t, l.Subscribe(ctx, 0, "x:new"), ErrClosed)
}
