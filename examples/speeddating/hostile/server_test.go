package hostile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/memmgr/memmgrtest"
)

// build builds the server, without the race detector: its shadow memory would
// be measured.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "speeddating")
	out, err := exec.Command("go", "build", "-o", exe, "github.com/plimsoll-go/plimsoll/examples/speeddating").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return exe
}

// server is the platform in a memory cgroup.
type server struct {
	cmd    *exec.Cmd
	cgroup *memmgrtest.Cgroup
	url    string
	addr   string // host:port
	probes string // where probes go: a listener of their own, or url
	apart  bool   // they have one
	ended  chan error
	log    tail
}

func start(t *testing.T, exe string, limit int64, more ...string) *server {
	t.Helper()
	s := &server{cgroup: memmgrtest.New(t, limit), ended: make(chan error, 1)}
	args := []string{"-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "hostile.db"), "-drain", "100ms"}
	usage, _ := exec.Command(exe, "-h").CombinedOutput() // its exit status says that it was asked for help
	if s.apart = bytes.Contains(usage, []byte("-probe-addr")); s.apart {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s.probes = "http://" + l.Addr().String()
		args = append(args, "-probe-addr", l.Addr().String())
		l.Close()
	}
	s.cmd = s.cgroup.Command(exe, append(args, more...)...)
	s.cmd.Env = append(os.Environ(), "GOMEMLIMIT=", "GODEBUG="+os.Getenv("PLIMSOLL_HOSTILE_GODEBUG"))
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", &s.log)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	s.url, s.addr = url, strings.TrimPrefix(url, "http://")
	if !s.apart {
		s.probes = url
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's last words:\n%s", &s.log)
		}
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case err := <-s.ended:
			s.ended <- err
		case <-time.After(10 * time.Second):
			_ = s.cmd.Process.Kill()
		}
	})
	return s
}

// health is what the test reads of /health.
type health struct {
	Memory struct {
		Level    string
		Pressure float64
		Source   string
		Changes  int
		Refused  int64
		Sample   struct{ Live, GoTotal, GoFixed, AnonRSS, Reserved, Pinned int64 }
		Accounts []struct {
			Name                                       string
			Used, Peak, Max                            int64
			RefusedBudget, RefusedMax, RefusedPressure int64
			OverReleased                               int64
		}
	}
}

func (s *server) health() (h health, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	res, err := client.Get(s.probes + "/health")
	if err != nil {
		return h, err
	}
	defer res.Body.Close()
	return h, json.NewDecoder(res.Body).Decode(&h)
}

// tail keeps the last lines that the server logged.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 64<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.buf), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-25):], []byte("\n")))
}
