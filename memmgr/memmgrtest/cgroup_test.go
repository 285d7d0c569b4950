//go:build linux

package memmgrtest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerdict(t *testing.T) {
	var dir string
	t.Run("made", func(t *testing.T) {
		cg := New(t, 32<<20)
		dir = cg.Dir()
		out, err := cg.Command("/bin/sh", "-c", "cat /proc/self/cgroup; tail /dev/zero >/dev/null; exit 3").CombinedOutput()
		require.ErrorContains(t, err, "exit status 3", "%s", out)
		require.Contains(t, string(out), "plimsoll-test-", "it runs inside from its first instruction")
		v := cg.Verdict()
		require.EqualValues(t, 32<<20, v.Limit)
		require.EqualValues(t, 1, v.OOMKills, "tail keeps all that it reads until it finds a line: %v", v)
		require.LessOrEqual(t, v.Peak, v.Limit)
		require.Positive(t, v.PeakPinned)
		t.Log(v)
	})
	if dir != "" {
		_, err := os.Stat(dir)
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}
