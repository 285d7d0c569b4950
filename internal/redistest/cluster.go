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
	rdb     []*redis.Client // of each
	ids     []string
}

// NewCluster starts one: about two seconds.
func NewCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	ctx := context.Background()
	c := &Cluster{}
	for i := range 3 {
		s := New(t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "5000"}, args...)...)
		rdb := s.Client(t)
		c.Servers, c.rdb = append(c.Servers, s), append(c.rdb, rdb)
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
	for _, rdb := range c.rdb {
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

// Slot returns the slot of a key.
func (c *Cluster) Slot(t testing.TB, key string) int {
	t.Helper()
	slot, err := c.rdb[0].ClusterKeySlot(context.Background(), key).Result()
	check(t, err)
	return int(slot)
}

// Owner returns which of Servers has a slot.
func (c *Cluster) Owner(t testing.TB, slot int) int {
	t.Helper()
	return c.ownerAt(t, 0, slot)
}

// ownerAt is what server i takes for the owner of a slot.
func (c *Cluster) ownerAt(t testing.TB, i, slot int) int {
	t.Helper()
	all, err := c.rdb[i].ClusterSlots(context.Background()).Result()
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
	source, target := c.rdb[from], c.rdb[to]
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
	check(t, c.rdb[3-from-to].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]).Err())
	for end := time.Now().Add(patience); !c.agree(t, slot, to); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("redistest: the servers do not agree on who has slot %d", slot)
		}
	}
}

// agree reports whether every server has heard who has a slot, and of the
// latest epoch: a server that has not could take its own next slot under an old
// one, and lose it to a word of its former owner that comes late.
func (c *Cluster) agree(t testing.TB, slot, owner int) bool {
	t.Helper()
	var epochs []string
	for i, rdb := range c.rdb {
		if c.ownerAt(t, i, slot) != owner {
			return false
		}
		info, err := rdb.ClusterInfo(context.Background()).Result()
		check(t, err)
		_, after, _ := strings.Cut(info, "cluster_current_epoch:")
		epoch, _, _ := strings.Cut(after, "\r\n")
		epochs = append(epochs, epoch)
	}
	return epochs[0] == epochs[1] && epochs[1] == epochs[2]
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal("redistest: ", err)
	}
}
