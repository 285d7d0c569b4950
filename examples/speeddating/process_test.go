package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the server, in a process of its own that
// can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("SPEEDDATING_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is the platform in a process of its own.
type process struct {
	*exec.Cmd
	url string
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0", "-drain", "200ms"}, args...)...)
	cmd.Env = append(os.Environ(), "SPEEDDATING_CHILD=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return &process{cmd, url}
}

// TestKill9 kills the server in the middle of 20 calls. After a restart on the
// same database each is in both histories exactly once, and nobody is busy.
func TestKill9(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "kill.db")
	server := startProcess(t, "-db", db)
	const pairs = 20
	var people [pairs][2]*visitor
	var rooms [pairs]string
	for i := range pairs {
		people[i] = [2]*visitor{signUp(t, server.url, fmt.Sprint("a", i)), signUp(t, server.url, fmt.Sprint("b", i))}
		a, b := people[i][0].open(), people[i][1].open()
		rooms[i] = meet(t, a, b, 60)
		a.must("room:chat", object{"roomId": rooms[i], "text": "before the crash"})
	}
	time.Sleep(6500 * time.Millisecond) // a call counts from 5 s on, as the last beat tells it
	require.NoError(t, server.Process.Signal(syscall.SIGKILL))
	_ = server.Wait() // killed

	server = startProcess(t, "-db", db)
	for i := range pairs {
		for _, v := range people[i] {
			v.base = server.url
			var entries []any
			require.Eventually(t, func() bool {
				entries = v.mustDo("GET", "/room/history", nil, http.StatusOK)["calls"].([]any)
				return len(entries) > 0
			}, patience, 100*time.Millisecond)
			require.Len(t, entries, 1)
			entry := entries[0].(object)
			require.Equal(t, rooms[i], entry["roomId"])
			require.GreaterOrEqual(t, entry["durationSeconds"], 5.0)
			require.Len(t, entry["chat"], 1)
			me := v.mustDo("GET", "/user/me", nil, http.StatusOK)
			require.EqualValues(t, 1, me["metrics"].(object)["calls"])
		}
	}
	// Nobody is busy: those who met before are in cooldown, so they meet others.
	for i := 0; i < pairs; i += 2 {
		a, b := people[i][0].open(), people[i+1][1].open()
		meet(t, a, b, 60)
	}
}

// TestTerm sends SIGTERM in the middle of a call and of an invitation: the
// browsers are told before their sockets close, and the process exits with 0.
// After a restart on the same database the call is in both histories, and
// nobody is kept apart for the server's sake.
func TestTerm(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "term.db")
	server := startProcess(t, "-db", db)
	var people [4]*visitor
	var tabs [4]*tab
	for i := range people {
		people[i] = signUp(t, server.url, fmt.Sprint("P", i))
		tabs[i] = people[i].open()
	}
	room := meet(t, tabs[0], tabs[1], 60)
	time.Sleep(5500 * time.Millisecond) // a call counts from 5 s on
	tabs[2].must("queue:join", nil)
	tabs[3].must("queue:join", nil)
	tabs[2].must("call:invite", object{"toUserId": people[3].ID, "requestedSeconds": 60})
	tabs[3].expect("call:notify")
	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	for i, side := range tabs {
		require.Contains(t, []int{1001, 1012}, side.closed())
		var end object
		if i < 2 {
			end = side.expect("session:finalized")
			require.Equal(t, room, end["roomId"])
		} else {
			end = side.expect("call:expired")
			require.False(t, side.seen("call:rescinded"))
		}
		require.Equal(t, "restart", end["reason"])
	}
	require.NoError(t, server.Wait(), "exit status 0")

	server = startProcess(t, "-db", db)
	for _, v := range people {
		v.base = server.url
	}
	for _, v := range people[:2] {
		entries := v.mustDo("GET", "/room/history", nil, http.StatusOK)["calls"].([]any)
		require.Len(t, entries, 1)
		require.Equal(t, "restart", entries[0].(object)["reason"])
	}
	meet(t, people[2].open(), people[3].open(), 60) // no cooldown
}
