package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
)

// TestThousand lets a thousand people use the platform for a while: in the
// queue, reading it every 15 s, and in a call about once a minute. It prints
// what the server needed. The service that it replaces needed 540 to 560 MB for
// the sockets alone, and could not serve the rest of this load at all.
func TestThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load")
	}
	server, url := launch(t, build(t), "-db", filepath.Join(t.TempDir(), "thousand.db"))
	report, err := load.Run(t.Context(), load.Options{
		URL: url, Users: 1000, Ramp: 25 * time.Second, Duration: 30 * time.Second, PID: server.Process.Pid,
		Patience: time.Minute, // the load and other tests share the machine
	})
	require.NoError(t, err)
	var text strings.Builder
	require.NoError(t, report.WriteText(&text))
	t.Log("\n" + text.String())
	require.EqualValues(t, 1000, report.Connected)
	require.True(t, report.OK(), "%+v", report.Errors)
	require.LessOrEqual(t, report.Server.RSSPeak, int64(64<<20), "bytes of RSS at the peak")
}
