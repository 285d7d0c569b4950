package hostile

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/loadtest/load"
)

// capacities are the plans of the service that the platform replaces, and what
// it claimed for them: people, in 512 MB, 1 GB and 2 GB.
var capacities = []struct {
	mib    int64
	claims int
}{{512, 500}, {1024, 1000}, {2048, 2000}}

// TestCapacity lets people in until the server refuses, in a cgroup of each
// size: idle ones, not in the queue or in it; then active ones, as many as the
// load tool's default people are served without a fault. It takes half an hour,
// so it wants PLIMSOLL_CAPACITY=1; -run TestCapacity/512MiB/idle is a part of it.
func TestCapacity(t *testing.T) {
	if os.Getenv("PLIMSOLL_CAPACITY") == "" {
		t.Skip("takes half an hour: set PLIMSOLL_CAPACITY=1")
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	most := int(min(files.Cur, 100_000)) - 500 // a person is a file of the server's and one of ours
	exe := build(t)
	unbounded := []string{"-max-connections", "1000000", "-max-per-address", "1000000", "-log-level", "warn"}
	for _, c := range capacities {
		t.Run(fmt.Sprintf("%dMiB", c.mib), func(t *testing.T) {
			for _, kind := range []string{"idle", "queue"} {
				t.Run(kind, func(t *testing.T) { idle(t, start(t, exe, c.mib<<20, unbounded...), kind == "queue", c.claims, most) })
			}
			t.Run("active", func(t *testing.T) { active(t, start(t, exe, c.mib<<20, unbounded...), c.claims) })
		})
	}
}

// idle opens one socket for each of as many people as get in.
func idle(t *testing.T, s *server, join bool, claims, most int) {
	before, err := s.health()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var held []*websocket.Conn
	var lost atomic.Int64
	var refused atomic.Int64 // in a row
	var last atomic.Value    // why one was closed again
	last.Store("")
	var why atomic.Value
	why.Store("no more were asked for: of open files there are no more")
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			client := clientFrom(w)
			for i := w; i < most && ctx.Err() == nil && refused.Load() < 200; i += 16 {
				err := func() error {
					_, token, err := signUp(ctx, client, s.url, fmt.Sprint("Idle ", i))
					if err != nil {
						return err
					}
					ws, err := dial(ctx, s, i%60_000, token, false)
					if err != nil {
						return err
					}
					if join {
						if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"queue:join"}`)); err != nil {
							return err
						}
					}
					mu.Lock()
					held = append(held, ws)
					mu.Unlock()
					go func() {
						// Frames have to be read as such: a socket that answers
						// no ping is dead after 35 s, and is closed.
						var err error
						for err == nil {
							_, _, err = ws.NextReader()
						}
						if ctx.Err() == nil {
							lost.Add(1)
							last.Store(err.Error())
						}
					}()
					return nil
				}()
				if err == nil {
					refused.Store(0)
					continue
				}
				refused.Add(1)
				why.Store(err.Error())
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	pause(ctx, 5*time.Second)
	h, err := s.health()
	require.NoError(t, err)
	gone := lost.Load()
	n := len(held) - int(gone)
	cancel()
	for _, ws := range held {
		ws.Close()
	}
	v := s.cgroup.Verdict()
	what := "idle"
	if join {
		what = "in the queue"
	}
	t.Logf("%d people %s in %v MiB, where the original claims %d; let in within %v, %d closed again %s; then: %v\n  %v\n"+
		"  level %s (%.2f by %s); of the process %.1f KiB a person, reserved %.1f",
		n, what, v.Limit>>20, claims, took.Round(time.Second), gone, last.Load(), why.Load(), v, h.Memory.Level, h.Memory.Pressure, h.Memory.Source,
		float64(h.Memory.Sample.AnonRSS-before.Memory.Sample.AnonRSS)/1024/float64(n),
		float64(h.Memory.Sample.Reserved-before.Memory.Sample.Reserved)/1024/float64(n))
	require.Zero(t, v.OOMKills)
	require.LessOrEqual(t, v.PeakWorking, v.Limit*92/100)
	require.GreaterOrEqual(t, n, claims)
}

// active doubles the people, from what the original claims to four times that,
// until they are not served well: no error, and an invitation there after 50 ms
// or less in 99 of 100 cases. Not more than busiest: above that it is the cores,
// which the people share with the server, and not the memory. A trial is a
// minute.
func active(t *testing.T, s *server, claims int) {
	const busiest = 2500
	most, cores := min(4*claims, busiest), 0.0
	best, err := load.Search(t.Context(), load.Options{
		URL: s.url, Users: claims, Duration: 40 * time.Second, SourceAddresses: 8, PID: s.cmd.Process.Pid,
	}, 50*time.Millisecond, most, func(tr load.Trial) {
		if u := tr.Report.Server; u != nil {
			cores = u.Cores
		}
		t.Logf("%d people: ok %v %s; %d calls, p99 of invite → notify %v, %.2f cores of the server's", tr.Users, tr.OK, tr.Why,
			tr.Report.CallsCompleted, tr.Report.Notify.P99.Round(10*time.Microsecond), cores)
	})
	require.NoError(t, err)
	require.NotNil(t, best, "nobody was served well")
	v := s.cgroup.Verdict()
	limit := "more were not asked for"
	if best.Users < most {
		limit = "more were not served well"
	}
	t.Logf("%d people active in %d MiB, where the original claims %d; %s\n  %v", best.Users, v.Limit>>20, claims, limit, v)
	require.Zero(t, v.OOMKills)
	require.LessOrEqual(t, v.PeakWorking, v.Limit*92/100)
	require.GreaterOrEqual(t, best.Users, claims)
}
