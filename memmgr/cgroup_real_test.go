package memmgr_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr/memmgrtest"
	"github.com/stretchr/testify/require"
)

// TestMain lets TestArchiveKill run this test binary again as its child.
func TestMain(m *testing.M) {
	if os.Getenv("PLIMSOLL_CHILD") == "archive" {
		os.Exit(childArchive())
	}
	os.Exit(m.Run())
}

// child runs testdata/child in a cgroup and returns what it printed.
func child(t *testing.T, cg *memmgrtest.Cgroup, args ...string) (string, error) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "child")
	out, err := exec.Command("go", "build", "-o", exe, "./testdata/child").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := cg.Command(exe, args...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	return printed.String(), err
}

// TestRealCgroup: what is killed without a ledger lives with one.
func TestRealCgroup(t *testing.T) {
	const limit = 64 << 20
	t.Run("without", func(t *testing.T) {
		cg := memmgrtest.New(t, limit)
		out, err := child(t, cg, "retain")
		v := cg.Verdict()
		t.Log(v)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, out)
		require.Positive(t, v.OOMKills, "the control must be killed, or this test shows nothing")
	})
	t.Run("with", func(t *testing.T) {
		cg := memmgrtest.New(t, limit)
		out, err := child(t, cg, "retain", "ledger")
		require.NoError(t, err, out)
		v := cg.Verdict()
		t.Log(v, strings.TrimSpace(out))
		require.Zero(t, v.OOMKills)
		require.LessOrEqual(t, v.PeakPinned, int64(limit*92/100))
	})
}

// TestLeak: a leak that nothing can reclaim is reported within a second, with
// its site, and Run gives up as configured; the process is neither killed nor
// does it collect all the time.
func TestLeak(t *testing.T) {
	cg := memmgrtest.New(t, 64<<20)
	out, err := child(t, cg, "leak")
	v := cg.Verdict()
	t.Log(v, strings.TrimSpace(out))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	require.Equal(t, 3, exit.ExitCode(), out)
	require.Contains(t, out, "main.grow")
	require.Zero(t, v.OOMKills)
}
