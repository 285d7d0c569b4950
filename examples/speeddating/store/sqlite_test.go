package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store/storetest"
)

func open(t testing.TB, path string) *SQLite {
	t.Helper()
	s, err := OpenSQLite(context.Background(), path, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// small is what a statement may read from end to end: what comes with it, what
// another part of it has found, and, by the names they have in the statements,
// the calls in progress, the servers and the people under review. All else
// grows with people and time.
var small = []string{"json_each", "j", "CONSTANT", "2-ROW", "(subquery", "c", "n", "nodes", "u"}

// The suite, and after it: none of its statements may read a table from end to
// end that is not small.
func TestConformance(t *testing.T) {
	texts := map[string]bool{}
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) dating.Store {
			s := open(t, filepath.Join(t.TempDir(), "a file?#%.db"))
			t.Cleanup(func() { // before the one that closes it
				s.mu.Lock()
				for text := range s.prepared {
					texts[text] = true
				}
				s.mu.Unlock()
				require.NoError(t, s.do(context.Background(), func(x *tx) error {
					for text := range x.stmts {
						texts[text] = true
					}
					return nil
				}))
			})
			return s
		})
	})
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "/") { // which leaves parts of the suite out
		require.Greater(t, len(texts), 35)
	}
	s := open(t, filepath.Join(t.TempDir(), "db"))
	for text := range texts {
		if word, _, _ := strings.Cut(text, " "); strings.Contains("BEGIN COMMIT ROLLBACK SAVEPOINT RELEASE", word) {
			continue
		}
		args := make([]any, strings.Count(text, "?"))
		for i := len(args); i > 0; i-- { // numbered arguments
			if strings.Contains(text, fmt.Sprint("?", i)) {
				args = args[:i]
				break
			}
		}
		rows, err := s.reads.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
		require.NoError(t, err, text)
		for rows.Next() {
			var id, parent, unused int
			var detail string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &detail))
			what, scans := strings.CutPrefix(detail, "SCAN ")
			if name := strings.FieldsFunc(what, func(r rune) bool { return r == ' ' || r == '-' && what[0] == '(' }); scans && !slices.Contains(small, name[0]) {
				t.Errorf("%s\n\treads all: %s", text, detail)
			}
		}
		require.NoError(t, rows.Err())
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := OpenSQLite(t.Context(), "", Options{})
	require.Error(t, err)
	_, err = OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "none", "db"), Options{})
	require.Error(t, err)
	_, err = OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "db"), Options{Queue: -1})
	require.Error(t, err)

	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600))
	_, err = OpenSQLite(t.Context(), text, Options{})
	require.ErrorContains(t, err, "not a database")

	newer := filepath.Join(t.TempDir(), "newer")
	db, err := sql.Open("sqlite", newer)
	require.NoError(t, err)
	_, err = db.Exec("PRAGMA user_version = 99")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = OpenSQLite(t.Context(), newer, Options{})
	require.ErrorContains(t, err, "newer")
}

// A database of the first schema is brought up to date with what is in it.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	first, err := migrations.ReadFile("migrations/sqlite/0001_begin.sql")
	require.NoError(t, err)
	_, err = db.Exec(string(first) + `; INSERT INTO users (id, name, gender, created_at) VALUES ('ann', 'Ann', 'female', 1); PRAGMA user_version = 1`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	s := open(t, path)
	n, err := s.SweepGuests(t.Context(), time.Now(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// Two servers may start at once on one new file, and write to it.
func TestTwoProcessesStartAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var wg sync.WaitGroup
	var stores [4]*SQLite
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = OpenSQLite(context.Background(), path, Options{}); err != nil {
				t.Errorf("open: %v", err)
			}
		})
	}
	wg.Wait()
	for i, s := range stores {
		wg.Go(func() {
			for j := range 20 {
				if err := s.SetCooldown(context.Background(), "a", dating.UserID(fmt.Sprint(i, "-", j)), time.Now().Add(time.Hour)); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		rel, err := s.Relations(context.Background(), "a", time.Now(), 1000)
		require.NoError(t, err)
		require.Len(t, rel.Cooldowns, 80)
		require.NoError(t, s.Close())
	}
}

// What waits is committed together, each write gets its own answer, and a full
// queue refuses at once.
func TestGroupCommit(t *testing.T) {
	s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "db"), Options{Queue: 100})
	require.NoError(t, err)
	ctx := context.Background()
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.do(ctx, func(*tx) error { close(held); <-hold; return nil })
	})
	<-held
	before := s.Stats().Transactions
	var errs [100]error
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.do(ctx, func(t *tx) error {
				if _, err := t.exec(`INSERT INTO cooldowns VALUES (?, 'x', 1)`, fmt.Sprint(i)); err != nil {
					return err
				}
				if i%10 == 3 {
					return dating.ErrBusy
				}
				if i == 50 {
					_, err := t.exec(`INSERT INTO cooldowns VALUES (NULL, 'x', 1)`)
					return err
				}
				return nil
			})
		})
	}
	require.Eventually(t, func() bool { return len(s.queue) == 100 }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, s.SetCooldown(ctx, "a", "b", time.Now()), ErrFull)
	close(hold)
	wg.Wait()
	failed := 0
	for i, err := range errs {
		switch {
		case i%10 == 3:
			require.ErrorIs(t, err, dating.ErrBusy)
		case i == 50:
			require.ErrorContains(t, err, "NOT NULL")
			failed++
		default:
			require.NoError(t, err)
		}
	}
	var rows int
	require.NoError(t, s.row(ctx, `SELECT count(*) FROM cooldowns`, nil, &rows))
	require.Equal(t, 89, rows)
	t.Logf("100 writes, one of them broken: %d transactions", s.Stats().Transactions-before)
	require.Less(t, s.Stats().Transactions-before, uint64(80))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.SetCooldown(ctx, "a", "b", time.Now()), ErrClosed)
	require.EqualValues(t, 1, s.Stats().Refused)
}

// A child starts calls and ends every second of them; it is killed with -9 in
// the middle. What it said was written is there, in pairs, and nothing is
// doubled or half there.
func TestKill9(t *testing.T) {
	if path := os.Getenv("STORE_TEST_CHILD"); path != "" {
		child(path)
		return
	}
	for round := range 3 {
		path := filepath.Join(t.TempDir(), "db")
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill9$")
		cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		started, ended := map[string]bool{}, map[string]bool{}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, room, ok := strings.Cut(lines.Text(), " ")
			if !ok {
				continue
			}
			started[room] = true
			if what == "ended" {
				ended[room] = true
			}
			if len(ended) == 20+10*round {
				require.NoError(t, cmd.Process.Kill())
				break
			}
		}
		for lines.Scan() { // what it still got out
			if what, room, ok := strings.Cut(lines.Text(), " "); ok {
				started[room] = true
				if what == "ended" {
					ended[room] = true
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()

		s := open(t, path)
		ctx := context.Background()
		open, err := s.Orphans(ctx, "n1", "next", time.Now(), 1000)
		require.NoError(t, err)
		running := map[string]bool{}
		for _, o := range open {
			running[o.RoomID] = true
			require.False(t, ended[o.RoomID], "%s was ended and runs", o.RoomID)
			_, err := s.EndCall(ctx, dating.EndedCall{Call: o.Call, EndedAt: o.StartedAt.Add(time.Minute), Counts: true, Reason: "restart", Cooldown: time.Now().Add(time.Hour)})
			require.NoError(t, err)
		}
		for room := range started {
			n := 0
			for _, id := range []dating.UserID{dating.UserID(room + "-a"), dating.UserID(room + "-b")} {
				list, _, err := s.History(ctx, id, dating.HistoryKey{}, 10, 1<<20)
				require.NoError(t, err)
				n += len(list)
			}
			require.Equal(t, 2, n, "histories of %s (ended %v, running %v)", room, ended[room], running[room])
		}
		var check string
		require.NoError(t, s.row(ctx, "PRAGMA integrity_check", nil, &check))
		require.Equal(t, "ok", check)
		var busy int
		require.NoError(t, s.row(ctx, "SELECT count(*) FROM call_members", nil, &busy))
		require.Zero(t, busy)
		t.Logf("killed after %d ends: %d calls were open, all %d are in both histories", len(ended), len(open), len(started))
	}
}

func child(path string) {
	s, err := OpenSQLite(context.Background(), path, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, now := context.Background(), time.Now()
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				room := fmt.Sprintf("n1.%d-%d", w, i)
				c := dating.Call{RoomID: room, Node: "n1", Incarnation: "i", Members: [2]dating.UserID{dating.UserID(room + "-a"), dating.UserID(room + "-b")},
					AgreedSeconds: 60, StartedAt: now, EndsAt: now.Add(time.Minute)}
				var errs []error
				for _, id := range c.Members {
					errs = append(errs, s.CreateGuest(ctx, dating.User{ID: id, Name: "P", Gender: "male"}, dating.Session{Hash: dating.TokenHash(fmt.Appendf(nil, "%-32s", id)[:32]), User: id}, nil))
				}
				errs = append(errs, s.StartCall(ctx, c))
				fmt.Println("started", room)
				if i%2 == 0 {
					_, err := s.EndCall(ctx, dating.EndedCall{Call: c, EndedAt: now.Add(time.Minute), Counts: true, Reason: "ended", Cooldown: now.Add(time.Hour)})
					errs = append(errs, err)
					fmt.Println("ended", room)
				}
				if err := errors.Join(errs...); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// Deleting a row looks for those that refer to it: without an index on each
// reference that would read whole tables.
func TestReferencesHaveAnIndex(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	var missing []string
	err := s.rows(t.Context(), `SELECT m.name || '.' || f."from" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
		WHERE m.type = 'table' AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i
			WHERE i.seqno = 0 AND i.name = f."from")`, nil, func(r scanner) error {
		missing = append(missing, "")
		return r.Scan(&missing[len(missing)-1])
	})
	require.NoError(t, err)
	require.Empty(t, missing)
}
