package memmgr_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// version is one state of one row: a row that changes after it was selected
// must not be deleted in its new state.
type version struct{ id, rev int64 }

type row struct {
	version
	body string
}

func openDB(file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`
		CREATE TABLE IF NOT EXISTS live (id INTEGER PRIMARY KEY, rev INTEGER NOT NULL, body TEXT NOT NULL);
		CREATE TABLE IF NOT EXISTS archive (id INTEGER NOT NULL, rev INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (id, rev));
		CREATE TABLE IF NOT EXISTS made (id INTEGER PRIMARY KEY, rev INTEGER NOT NULL);`)
	return db, err
}

// keyList is (?,?),(?,?)… and its arguments.
func keyList(keys []version) (string, []any) {
	var args []any
	for _, k := range keys {
		args = append(args, k.id, k.rev)
	}
	return strings.TrimSuffix(strings.Repeat("(?,?),", len(keys)), ","), args
}

// newRowArchive moves rows of db; step is called between the statements.
func newRowArchive(db *sql.DB, step func()) (*memmgr.Archive[version, row], error) {
	return memmgr.NewArchive(memmgr.ArchiveOptions[version, row]{
		Batch: 20,
		Key:   func(r row) version { return r.version },
		Select: func(ctx context.Context, limit int) ([]row, error) {
			defer step()
			rows, err := db.QueryContext(ctx, `SELECT id, rev, body FROM live ORDER BY id LIMIT ?`, limit)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var out []row
			for rows.Next() {
				var r row
				if err := rows.Scan(&r.id, &r.rev, &r.body); err != nil {
					return nil, err
				}
				out = append(out, r)
			}
			return out, rows.Err()
		},
		Store: func(ctx context.Context, batch []row) error {
			// One statement a row, so that a batch can be cut in two.
			for _, r := range batch {
				step()
				if _, err := db.ExecContext(ctx, `INSERT INTO archive VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, r.id, r.rev, r.body); err != nil {
					return err
				}
			}
			step()
			return nil
		},
		Confirm: func(ctx context.Context, keys []version) ([]version, error) {
			defer step()
			in, args := keyList(keys)
			rows, err := db.QueryContext(ctx, `SELECT id, rev FROM archive WHERE (id, rev) IN (VALUES `+in+`)`, args...)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var out []version
			for rows.Next() {
				var k version
				if err := rows.Scan(&k.id, &k.rev); err != nil {
					return nil, err
				}
				out = append(out, k)
			}
			return out, rows.Err()
		},
		Delete: func(ctx context.Context, c memmgr.Confirmed[version]) (int, error) {
			n := 0
			for k := range c.All() {
				step()
				res, err := db.ExecContext(ctx, `DELETE FROM live WHERE id = ? AND rev = ?`, k.id, k.rev)
				if err != nil {
					return n, err
				}
				d, _ := res.RowsAffected()
				n += int(d)
			}
			return n, nil
		},
	})
}

// childArchive adds rows, changes some and archives, until it is killed. With
// KILL_AT it kills itself at that step.
func childArchive() int {
	killAt, _ := strconv.Atoi(os.Getenv("KILL_AT"))
	db, err := openDB(os.Getenv("DB"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n := 0
	step := func() {
		if n++; n == killAt {
			self, _ := os.FindProcess(os.Getpid())
			self.Kill()
			time.Sleep(time.Minute)
		}
		if n%13 == 0 { // somebody changes a row behind the archive's back
			tx, err := db.Begin()
			if err != nil {
				return
			}
			var id, rev int64
			if tx.QueryRow(`SELECT id, rev FROM live ORDER BY random() LIMIT 1`).Scan(&id, &rev) == nil {
				tx.Exec(`UPDATE live SET rev = ?, body = ? WHERE id = ?`, rev+1, body(id, rev+1), id)
				tx.Exec(`UPDATE made SET rev = ? WHERE id = ?`, rev+1, id)
			}
			tx.Commit()
		}
	}
	a, err := newRowArchive(db, step)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	for {
		tx, err := db.Begin()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		var last, waiting int64
		tx.QueryRow(`SELECT coalesce(max(id), 0) FROM made`).Scan(&last)
		tx.QueryRow(`SELECT count(*) FROM live`).Scan(&waiting)
		for id := last + 1; waiting < 100 && id <= last+50; id++ {
			tx.Exec(`INSERT INTO live VALUES (?, 1, ?)`, id, body(id, 1))
			tx.Exec(`INSERT INTO made VALUES (?, 1)`, id)
		}
		if err := tx.Commit(); err != nil {
			fmt.Println(err)
			return 1
		}
		if _, err := a.Run(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

func body(id, rev int64) string { return fmt.Sprintf("row %d, revision %d", id, rev) }

// TestArchiveKill kills the process at random points around archive and
// delete: half of them by the clock, half at a step. No row may be lost in its
// last revision, and none be in the archive twice. PLIMSOLL_KILLS sets how
// often.
func TestArchiveKill(t *testing.T) {
	kills := 1000
	if raceEnabled {
		kills = 150
	}
	if v, err := strconv.Atoi(os.Getenv("PLIMSOLL_KILLS")); err == nil {
		kills = v
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "rows.db")
	start := time.Now()
	for i := range kills {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "PLIMSOLL_CHILD=archive", "DB="+file)
		if i%2 == 0 {
			cmd.Env = append(cmd.Env, "KILL_AT="+strconv.Itoa(1+rand.IntN(150)))
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "ready\n", line)
		if i%2 == 1 {
			time.Sleep(rand.N(15 * time.Millisecond))
			cmd.Process.Kill()
		}
		rest, _ := r.ReadString('\n')
		require.Empty(t, rest, "the child must not fail by itself")
		cmd.Wait()
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "%s", stderr.String())
	}

	db, err := openDB(file)
	require.NoError(t, err)
	defer db.Close()
	a, err := newRowArchive(db, func() {})
	require.NoError(t, err)
	res, err := a.Run(t.Context())
	require.NoError(t, err)
	count := func(query string) (n int) {
		require.NoError(t, db.QueryRow(query).Scan(&n))
		return n
	}
	rows := count(`SELECT count(*) FROM made`)
	t.Logf("%d kills in %v: %d rows, %d of them changed on the way, %d left for the last run",
		kills, time.Since(start).Round(time.Millisecond), rows, count(`SELECT count(*) FROM made WHERE rev > 1`), res.Deleted)
	require.Positive(t, rows)
	require.Zero(t, count(`SELECT count(*) FROM live`))
	require.Zero(t, count(`SELECT count(*) FROM made LEFT JOIN archive USING (id, rev) WHERE archive.id IS NULL`), "lost")
	require.Zero(t, count(`SELECT count(*) - count(DISTINCT id || '/' || rev) FROM archive`), "twice")
	require.Zero(t, count(`SELECT count(*) FROM archive WHERE body <> printf('row %d, revision %d', id, rev)`), "damaged")
	require.Zero(t, count(`SELECT count(*) FROM archive LEFT JOIN made USING (id) WHERE made.id IS NULL OR archive.rev > made.rev`), "invented")
}
