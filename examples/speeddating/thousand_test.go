package main

import (
	"bufio"
	"os/exec"
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
	// Without the race detector, which would be measured instead.
	binary := filepath.Join(t.TempDir(), "speeddating")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	server := exec.Command(binary, "-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "thousand.db"))
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() }) // killed
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)

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
