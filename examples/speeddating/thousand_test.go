package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThousand lets a thousand people use the platform for a while: in the
// queue, reading it every 15 s, and in a call about once a minute. It prints
// what the server needed. The service that it replaces needed 540 to 560 MB for
// the sockets alone, and could not serve the rest of this load at all.
func TestThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load")
	}
	_, url := launch(t, build(t), "-db", filepath.Join(t.TempDir(), "thousand.db"))
	report := loadtest(t, url, "-quiet", "-users", "1000", "-ramp", "15s", "-duration", "25s",
		"-patience", "1m") // other tests share the machine
	require.EqualValues(t, 1000, report.Connected)
	require.LessOrEqual(t, report.Server.RSSPeak, int64(80<<20), "bytes of RSS at the peak")
}
