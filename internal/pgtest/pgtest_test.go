package pgtest

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrivate(t *testing.T) {
	s := Private(t)
	one, two := s.Database(t), s.Database(t)
	require.NotEqual(t, one, two)
	s.SQL(t, one, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	require.Equal(t, "on|on", s.SQL(t, one, "SELECT current_setting('fsync'), current_setting('synchronous_commit')"))
	for range 2 {
		s.Stop(t, "immediate")
		s.Start(t)
		s.SQL(t, one, "INSERT INTO kept SELECT max(n) + 1 FROM kept")
	}
	s.Stop(t, "fast")
	s.Start(t)
	require.Equal(t, "1\n2\n3", s.SQL(t, one, "SELECT n FROM kept ORDER BY n"))
	log, err := os.ReadFile(s.Log())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(log), "automatic recovery in progress"))
}

func TestGiven(t *testing.T) {
	mine := Private(t)
	t.Setenv("DATABASE_URL", mine.URL())
	s := New(t)
	require.Equal(t, mine.URL(), s.URL())
	var name string
	t.Run("inner", func(t *testing.T) {
		u, err := url.Parse(s.Database(t))
		require.NoError(t, err)
		name = strings.TrimPrefix(u.Path, "/")
		require.Equal(t, "1", s.SQL(t, s.URL(), "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"))
	})
	require.Equal(t, "0", s.SQL(t, s.URL(), "SELECT count(*) FROM pg_database WHERE datname = '"+name+"'"))
}

// Without a server a user's test is skipped and says why; CI fails.
func TestMissing(t *testing.T) {
	if os.Getenv("PGTEST_CHILD") != "" {
		programs(t, "no-such-program")
		return
	}
	for ci, want := range map[string]string{"": "--- SKIP", "true": "--- FAIL"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMissing$", "-test.v")
		cmd.Env = append(os.Environ(), "PGTEST_CHILD=1", "CI="+ci)
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), want)
		require.Contains(t, string(out), "apt-get install postgresql")
	}
}
