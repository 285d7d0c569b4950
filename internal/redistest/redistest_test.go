package redistest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func TestServer(t *testing.T) {
	for _, keeps := range []string{"no", "yes"} {
		s := New(t, "--appendonly", keeps)
		rdb := s.Client(t)
		require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
		s.Restart(t)
		n, err := rdb.Exists(ctx, "k").Result()
		require.NoError(t, err)
		require.Equal(t, keeps == "yes", n == 1)
	}
}

func TestPause(t *testing.T) {
	s := New(t)
	rdb := s.Client(t)
	s.Pause(t)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	require.Error(t, rdb.Do(short, "PING").Err())
	s.Resume(t)
	require.NoError(t, rdb.Ping(ctx).Err())
}

func TestCluster(t *testing.T) {
	c := NewCluster(t)
	rdb := c.Client(t)
	require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
	slot := int(rdb.ClusterKeySlot(ctx, "k").Val())
	for i := range c.Servers {
		c.Move(t, slot, i)
		require.Equal(t, i, c.Owner(t, slot))
		require.Equal(t, "v", rdb.Get(ctx, "k").Val())
		require.Equal(t, "v", c.Servers[i].Client(t).Get(ctx, "k").Val())
	}
}

// Without a server a user's test is skipped and says why; CI fails.
func TestMissing(t *testing.T) {
	if os.Getenv("REDISTEST_CHILD") != "" {
		program(t, "no-such-program")
		return
	}
	for ci, want := range map[string]string{"": "--- SKIP", "true": "--- FAIL"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMissing$", "-test.v")
		cmd.Env = append(os.Environ(), "REDISTEST_CHILD=1", "CI="+ci)
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), want)
		require.Contains(t, string(out), "apt-get install redis-server")
	}
}
