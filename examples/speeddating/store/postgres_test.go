package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store/storetest"
	"github.com/plimsoll-go/plimsoll/internal/pgtest"
)

func openPostgres(t testing.TB, url string, o Options) *Postgres {
	t.Helper()
	s, err := OpenPostgres(context.Background(), url, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// with adds a setting to the URL of a database.
func with(url, setting string) string { return url + "&" + setting }

// statement is one that the suite has run, with what it was given.
type statement struct {
	text string
	args []any
}

// The suite, and after it: none of its statements may read a table that grows
// from end to end.
func TestPostgresConformance(t *testing.T) {
	srv := pgtest.New(t)
	var mu sync.Mutex
	seen := map[string]statement{}
	t.Run("suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) dating.Store {
			s := openPostgres(t, srv.Database(t), Options{})
			s.seen = func(text string, args []any) {
				mu.Lock()
				defer mu.Unlock()
				seen[text] = statement{text, slices.Clone(args)}
			}
			return s
		})
	})
	t.Run("plans", func(t *testing.T) { plans(t, srv.Database(t), seen) })
}

// crowd fills every table that grows, so that the planner has a reason to use an
// index.
const crowd = `
INSERT INTO users (id, name, gender, created_at, email, calls, standing)
	SELECT 'user-' || i, 'N', 'male', now() - i * interval '1 minute', CASE WHEN i % 2 = 0 THEN i || '@x' END, i % 101, CASE WHEN i % 5000 = 0 THEN 1 ELSE 0 END FROM generate_series(1, 20000) i;
INSERT INTO media SELECT 'm-' || i, 'user-' || i, 'image/jpeg', '\x00' FROM generate_series(1, 20000) i;
INSERT INTO sessions SELECT sha256(i::text::bytea), 'user-' || i, now() + (i - 200) * interval '1 minute' FROM generate_series(1, 20000) i;
INSERT INTO cooldowns SELECT 'user-' || i, 'user-' || (i + j), now() + (i - 200) * interval '1 minute' FROM generate_series(1, 10000) i, generate_series(1, 4) j;
INSERT INTO intros SELECT 'code-' || i, 'user-' || i, 'user-' || i + 1, now() + (i - 200) * interval '1 minute' FROM generate_series(1, 15000) i;
INSERT INTO introductions SELECT 'user-' || i, 'user-' || i + 1, 'x' FROM generate_series(1, 20000) i;
INSERT INTO reports SELECT 'user-' || i, 'user-' || i + 1, 'x', now(), i % 50 <> 0 FROM generate_series(1, 15000) i;
INSERT INTO calls SELECT 'n1.' || i, 'n1', 'i1', 'user-' || i, 'user-' || i + 1, 600, now(), now() FROM generate_series(1, 5000) i;
INSERT INTO call_members SELECT 'user-' || i, 'n1.' || i FROM generate_series(1, 5000) i;
INSERT INTO call_said SELECT 'n1.' || i, j, 'user-' || i, '{}', NULL FROM generate_series(1, 5000) i, generate_series(1, 5) j;
INSERT INTO histories SELECT 'user-' || i, 'user-' || j, 'r-' || i || '-' || j, now(), now() - (i - 200) * interval '1 minute', 60, 'ended', '[]', '[]' FROM generate_series(1, 10000) i, generate_series(1, 4) j;
INSERT INTO history_archive SELECT * FROM histories;
ANALYZE`

// plans fails for a statement of the suite that reads a table that grows from
// end to end. Only the sweeps and what is about dead
// servers may look at all calls in progress.
func plans(t *testing.T, url string, seen map[string]statement) {
	require.Greater(t, len(seen), 35)
	openPostgres(t, url, Options{}) // makes the tables
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, crowd)
	require.NoError(t, err)
	small := slices.Clip([]string{"nodes", "probe", "migrations"})
	for _, st := range seen {
		if now := []string{"FROM nodes", "JOIN nodes", "WITH lost"}; slices.ContainsFunc(now, func(s string) bool { return strings.Contains(st.text, s) }) {
			explain(t, conn, st, append(small, "calls", "call_members"))
			continue
		}
		explain(t, conn, st, small)
	}
}

func explain(t *testing.T, conn *pgx.Conn, st statement, small []string) {
	rows, err := conn.Query(t.Context(), "EXPLAIN "+st.text, append([]any{pgx.QueryExecModeCacheDescribe}, plain(st.args)...)...)
	require.NoError(t, err, st.text)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err, st.text)
	for _, line := range lines {
		if _, table, scans := strings.Cut(line, "Seq Scan on "); scans && !slices.Contains(small, strings.Fields(table)[0]) {
			t.Errorf("%s\n\treads all: %s\n%s", st.text, line, strings.Join(lines, "\n"))
			return
		}
	}
}

// Several servers may start at once on an empty database, and on one whose
// schema is there; a newer one than this program's is refused.
func TestPostgresMigrations(t *testing.T) {
	srv := pgtest.New(t)
	url := srv.Database(t)
	for range 2 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := OpenPostgres(context.Background(), url, Options{Conns: 1})
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				if err := s.SetCooldown(context.Background(), "a", "b", time.Now()); err != nil {
					t.Errorf("write: %v", err)
				}
				s.Close()
			})
		}
		wg.Wait()
	}
	require.Equal(t, "1", srv.SQL(t, url, "SELECT count(*) FROM migrations"))
	require.Equal(t, "0", srv.SQL(t, url, `SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'`))
	srv.SQL(t, url, "INSERT INTO migrations VALUES (99)")
	_, err := OpenPostgres(t.Context(), url, Options{})
	require.ErrorContains(t, err, "newer")
	if password := strings.Split(strings.Split(url, "@")[0], ":")[2]; true {
		require.NotContains(t, err.Error(), password)
	}
}

func TestPostgresOpenRefuses(t *testing.T) {
	srv := pgtest.New(t)
	for name, url := range map[string]string{
		"no such database": strings.Replace(srv.URL(), "/postgres?", "/none?", 1),
		"no URL":           "postgres://%zz",
		"no server":        "postgres://someone:secret@127.0.0.1:1/x?sslmode=disable",
	} {
		began := time.Now()
		_, err := OpenPostgres(t.Context(), url, Options{Connect: time.Second})
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "secret", name)
		require.Less(t, time.Since(began), 10*time.Second)
	}
	_, err := OpenPostgres(t.Context(), srv.URL(), Options{Queue: -1})
	require.Error(t, err)
	srv.SQL(t, srv.URL(), "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	defer srv.SQL(t, srv.URL(), "DROP DATABASE latin")
	_, err = OpenPostgres(t.Context(), strings.Replace(srv.URL(), "/postgres?", "/latin?", 1), Options{})
	require.ErrorContains(t, err, "UTF8")
}

// Deleting a row looks for those that refer to it: without an index on each
// reference that would read whole tables.
func TestPostgresReferencesHaveAnIndex(t *testing.T) {
	srv := pgtest.New(t)
	url := srv.Database(t)
	openPostgres(t, url, Options{})
	require.Empty(t, srv.SQL(t, url, `SELECT c.conrelid::regclass || '.' || a.attname FROM pg_constraint c
		JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
		WHERE c.contype = 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL)`))
}

// Where every transaction is serializable PostgreSQL undoes some of those that
// run at once; the store tries them again, and each is answered.
func TestPostgresRetries(t *testing.T) {
	srv := pgtest.New(t)
	s := openPostgres(t, with(srv.Database(t), "default_transaction_isolation=serializable"), Options{})
	people := pgPeople(t, s, 2)
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 8 {
			until := time.Now().Add(time.Duration(round*8+i) * time.Hour)
			wg.Go(func() {
				if err := s.SetCooldown(context.Background(), people[0], people[1], until); err != nil {
					t.Errorf("SetCooldown: %v", err)
				}
			})
		}
		wg.Wait()
	}
	st := s.Stats()
	t.Logf("160 writes of the same two rows, 8 at once: %d times PostgreSQL undid one and it was tried again", st.Retries)
	require.NotZero(t, st.Retries)
	require.Zero(t, st.Errors)
}

func pgSession(i int) dating.TokenHash { return dating.TokenHash(fmt.Appendf(nil, "%-32d", i)[:32]) }

func pgPeople(t testing.TB, s dating.Store, n int) []dating.UserID {
	var ids []dating.UserID
	for i := range n {
		id := dating.UserID(fmt.Sprint("person-", i))
		se := dating.Session{Hash: pgSession(i), User: id, ExpiresAt: time.Now().Add(time.Hour)}
		require.NoError(t, s.CreateGuest(context.Background(), dating.User{ID: id, Name: "P", Gender: "male", CreatedAt: time.Now()}, se, nil))
		ids = append(ids, id)
	}
	return ids
}
