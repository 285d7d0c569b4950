package memmgr

import (
	"bytes"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withRuntime sets the runtime for a test and sets it back.
func withRuntime(t *testing.T, limit int64, gogc int) {
	oldLimit, oldGOGC := debug.SetMemoryLimit(limit), debug.SetGCPercent(gogc)
	t.Cleanup(func() {
		debug.SetMemoryLimit(oldLimit)
		debug.SetGCPercent(oldGOGC)
	})
}

func gogc() int {
	v := debug.SetGCPercent(100)
	debug.SetGCPercent(v)
	return v
}

func TestTune(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
		"sys/fs/cgroup/app/memory.max": "2147483648\n",
	})
	for _, c := range []struct {
		name      string
		limit     int64 // GOMEMLIMIT before
		gogc      int
		o         TuneOptions
		want      int64
		wantGOGC  int
		corrected bool
	}{
		{"nothing set", math.MaxInt64, 100, TuneOptions{}, 1853043507, 100, false},
		{"above the cgroup", 4 << 30, 100, TuneOptions{}, 1853043507, 100, true},
		{"below the cgroup", 1 << 30, 150, TuneOptions{}, 1 << 30, 150, false},
		{"no collector but the limit", math.MaxInt64, -1, TuneOptions{}, 1853043507, 100, false},
		{"sockets aside", math.MaxInt64, 100, TuneOptions{Outside: 512 << 20, GOGC: 50}, 1932735283 - 512<<20, 50, false},
		{"named", math.MaxInt64, 100, TuneOptions{Limit: 1 << 30, Ratio: 0.5, Outside: -1}, 512 << 20, 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRuntime(t, c.limit, c.gogc)
			var log bytes.Buffer
			c.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			got, err := tune(c.o, root)
			require.NoError(t, err)
			require.Equal(t, c.want, got.GoLimit)
			require.Equal(t, c.want, debug.SetMemoryLimit(-1))
			require.Equal(t, c.wantGOGC, gogc())
			require.Equal(t, c.corrected, got.Corrected)
			require.Equal(t, c.corrected, bytes.Contains(log.Bytes(), []byte("GOMEMLIMIT was above")))
			got.Undo()
			require.Equal(t, c.limit, debug.SetMemoryLimit(-1))
			require.Equal(t, c.gogc, gogc())
		})
	}
	_, err := tune(TuneOptions{}, t.TempDir())
	require.ErrorIs(t, err, ErrNoLimit)
	_, err = tune(TuneOptions{GOGC: 5, Ratio: 2, Limit: -1}, root)
	for _, want := range []string{"GOGC = 5", "Ratio = 2", "Limit = -1"} {
		require.ErrorContains(t, err, want)
	}
	_, err = tune(TuneOptions{Limit: 1 << 20}, root)
	require.ErrorContains(t, err, "want at least 4 MiB")
}

func TestPlans(t *testing.T) {
	for _, limit := range []int64{32 << 20, 64 << 20, 256 << 20, Plan512MB, Plan1GB, Plan2GB, 1 << 40} {
		p, err := PlanFor(limit)
		require.NoError(t, err)
		m, err := New(p.Options())
		require.NoError(t, err)
		for range p.MaxConns {
			require.NoError(t, m.Account("connections").Reserve(p.BytesPerConn))
			require.NoError(t, m.Account("sockets").Reserve(p.SocketBytesPerConn))
			if limit == 1<<40 {
				break
			}
		}
		withRuntime(t, math.MaxInt64, 100)
		tuned, err := tune(p.TuneOptions(), t.TempDir())
		require.NoError(t, err)
		require.InDelta(t, p.GoLimit, tuned.GoLimit, 16)
	}
	_, err := PlanFor(1 << 20)
	require.Error(t, err)
}

// TestBoundSockets: a peer that does not read pins no more than was said.
func TestBoundSockets(t *testing.T) {
	const send, receive = 16 << 10, 16 << 10
	var lc net.ListenConfig
	BoundSockets(&lc, send, receive)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	fill := func(c net.Conn) (n int64) {
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for buf := make([]byte, 4096); ; {
			k, err := c.Write(buf)
			n += int64(k)
			if err != nil {
				return n
			}
		}
	}
	// The client's own buffers are the system's default; what it can make
	// the server's end hold is what was received there and not read.
	client.(*net.TCPConn).SetWriteBuffer(4 << 10)
	client.(*net.TCPConn).SetReadBuffer(4 << 10)
	sent, received := fill(server), fill(client)
	require.Less(t, sent, SocketBytes(send, 0)+64<<10)
	require.Less(t, received, SocketBytes(0, receive)+64<<10)
	t.Logf("the kernel took %d bytes to send and %d that were not read", sent, received)
}
