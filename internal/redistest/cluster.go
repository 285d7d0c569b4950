package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots is how many a Redis Cluster has.
const slots = 16384

// Cluster is a Redis Cluster of three masters without replicas. Its methods are
// for one goroutine at a time; they fail the test of their t.
type Cluster struct {
	Servers []*Server
	ids     []string
}

// NewCluster starts one: about two seconds.
func NewCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	ctx := context.Background()
	c := &Cluster{}
	for i := range 3 {
		s := New(t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "5000"}, args...)...)
		c.Servers = append(c.Servers, s)
		rdb := s.Client(t)
		id, err := rdb.Do(ctx, "CLUSTER", "MYID").Text()
		check(t, err)
		c.ids = append(c.ids, id)
		check(t, rdb.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		check(t, rdb.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
		if i > 0 {
			check(t, rdb.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(c.Servers[0].port)).Err())
		}
	}
	c.settle(t)
	return c
}

// settle waits until every server knows the whole cluster.
func (c *Cluster) settle(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	for _, s := range c.Servers {
		rdb := s.Client(t)
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			info, err := rdb.ClusterInfo(ctx).Result()
			check(t, err)
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_size:3") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("redistest: no cluster after %v:\n%s", patience, info)
			}
		}
	}
}

// Addrs are the addresses of the servers.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.Addr())
	}
	return out
}

// Client returns a new client, which is closed when t ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// Owner returns which of Servers has a slot.
func (c *Cluster) Owner(t testing.TB, slot int) int {
	t.Helper()
	all, err := c.Servers[0].Client(t).ClusterSlots(context.Background()).Result()
	check(t, err)
	for _, r := range all {
		if r.Start <= slot && slot <= r.End {
			for i, s := range c.Servers {
				if r.Nodes[0].Addr == s.Addr() {
					return i
				}
			}
		}
	}
	t.Fatalf("redistest: nobody has slot %d", slot)
	return 0
}

// Move moves a slot, with its keys, to another of Servers, as redis-cli
// --cluster reshard does.
func (c *Cluster) Move(t testing.TB, slot, to int) {
	t.Helper()
	ctx := context.Background()
	from := c.Owner(t, slot)
	if from == to {
		return
	}
	source, target := c.Servers[from].Client(t), c.Servers[to].Client(t)
	check(t, target.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from]).Err())
	check(t, source.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to]).Err())
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, slot, 100).Result()
		check(t, err)
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", "127.0.0.1", c.Servers[to].port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		check(t, source.Do(ctx, args...).Err())
	}
	check(t, target.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]).Err())
	check(t, source.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]).Err())
	for i, s := range c.Servers {
		if i != from && i != to {
			check(t, s.Client(t).Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]).Err())
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal("redistest: ", err)
	}
}
