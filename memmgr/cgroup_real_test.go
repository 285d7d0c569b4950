package memmgr_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/memmgr/memmgrtest"
	"github.com/stretchr/testify/require"
)

// A test of this file runs this test binary again, in a memory cgroup, with
// PLIMSOLL_CHILD naming what it is to do there.
func TestMain(m *testing.M) {
	if name := os.Getenv("PLIMSOLL_CHILD"); name != "" {
		os.Exit(children[name]())
	}
	os.Exit(m.Run())
}

var children = map[string]func() int{
	"retain":  childRetain,
	"leak":    childLeak,
	"archive": childArchive,
}

// child runs a child in a cgroup and returns what it printed.
func child(t *testing.T, cg *memmgrtest.Cgroup, name string, env ...string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := cg.Command(exe)
	cmd.Env = append(os.Environ(), append(env, "PLIMSOLL_CHILD="+name)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Wait()
	return out.String(), err
}

// childRetain is a server in small: two producers keep 64 KiB buffers as fast
// as the machine can, for ever, each reserved first if there is a ledger.
func childRetain() int {
	limit, err := memmgr.CgroupLimit()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var acc *memmgr.Account
	if os.Getenv("LEDGER") != "" {
		if _, err := memmgr.Tune(memmgr.TuneOptions{}); err != nil {
			fmt.Println(err)
			return 1
		}
		m, err := memmgr.New(memmgr.Options{Accounts: []memmgr.AccountOptions{{Name: "buffers"}}})
		if err != nil || m.Limit() != limit {
			fmt.Println(err, m.Limit())
			return 1
		}
		go m.Run(context.Background())
		acc = m.Account("buffers")
		defer func() { json.NewEncoder(os.Stdout).Encode(m.Stats().Accounts) }()
	}
	stop := time.Now().Add(2 * time.Second)
	done := make(chan [][]byte)
	for range 2 {
		go func() {
			var held [][]byte
			for time.Now().Before(stop) {
				if acc.Reserve(64<<10) != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				b := make([]byte, 64<<10)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				held = append(held, b)
			}
			done <- held
		}()
	}
	n := len(<-done)
	n += len(<-done)
	fmt.Printf("kept %d MiB of %d\n", n>>4, limit>>20)
	return 0
}

// TestRealCgroup: what is killed without a ledger lives with one.
func TestRealCgroup(t *testing.T) {
	const limit = 64 << 20
	t.Run("without", func(t *testing.T) {
		cg := memmgrtest.New(t, limit)
		out, err := child(t, cg, "retain")
		v := cg.Verdict()
		t.Log(v)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, out)
		require.Positive(t, v.OOMKills, "the control must be killed, or this test shows nothing")
	})
	t.Run("with", func(t *testing.T) {
		cg := memmgrtest.New(t, limit)
		out, err := child(t, cg, "retain", "LEDGER=1")
		require.NoError(t, err, out)
		v := cg.Verdict()
		t.Log(v, strings.TrimSpace(out))
		require.Zero(t, v.OOMKills)
		require.LessOrEqual(t, v.PeakPinned, int64(limit*92/100))
	})
}

// childLeak leaks what nobody accounts for.
func childLeak() int {
	if _, err := memmgr.Tune(memmgr.TuneOptions{}); err != nil {
		fmt.Println(err)
		return 1
	}
	reported := make(chan memmgr.StuckReport, 1)
	m, err := memmgr.New(memmgr.Options{
		Accounts:    []memmgr.AccountOptions{{Name: "innocent"}},
		OnStuck:     func(r memmgr.StuckReport) { reported <- r },
		GiveUpAfter: time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m.OnPressure(memmgr.Reclaimer{Name: "nothing", At: memmgr.Elevated, Reclaim: func(context.Context, memmgr.Pressure) (int64, error) {
		return 0, nil
	}})
	done := make(chan error, 1)
	go func() { done <- m.Run(context.Background()) }()
	tick := time.NewTicker(2 * time.Millisecond)
	var at time.Time
	for {
		select {
		case <-tick.C:
			if at.IsZero() && m.Level() < memmgr.Critical {
				leak()
			}
		case r := <-reported:
			at = time.Now()
			if len(r.Sites) == 0 {
				fmt.Println("no sites")
				return 1
			}
			fmt.Printf("stuck %v after critical: %s +%d, unaccounted %d MiB, site %s\n",
				at.Sub(r.Since).Round(time.Millisecond), r.Accounts[0].Name, r.Accounts[0].Growth, r.Unaccounted>>20, r.Sites[0].Func)
			if d := at.Sub(r.Since); d > time.Second {
				fmt.Println("too late")
				return 1
			}
		case err := <-done:
			if !errors.Is(err, memmgr.ErrStuck) {
				fmt.Println("Run:", err)
				return 1
			}
			fmt.Println(err)
			return 3
		}
	}
}

var leaked [][]byte

//go:noinline
func leak() {
	b := make([]byte, 128<<10)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	leaked = append(leaked, b)
}

// TestLeak: a leak that nothing can reclaim is reported within a second, with
// its site, and Run gives up as configured; the process is not killed.
func TestLeak(t *testing.T) {
	cg := memmgrtest.New(t, 64<<20)
	out, err := child(t, cg, "leak")
	v := cg.Verdict()
	t.Log(v, strings.TrimSpace(out))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	require.Equal(t, 3, exit.ExitCode(), out)
	require.Contains(t, out, "memmgr_test.leak")
	require.Zero(t, v.OOMKills)
}
