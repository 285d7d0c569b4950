package store

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pingNow is a Ping that does not make do with an answer from before.
func pingNow(s *SQLite) error {
	s.ping.mu.Lock()
	s.ping.ended = time.Time{}
	s.ping.mu.Unlock()
	return s.Ping(context.Background())
}

// Each of these was "ready" when the probe was SELECT 1.
func TestPing(t *testing.T) {
	t.Run("locked by another", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		s := open(t, path)
		require.NoError(t, pingNow(s))
		other, err := sql.Open("sqlite", "file:"+path)
		require.NoError(t, err)
		defer other.Close()
		other.SetMaxOpenConns(1)
		_, err = other.Exec("BEGIN EXCLUSIVE")
		require.NoError(t, err)
		began := time.Now()
		require.ErrorContains(t, pingNow(s), "no answer within")
		require.GreaterOrEqual(t, time.Since(began), pingWithin)
		for range 100 { // a look that hangs is not waited for again
			require.Error(t, s.Ping(t.Context()))
		}
		require.Less(t, time.Since(began), 4*pingWithin)
		_, err = other.Exec("COMMIT")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return pingNow(s) == nil }, 10*time.Second, 10*time.Millisecond)
	})
	t.Run("overwritten", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		s := open(t, path)
		require.NoError(t, pingNow(s))
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		was, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = f.Write(make([]byte, len(was)))
		require.NoError(t, err)
		require.ErrorContains(t, pingNow(s), "not a database")
		_, err = f.WriteAt(was, 0) // so that it can be closed in peace
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, pingNow(s))
	})
	t.Run("renamed", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db")
		s := open(t, path)
		require.NoError(t, os.Rename(path, path+".old"))
		require.ErrorIs(t, pingNow(s), os.ErrNotExist)
		require.NoError(t, os.WriteFile(path, []byte(magic), 0o600))
		require.ErrorContains(t, pingNow(s), "not the one")
		require.NoError(t, os.Rename(path+".old", path))
		require.NoError(t, pingNow(s))
	})
	t.Run("cheap", func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "db"))
		before := s.Stats().Statements
		for range 1000 {
			require.NoError(t, s.Ping(t.Context()))
		}
		require.Less(t, s.Stats().Statements-before, uint64(20))
	})
	t.Run("closed", func(t *testing.T) {
		s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "db"), Options{})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Error(t, pingNow(s))
	})
}
