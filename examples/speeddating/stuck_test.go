package main

import (
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

// TestGiveUp: a leak that nothing can reclaim ends the process as configured,
// after a drain, and the error says where the memory is. It is not parallel: the
// limit is the whole process's.
func TestGiveUp(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	leak := make([]byte, 80<<20)
	for i := range leak {
		leak[i] = 1
	}
	begin := time.Now()
	err := run(t.Context(), []string{
		"-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "stuck.db"), "-log-level", "error",
		"-memory-limit", "64MiB", "-give-up-after", "200ms", "-drain", "100ms",
	}, func(string) string { return "" }, t.Output(), t.Output())
	runtime.KeepAlive(leak)
	require.ErrorIs(t, err, memmgr.ErrStuck)
	var stuck *memmgr.StuckError
	require.ErrorAs(t, err, &stuck)
	require.Greater(t, stuck.Report.Unaccounted, int64(50<<20), "no account holds it")
	t.Logf("%v after its start: %v", time.Since(begin).Round(time.Millisecond), err)
}
