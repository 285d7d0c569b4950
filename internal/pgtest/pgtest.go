// Package pgtest gives tests a real PostgreSQL: the one that DATABASE_URL
// names, or a private server that lives as long as the test. Without either the
// test is skipped, loudly; with CI=true it fails.
//
//	srv := pgtest.New(t)          // once a test: about a second
//	db := srv.Database(t)         // once a subtest: an empty database's URL
//
// A private server keeps its promises (fsync is on), runs as an ordinary user
// even for root, listens on 127.0.0.1 only, with a random password, and dies with
// the process of the test.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Server is a PostgreSQL that tests may use. Its methods are for one goroutine
// at a time; they fail the test of their t.
type Server struct {
	bin string // the folder of the programs
	url url.URL
	*private
}

// New gives the server that DATABASE_URL names, or else a private one.
func New(t testing.TB) *Server {
	t.Helper()
	given := os.Getenv("DATABASE_URL")
	if given == "" {
		return Private(t)
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		t.Fatal("pgtest: DATABASE_URL is no postgres:// URL")
	}
	return &Server{bin: programs(t, "psql"), url: *u}
}

// Private starts a server for this test alone, which may Stop and Start it.
func Private(t testing.TB) *Server {
	t.Helper()
	bin := programs(t, "initdb", "pg_ctl", "postgres", "psql")
	p := initialize(t, bin)
	s := &Server{bin: bin, private: p, url: url.URL{
		Scheme: "postgres", User: url.UserPassword("plimsoll", p.password),
		Host: fmt.Sprint("127.0.0.1:", p.port), Path: "/postgres", RawQuery: "sslmode=disable",
	}}
	s.Start(t)
	return s
}

// URL names the server's first database.
func (s *Server) URL() string { return s.url.String() }

// Database creates an empty database, which is dropped when t ends, and gives
// its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	s.SQL(t, s.URL(), "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if s.private == nil { // a private one goes as a whole
			s.SQL(t, s.URL(), "DROP DATABASE "+name+" WITH (FORCE)")
		}
	})
	u := s.url
	u.Path = "/" + name
	return u.String()
}

// SQL runs statements by psql and gives what they print: a line a row, columns
// separated by |.
func (s *Server) SQL(t testing.TB, database, text string) string {
	t.Helper()
	return strings.TrimSpace(s.Run(t, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text))
}

// Run runs one of PostgreSQL's programs, such as pg_dump, and gives what it
// prints.
func (s *Server) Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("pgtest: %s: %v\n%s", program, err, out)
	}
	return string(out)
}

// programs gives the newest folder that has all of names.
func programs(t testing.TB, names ...string) string {
	t.Helper()
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern)
		slices.Sort(found)
		dirs = append(found, dirs...)
	}
	slices.Reverse(dirs)
	for _, name := range names { // initdb finds its fellows beside the file that a link leads to
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				dirs = append(dirs, filepath.Dir(path))
			}
		}
	}
	for _, dir := range dirs {
		if !slices.ContainsFunc(names, func(name string) bool {
			_, err := exec.LookPath(filepath.Join(dir, name))
			return err != nil
		}) {
			return dir
		}
	}
	missing := fmt.Sprintf("NO POSTGRESQL: %s not found; apt-get install postgresql, or set DATABASE_URL", strings.Join(names, ", "))
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
