// Package redistest gives tests a real Redis: a private redis-server that lives
// as long as the test and may be killed, stopped and restarted by it, or a
// Cluster of three whose slots can be moved. Without a redis-server the test is
// skipped, loudly; with CI=true it fails.
//
//	srv := redistest.New(t)                         // 20 ms; forgets all when killed
//	srv := redistest.New(t, "--appendonly", "yes")  // remembers
//	rdb := srv.Client(t)
//
// It listens on 127.0.0.1 only and dies with the process of the test.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take to start, or a cluster to agree.
const patience = 30 * time.Second

// Server is one redis-server. Its methods are for one goroutine at a time; they
// fail the test of their t.
type Server struct {
	program string
	dir     string
	port    int
	args    []string
	run     *exec.Cmd     // nil: it does not run
	gone    chan struct{} // closed when run has ended
}

// New starts a server. It saves nothing to its disk unless args, which are
// redis-server's own, say so; a restart then begins with nothing.
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{program: program(t, "redis-server"), dir: t.TempDir(), port: freePort(t)}
	s.args = append([]string{
		"--bind", "127.0.0.1", "--port", fmt.Sprint(s.port), "--dir", s.dir, "--logfile", s.Log(),
		"--save", "", "--appendonly", "no", "--appendfsync", "always", "--enable-debug-command", "local",
	}, args...)
	t.Cleanup(func() {
		if s.run != nil {
			s.Kill(t)
		}
	})
	s.Start(t)
	return s
}

// Addr is host:port. It stays the same over a restart.
func (s *Server) Addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// URL is redis://host:port.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Log is the file that the server writes its messages to.
func (s *Server) Log() string { return filepath.Join(s.dir, "redis.log") }

// Client returns a new client, which is closed when t ends. Its calls end with
// their context, which go-redis does only if asked to.
func (s *Server) Client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// Start starts the server after Kill and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.run != nil {
		t.Fatal("redistest: Start: it runs")
	}
	run, gone := exec.Command(s.program, s.args...), make(chan struct{})
	dieWithUs(run)
	if err := run.Start(); err != nil {
		t.Fatal("redistest: ", err)
	}
	s.run, s.gone = run, gone
	go func() {
		run.Wait() // how it ended is in the log
		close(gone)
	}()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1})
	defer c.Close()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if c.Ping(context.Background()).Err() == nil { // an error while it loads its data
			return
		}
		select {
		case <-gone:
			s.run = nil
			t.Fatalf("redistest: the server ended at its start:\n%s", s.tail())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("redistest: the server is not ready after %v:\n%s", patience, s.tail())
		}
	}
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.run == nil {
		t.Fatal("redistest: Kill: it does not run")
	}
	if err := s.run.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal("redistest: ", err)
	}
	<-s.gone
	s.run = nil
}

// Restart kills the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill(t)
	s.Start(t)
}

// Pause stops the server as SIGSTOP does: connections stay open, and nothing
// answers until Resume.
func (s *Server) Pause(t testing.TB) { s.signal(t, stop) }

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) { s.signal(t, resume) }

func (s *Server) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if s.run == nil {
		t.Fatal("redistest: it does not run")
	}
	if err := s.run.Process.Signal(sig); err != nil {
		t.Fatal("redistest: ", err)
	}
}

func (s *Server) tail() []byte {
	text, _ := os.ReadFile(s.Log())
	return text[max(0, len(text)-4096):]
}

// freePort takes one from below those that the system gives to clients, so that
// it is still free when the server comes back after a Kill. That of the
// cluster bus, 10,000 above, is below them too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(9_000)
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		l.Close()
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+10_000)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("redistest: no port is free")
	return 0
}

func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing := fmt.Sprintf("NO REDIS: %s not found; apt-get install redis-server", name)
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
