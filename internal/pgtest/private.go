package pgtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a server may take to start or to stop.
const patience = 30 * time.Second

// private is a server of ours.
type private struct {
	bin, dir, data string
	password       string
	port           int
	run            *exec.Cmd     // nil: it does not run
	gone           chan struct{} // closed when run has ended
}

// initialize makes the server's files.
func initialize(t testing.TB, bin string) *private {
	t.Helper()
	// Not t.TempDir: the ordinary user could not get into that.
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal("pgtest: ", err)
	}
	p := &private{bin: bin, dir: dir, data: filepath.Join(dir, "data"), password: rand.Text()}
	t.Cleanup(func() {
		if p.run != nil {
			p.Stop(t, "immediate")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error("pgtest: ", err)
		}
	})
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(p.password), 0o600); err != nil {
		t.Fatal("pgtest: ", err)
	}
	if err := giveAway(dir, secret); err != nil {
		t.Fatal("pgtest: ", err)
	}
	cmd := p.command("initdb", "-D", p.data, "-U", "plimsoll", "--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pgtest: initdb: %v\n%s", err, out)
	}
	p.port = freePort(t)
	// No promise is dropped to be faster; only memory is saved. The time zone is a
	// strange one so that nothing may depend on it.
	conf := fmt.Sprintf("listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = ''\nfsync = on\nsynchronous_commit = on\nfull_page_writes = on\nshared_buffers = '64MB'\nmax_connections = 100\ntimezone = 'Asia/Kathmandu'\nlog_lock_waits = on\nlog_line_prefix = '%%m [%%p] '\n", p.port)
	f, err := os.OpenFile(filepath.Join(p.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(conf)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal("pgtest: ", err)
	}
	return p
}

// freePort takes one from below those that the system gives to clients, so that
// it is still free when the server comes back after a Stop.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		n, err := rand.Int(rand.Reader, big.NewInt(10_000))
		if err != nil {
			t.Fatal("pgtest: ", err)
		}
		port := 20_000 + int(n.Int64())
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("pgtest: no port is free")
	return 0
}

func (p *private) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	asOrdinaryUser(cmd)
	return cmd
}

// Start starts the server and waits until it answers.
func (p *private) Start(t testing.TB) {
	t.Helper()
	p.private(t)
	if p.run != nil {
		t.Fatal("pgtest: Start: it runs")
	}
	log, err := os.OpenFile(p.Log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal("pgtest: ", err)
	}
	defer log.Close()
	// Not by pg_ctl, whose server would outlive a test that is killed.
	run, gone := p.command("postgres", "-D", p.data), make(chan struct{})
	run.Stdout, run.Stderr = log, log
	dieWithUs(run)
	if err := run.Start(); err != nil {
		t.Fatal("pgtest: ", err)
	}
	p.run, p.gone = run, gone
	go func() {
		run.Wait() // how it ended is in the log
		close(gone)
	}()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		pid, _ := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
		if lines := bytes.Split(pid, []byte("\n")); len(lines) > 7 && bytes.HasPrefix(lines[7], []byte("ready")) &&
			string(lines[0]) == fmt.Sprint(run.Process.Pid) {
			return
		}
		select {
		case <-gone:
			p.run = nil
			t.Fatalf("pgtest: the server ended at its start:\n%s", p.tail())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("pgtest: the server is not ready after %v:\n%s", patience, p.tail())
		}
	}
}

// Stop stops the server, by pg_ctl's mode: smart, fast or immediate. The last is
// a crash: the next Start recovers from the log.
func (p *private) Stop(t testing.TB, mode string) {
	t.Helper()
	p.private(t)
	if p.run == nil {
		t.Fatal("pgtest: Stop: it does not run")
	}
	out, err := p.command("pg_ctl", "stop", "-D", p.data, "-m", mode, "-w", "-t", fmt.Sprint(int(patience.Seconds()))).CombinedOutput()
	if err != nil {
		p.run.Process.Kill()
		t.Errorf("pgtest: pg_ctl stop: %v\n%s", err, out)
	}
	<-p.gone
	p.run = nil
}

// Log is the file that the server writes its messages to.
func (p *private) Log() string { return filepath.Join(p.dir, "log") }

func (p *private) tail() []byte {
	text, _ := os.ReadFile(p.Log())
	return text[max(0, len(text)-4096):]
}

func (p *private) private(t testing.TB) {
	t.Helper()
	if p == nil {
		t.Fatal("pgtest: the server that DATABASE_URL names is not ours to start or stop; use Private")
	}
}
