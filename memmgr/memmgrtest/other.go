//go:build !linux

package memmgrtest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Cgroup exists on Linux only.
type Cgroup struct{}

// Verdict is what the kernel says of all processes that were in a Cgroup.
type Verdict struct {
	Limit, OOMKills, Hits, Peak, PeakWorking, PeakPinned int64
}

// String is the verdict in one line.
func (v Verdict) String() string { return fmt.Sprintf("limit %d", v.Limit) }

// New skips the test, or fails it with CI=true.
func New(t testing.TB, limit int64) *Cgroup {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("NO MEMORY CGROUPS ON THIS SYSTEM, NOTHING IS SHOWN")
	}
	t.Skip("NO MEMORY CGROUPS ON THIS SYSTEM, NOTHING IS SHOWN")
	return nil
}

// Dir is the cgroup's directory.
func (c *Cgroup) Dir() string { return "" }

// Command is exec.Command.
func (c *Cgroup) Command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

// Verdict reads the kernel's counters.
func (c *Cgroup) Verdict() Verdict { return Verdict{} }
