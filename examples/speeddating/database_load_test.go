package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/internal/pgtest"
)

// build gives the server without the race detector, which would be measured
// instead.
func build(t *testing.T) string { return command(t, ".") }

// command builds a program.
func command(t *testing.T, pkg string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "command")
	out, err := exec.Command("go", "build", "-o", binary, pkg).CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// loadtest runs the command of that name, logs what it reports, and asks that
// nothing went wrong.
func loadtest(t *testing.T, url string, args ...string) *load.Report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.Command(command(t, "../loadtest"), append(args, "-url", url, "-json", file)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	t.Log("\n" + string(text))
	require.NoError(t, err)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	report := &load.Report{}
	require.NoError(t, json.Unmarshal(b, report))
	return report
}

// launch starts a server that was built, and gives its URL.
func launch(t *testing.T, binary string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	server := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() }) // killed
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return server, url
}

// platformFigures reads a server's /health.
func platformFigures(url string) (dating.Stats, error) {
	var doc struct{ Platform dating.Stats }
	res, err := http.Get(url + "/health")
	if err != nil {
		return doc.Platform, err
	}
	defer res.Body.Close()
	return doc.Platform, json.NewDecoder(res.Body).Decode(&doc)
}

// sample is how many statements the database had been asked at a moment.
type sample struct {
	at         time.Time
	statements uint64
}

// TestDatabaseLoad lets people use the platform on each database and prints what
// the database was asked. With DATABASE_LOAD=10m in the environment it is a
// thousand people for ten minutes, and what the platform promises of its
// latencies holds for them; else it is the same with fewer people and loose bounds, for
// machines that do other work as well.
func TestDatabaseLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of load")
	}
	ramp, window, args := 5*time.Second, 10*time.Second, []string{"-quiet", "-users", "300", "-pace", "20s", "-call", "3s", "-patience", "1m"}
	long := os.Getenv("DATABASE_LOAD")
	if long != "" {
		var err error
		window, err = time.ParseDuration(long)
		require.NoError(t, err)
		ramp, args = 40*time.Second, []string{"-users", "1000"}
	}
	args = append(args, "-ramp", ramp.String(), "-duration", window.String())
	binary := build(t)
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			db := filepath.Join(t.TempDir(), "load.db")
			if name == "PostgreSQL" {
				db = pgtest.New(t).Database(t)
			}
			_, url := launch(t, binary, "-db", db)
			samples := make(chan [2]sample)
			over := make(chan struct{})
			go func() { // what the database was asked while people came and went
				var first, last sample
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				for began := time.Now(); ; {
					select {
					case <-over:
						samples <- [2]sample{first, last}
						return
					case now := <-tick.C:
						if st, err := platformFigures(url); err == nil && time.Since(began) > ramp+time.Second && now.Sub(began) < ramp+window {
							last = sample{now, st.Store.Statements}
							if first.at.IsZero() {
								first = last
							}
						}
					}
				}
			}()
			report := loadtest(t, url, args...)
			close(over)
			seen := <-samples
			perMinute := float64(seen[1].statements-seen[0].statements) / seen[1].at.Sub(seen[0].at).Minutes()
			st, err := platformFigures(url)
			require.NoError(t, err)
			s := st.Store
			t.Logf("statements: %d in all, %.0f a minute in the window; %d transactions\n"+
				"waits for a connection: %d, %.3f s in all; refused %d, retried %d, faults %d\n"+
				"hits: users %.2f %% of %d, sessions %.2f %% of %d, relations %.2f %% of %d",
				s.Statements, perMinute, s.Transactions, s.Waits, s.WaitSeconds, s.Refused, s.Retries, s.Errors,
				100*st.Users.HitRate, st.Users.Hits+st.Users.Misses, 100*st.Sessions.HitRate, st.Sessions.Hits+st.Sessions.Misses,
				100*st.Relations.HitRate, st.Relations.Hits+st.Relations.Misses)
			require.Zero(t, s.Errors+s.Refused)
			require.GreaterOrEqual(t, st.Users.HitRate, 0.94)
			require.GreaterOrEqual(t, st.Sessions.HitRate, 0.94)
			require.GreaterOrEqual(t, st.Relations.HitRate, 0.94)
			require.LessOrEqual(t, perMinute, 2500.0)
			if long != "" {
				require.LessOrEqual(t, report.QueueRead.P99, 20*time.Millisecond)
				require.LessOrEqual(t, report.Notify.P99, 10*time.Millisecond)
			}
		})
	}
}
