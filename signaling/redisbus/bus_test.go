package redisbus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/redisbus"
	"github.com/plimsoll-go/plimsoll/signaling/signalingtest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

const (
	soon = 20 * time.Second
	tick = 5 * time.Millisecond
)

func options() redisbus.Options {
	return redisbus.Options{MaxMessages: 1000, MaxMessageBytes: 64 << 10, MaxPending: 10_000, MaxPendingBytes: 16 << 20}
}

func open(t testing.TB, rdb redis.UniversalClient, change ...func(*redisbus.Options)) *redisbus.Bus {
	t.Helper()
	o := options()
	for _, f := range change {
		f(&o)
	}
	b, err := redisbus.New(rdb, o)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func TestBus(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	n := 0
	signalingtest.TestBus(t, func(t *testing.T) signaling.Bus {
		n++
		return open(t, rdb, func(o *redisbus.Options) { o.Prefix = fmt.Sprint("test", n) })
	})
}

func TestBusInCluster(t *testing.T) {
	rdb := redistest.NewCluster(t).Client(t)
	n := 0
	signalingtest.TestBus(t, func(t *testing.T) signaling.Bus {
		n++
		return open(t, rdb, func(o *redisbus.Options) { o.Prefix = fmt.Sprint("test", n) })
	})
}

func TestOptions(t *testing.T) {
	_, err := redisbus.New(redis.NewClient(&redis.Options{}), redisbus.Options{Prefix: "{", Partitions: -1, Retain: time.Millisecond, Probe: 1})
	for _, want := range []string{"ContextTimeoutEnabled", "Prefix", "MaxMessages", "MaxMessageBytes", "MaxPending", "MaxPendingBytes", "Partitions", "Retain", "Probe"} {
		require.ErrorContains(t, err, want)
	}
}
