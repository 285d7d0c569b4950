package redisstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/internal/redistest"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/presencetest"
	"github.com/plimsoll-go/plimsoll/presence/redisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func open(t testing.TB, rdb redis.UniversalClient, change ...func(*redisstore.Options)) *redisstore.Store {
	t.Helper()
	var o redisstore.Options
	for _, f := range change {
		f(&o)
	}
	s, err := redisstore.New(rdb, o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func prefix(n *int) func(*redisstore.Options) {
	*n++
	return func(o *redisstore.Options) { o.Prefix = fmt.Sprint("test", *n) }
}

func TestStore(t *testing.T) {
	rdb := redistest.New(t).Client(t)
	n := 0
	presencetest.TestStore(t, func(t *testing.T) presence.Store { return open(t, rdb, prefix(&n)) })
}

func TestStoreInCluster(t *testing.T) {
	rdb := redistest.NewCluster(t).Client(t)
	n := 0
	presencetest.TestStore(t, func(t *testing.T) presence.Store { return open(t, rdb, prefix(&n)) })
}

func TestOptions(t *testing.T) {
	_, err := redisstore.New(redis.NewClient(&redis.Options{}), redisstore.Options{Prefix: "{", Partitions: -1, MaxLog: -1, Retain: time.Millisecond, Probe: 1})
	for _, want := range []string{"ContextTimeoutEnabled", "Prefix", "Partitions", "MaxLog", "Retain", "Probe"} {
		require.ErrorContains(t, err, want)
	}
}
