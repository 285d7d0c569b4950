package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/internal/pgtest"
	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// ledger is what a platform has acknowledged to its people.
type ledger struct {
	mu       sync.Mutex
	users    []string
	ended    []string // rooms whose call:end was answered with ok after 5 s and more
	started  int
	refused  map[string]int // evenings that ended early, by what was answered
	slowest  time.Duration
	attempts int
}

// couple lets two newcomers meet at url, talk, and end it, again and again, and
// writes down what was acknowledged. Whatever fails, they begin anew.
func (l *ledger) couple(ctx context.Context, url string) {
	for ctx.Err() == nil {
		if err := l.evening(ctx, url); err != nil {
			l.mu.Lock()
			if l.refused == nil {
				l.refused = map[string]int{}
			}
			l.refused[err.Error()]++
			l.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	}
}

// newcomer signs up and connects. heard gets what the server tells.
func (l *ledger) newcomer(ctx context.Context, url string, heard func(sigclient.Message)) (id string, c *sigclient.Client, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/auth/guest", strings.NewReader(`{"name":"P","gender":"male"}`))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	var got struct{ UserID, SessionToken string }
	err = json.NewDecoder(res.Body).Decode(&got)
	l.mu.Lock()
	l.attempts++
	l.slowest = max(l.slowest, time.Since(began))
	if res.StatusCode == http.StatusCreated && err == nil {
		l.users = append(l.users, got.UserID)
	}
	l.mu.Unlock()
	switch res.StatusCode {
	case http.StatusCreated:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return "", nil, fmt.Errorf("sign-up: %d", res.StatusCode)
	default:
		panic(fmt.Sprint("sign-up: ", res.StatusCode)) // neither done nor refused
	}
	c, err = sigclient.Dial(ctx, sigclient.Options{
		URL: url + "/ws", Header: http.Header{"Authorization": {"Bearer " + got.SessionToken}, "Origin": {url}},
		OnMessage: heard,
	})
	return got.UserID, c, err
}

func (l *ledger) evening(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	invited := make(chan string, 1)
	_, a, err := l.newcomer(ctx, url, func(sigclient.Message) {})
	if err != nil {
		return err
	}
	defer a.Close()
	other, b, err := l.newcomer(ctx, url, func(m sigclient.Message) {
		if m.Type == "call:notify" {
			var in struct{ InviteID string }
			_ = json.Unmarshal(m.Data, &in)
			select {
			case invited <- in.InviteID:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Request(ctx, "queue:join", nil, nil); err != nil {
		return err
	}
	if err := a.Request(ctx, "call:invite", object{"toUserId": other, "requestedSeconds": 60}, nil); err != nil {
		return err
	}
	var invite string
	select {
	case <-ctx.Done():
		return ctx.Err()
	case invite = <-invited:
	}
	var start struct{ RoomID string }
	if err := b.Request(ctx, "call:accept", object{"inviteId": invite, "requestedSeconds": 60}, &start); err != nil {
		return err
	}
	l.mu.Lock()
	l.started++
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5100 * time.Millisecond): // it counts
	}
	if err := a.Request(ctx, "call:end", object{"roomId": start.RoomID}, nil); err != nil {
		return err
	}
	l.mu.Lock()
	l.ended = append(l.ended, start.RoomID)
	l.mu.Unlock()
	return nil
}

// couples lets so many of them begin, until ctx ends.
func (l *ledger) couples(ctx context.Context, n int, url string) *sync.WaitGroup {
	var people sync.WaitGroup
	for range n {
		people.Go(func() { l.couple(ctx, url) })
	}
	return &people
}

// notReady waits until the server says that its database is away.
func notReady(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		res, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusServiceUnavailable
	}, 10*time.Second, 50*time.Millisecond, "it is still ready")
}

// readyWithin waits until the server is ready and gives how long that took.
func readyWithin(t *testing.T, url string, most time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		res, err := http.Get(url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return time.Since(began)
			}
		}
		if time.Since(began) > most {
			t.Fatalf("not ready after %v", most)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// check compares what was acknowledged with what is in the database, which ask
// asks: rows by lines, columns by |.
func (l *ledger) check(t *testing.T, ask func(query string) string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("acknowledged: %d guests, %d starts, %d ends; refused or cut off: %v; the slowest answer to a sign-up took %v",
		len(l.users), l.started, len(l.ended), l.refused, l.slowest.Round(time.Millisecond))
	require.NotEmpty(t, l.ended)
	require.Less(t, l.slowest, 10*time.Second)
	list := func(items []string) string { return "'" + strings.Join(items, "','") + "'" }
	require.Equal(t, fmt.Sprint(len(l.users)), ask("SELECT count(*) FROM users WHERE id IN ("+list(l.users)+")"), "guests that were acknowledged")
	require.Equal(t, fmt.Sprint(2*len(l.ended)), ask("SELECT count(*) FROM histories WHERE room_id IN ("+list(l.ended)+")"), "histories of ends that were acknowledged")
	whole(t, ask)
	require.Eventually(t, func() bool { return ask("SELECT count(*) FROM call_members") == "0" }, 30*time.Second, 200*time.Millisecond, "nobody is busy for ever")
}

// whole checks what holds in any database of the platform.
func whole(t *testing.T, ask func(query string) string) {
	t.Helper()
	require.Empty(t, ask("SELECT room_id FROM histories GROUP BY room_id HAVING count(*) <> 2"), "histories come in pairs")
	require.Empty(t, ask(`SELECT h.room_id FROM histories h LEFT JOIN histories o ON o.room_id = h.room_id AND o.user_id = h.other_id AND o.other_id = h.user_id
		WHERE o.room_id IS NULL`), "of the two sides")
	require.Empty(t, ask(`SELECT id FROM users u WHERE calls <> (SELECT count(*) FROM histories h WHERE h.user_id = u.id)
		OR talk_seconds <> (SELECT coalesce(sum(seconds), 0) FROM histories h WHERE h.user_id = u.id)`), "totals count each call once")
	require.Empty(t, ask(`SELECT h.room_id FROM histories h WHERE NOT EXISTS
		(SELECT 1 FROM cooldowns c WHERE c.user_id = h.user_id AND c.other_id = h.other_id)`), "who has met is kept apart")
}

// sqliteFile asks a file.
func sqliteFile(t *testing.T, path string) func(string) string {
	return func(query string) string {
		db, err := sql.Open("sqlite", "file:"+path)
		require.NoError(t, err)
		defer db.Close()
		rows, err := db.Query(query)
		require.NoError(t, err)
		defer rows.Close()
		var lines []string
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			lines = append(lines, line)
		}
		require.NoError(t, rows.Err())
		return strings.Join(lines, "\n")
	}
}

// TestDatabaseFaults runs people on a server in a process of its own, and
// crashes its database five times, or the server itself.
func TestDatabaseFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of crashes")
	}
	binary := build(t)
	for _, victim := range []string{"PostgreSQL", "server"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			srv := pgtest.Private(t)
			db := srv.Database(t)
			port := freeAddr(t)
			url := "http://" + port
			server, _ := launch(t, binary, "-addr", port, "-db", db)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var book ledger
			people := book.couples(ctx, 25, url)
			for round := range 5 {
				time.Sleep(6500 * time.Millisecond)
				if victim == "server" {
					require.NoError(t, server.Process.Signal(syscall.SIGKILL))
					_ = server.Wait() // killed
					server, _ = launch(t, binary, "-addr", port, "-db", db)
				} else {
					srv.Stop(t, "immediate")
					notReady(t, url)
					srv.Start(t)
				}
				t.Logf("crash %d: ready after %v", round+1, readyWithin(t, url, 5*time.Second).Round(time.Millisecond))
			}
			time.Sleep(6500 * time.Millisecond)
			cancel()
			people.Wait()
			if victim == "PostgreSQL" {
				st, err := platformFigures(url)
				require.NoError(t, err)
				t.Logf("the store: %d faults, %d tried again, %d refused, %d orphans", st.Store.Errors, st.Store.Retries, st.Store.Refused, st.Orphans)
			}
			require.NoError(t, stopped(server))
			launch(t, binary, "-addr", port, "-db", db)
			readyWithin(t, url, 5*time.Second)
			book.check(t, func(query string) string { return srv.SQL(t, db, query) })
		})
	}
}

// TestDiskFull fills the disk under a server with SQLite, three times.
func TestDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of crashes")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", dir).CombinedOutput(); err != nil {
		missing := fmt.Sprintf("NO SMALL DISK: only root may mount one: %v: %s", err, out)
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	t.Cleanup(func() {
		out, err := exec.Command("umount", dir).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	db, ballast, addr := filepath.Join(dir, "full.db"), filepath.Join(dir, "ballast"), freeAddr(t)
	url := "http://" + addr
	server, _ := launch(t, build(t), "-addr", addr, "-db", db)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var book ledger
	people := book.couples(ctx, 25, url)
	for round := range 3 {
		time.Sleep(6500 * time.Millisecond)
		f, err := os.Create(ballast)
		require.NoError(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, f.Close())
		notReady(t, url)
		time.Sleep(time.Second)
		require.NoError(t, os.Remove(ballast))
		t.Logf("full %d: ready after %v", round+1, readyWithin(t, url, 5*time.Second).Round(time.Millisecond))
	}
	time.Sleep(6500 * time.Millisecond)
	cancel()
	people.Wait()
	require.NoError(t, stopped(server))
	ask := sqliteFile(t, db)
	require.Equal(t, "ok", ask("PRAGMA integrity_check"))
	book.check(t, ask)
}

// TestBackup copies each database while people use it, and lets a server start
// on the copy.
func TestBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of load")
	}
	binary := build(t)
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, restored := filepath.Join(dir, "live.db"), filepath.Join(dir, "copy.db")
			ask := sqliteFile(t, restored)
			var srv *pgtest.Server
			if name == "PostgreSQL" {
				srv = pgtest.New(t)
				db, restored = srv.Database(t), srv.Database(t)
				ask = func(query string) string { return srv.SQL(t, restored, query) }
			}
			server, url := launch(t, binary, "-db", db)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var book ledger
			people := book.couples(ctx, 10, url)
			time.Sleep(8 * time.Second)
			book.mu.Lock()
			ended := len(book.ended)
			before := ledger{users: slices.Clone(book.users), ended: slices.Clone(book.ended), started: book.started}
			book.mu.Unlock()
			if srv == nil {
				out, err := exec.Command(binary, "-db", db, "-backup", restored).CombinedOutput()
				require.NoError(t, err, string(out))
				require.Error(t, exec.Command(binary, "-db", db, "-backup", restored).Run(), "a copy is not overwritten")
			} else {
				file := filepath.Join(dir, "dump")
				srv.Run(t, "pg_dump", "--format=custom", "--file", file, "--dbname", db)
				srv.Run(t, "pg_restore", "--exit-on-error", "--no-owner", "--dbname", restored, file)
			}
			cancel()
			people.Wait()
			require.NoError(t, stopped(server))
			require.NotZero(t, ended)
			// The calls that were open when the copy was made are finished on it.
			server, url = launch(t, binary, "-db", restored)
			readyWithin(t, url, 5*time.Second)
			require.NoError(t, stopped(server))
			before.check(t, ask)
		})
	}
}

// stopped ends a server in peace.
func stopped(server *exec.Cmd) error {
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return server.Wait()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
