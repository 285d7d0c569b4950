package memmgr

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/memmgr/memmgrtest"
)

// limitedRoot is a root in which this process seems to be in a memory cgroup
// with a limit. The files are the kernel's.
func limitedRoot(b testing.TB) string {
	cg := memmgrtest.New(b, 1<<30)
	own, err := findCgroup("/")
	require.NoError(b, err)
	self, mounts := "4:memory:", mountsV1
	if own.version == 2 {
		self, mounts = "0::", mountsV2
	}
	point := strings.Fields(mounts)[4]
	root := b.TempDir()
	for _, dir := range []string{"proc/self", filepath.Dir(point)} {
		require.NoError(b, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(b, os.WriteFile(filepath.Join(root, "proc/self/cgroup"), []byte(self+"/own\n"), 0o644))
	require.NoError(b, os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), []byte(mounts), 0o644))
	require.NoError(b, os.MkdirAll(filepath.Join(root, point), 0o755))
	require.NoError(b, os.Symlink(cg.Dir(), filepath.Join(root, point, "own")))
	require.NoError(b, os.Symlink("/proc/net", filepath.Join(root, "proc/net")))
	require.NoError(b, os.Symlink("/proc/self/statm", filepath.Join(root, "proc/self/statm")))
	return root
}
