//go:build linux

package memmgrtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Cgroup is a memory cgroup that exists until the test ends.
type Cgroup struct {
	t       testing.TB
	dir     string
	version int
	limit   int64

	stop    chan struct{}
	sampler sync.WaitGroup
	once    sync.Once // starts it, with the first command

	mu              sync.Mutex
	working, pinned int64 // the most of each
}

// Verdict is what the kernel says of all processes that were in a Cgroup.
type Verdict struct {
	Limit    int64
	OOMKills int64 // processes that the kernel killed
	Hits     int64 // times that the limit was met and something had to be reclaimed
	Peak     int64 // most that was ever charged, page cache included
	// PeakWorking is the most that was seen without inactive page cache, which
	// the kernel drops first: what Kubernetes calls the working set.
	// PeakPinned is the most without any page cache, all of which the kernel
	// drops before it kills. Both are sampled every 5 ms.
	PeakWorking, PeakPinned int64
}

// String is the verdict in one line.
func (v Verdict) String() string {
	percent := func(n int64) float64 { return 100 * float64(n) / float64(v.Limit) }
	return fmt.Sprintf("limit %d MiB, oom_kill %d, limit met %d times, peak %.1f MiB (%.0f %%), without inactive page cache %.1f MiB (%.0f %%), without any %.1f MiB (%.0f %%)",
		v.Limit>>20, v.OOMKills, v.Hits, float64(v.Peak)/(1<<20), percent(v.Peak),
		float64(v.PeakWorking)/(1<<20), percent(v.PeakWorking), float64(v.PeakPinned)/(1<<20), percent(v.PeakPinned))
}

// New makes a memory cgroup with that limit in bytes, and no swap.
func New(t testing.TB, limit int64) *Cgroup {
	t.Helper()
	c, err := makeCgroup(limit)
	if err != nil {
		msg := fmt.Sprintf("NO MEMORY CGROUP, NOTHING IS SHOWN: %v", err)
		if os.Getenv("CI") == "true" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	c.t, c.stop = t, make(chan struct{})
	t.Cleanup(func() {
		close(c.stop)
		c.sampler.Wait()
		c.remove()
	})
	return c
}

// watch samples until the test ends.
func (c *Cgroup) watch() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			c.sample()
		}
	}
}

// Dir is the cgroup's directory.
func (c *Cgroup) Dir() string { return c.dir }

// Command is exec.Command for a process that is in the cgroup before its
// first instruction.
func (c *Cgroup) Command(name string, args ...string) *exec.Cmd {
	c.once.Do(func() { c.sampler.Go(c.watch) })
	script := `echo $$ > "$0" && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, filepath.Join(c.dir, "cgroup.procs"), name}, args...)...)
	return cmd
}

// Verdict reads the kernel's counters.
func (c *Cgroup) Verdict() Verdict {
	c.t.Helper()
	c.sample()
	v := Verdict{Limit: c.limit}
	if c.version == 1 {
		v.Peak = c.value("memory.max_usage_in_bytes")
		v.Hits = c.value("memory.failcnt")
		v.OOMKills = keyed(filepath.Join(c.dir, "memory.oom_control"), "oom_kill")
	} else {
		v.OOMKills = keyed(filepath.Join(c.dir, "memory.events"), "oom_kill")
		v.Hits = keyed(filepath.Join(c.dir, "memory.events"), "max")
		if _, err := os.Stat(filepath.Join(c.dir, "memory.peak")); err == nil { // Linux 5.19
			v.Peak = c.value("memory.peak")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v.PeakWorking, v.PeakPinned = c.working, c.pinned
	return v
}

func (c *Cgroup) value(name string) int64 {
	v, err := readInt(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Errorf("memmgrtest: %v", err)
	}
	return v
}

func (c *Cgroup) sample() {
	usage, prefix := "memory.current", ""
	if c.version == 1 {
		usage, prefix = "memory.usage_in_bytes", "total_"
	}
	stat := filepath.Join(c.dir, "memory.stat")
	var inactive, active, used int64
	for range 10 {
		// The cache first: if it grows in between, too much is seen, not too
		// little. On a busy machine there may be long between the two, and then
		// they are read again.
		start := time.Now()
		data, _ := os.ReadFile(stat)
		inactive, active = value(data, prefix+"inactive_file"), value(data, prefix+"active_file")
		var err error
		if used, err = readInt(filepath.Join(c.dir, usage)); err != nil {
			return
		}
		if time.Since(start) < time.Millisecond {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working, c.pinned = max(c.working, used-inactive), max(c.pinned, used-inactive-active)
}

// remove kills what is left in the cgroup and deletes it.
func (c *Cgroup) remove() {
	for range 200 {
		data, _ := os.ReadFile(filepath.Join(c.dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(data)) {
			if n, err := strconv.Atoi(pid); err == nil && n > 1 {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
		if err := os.Remove(c.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Errorf("memmgrtest: cannot remove %s", c.dir)
}

func makeCgroup(limit int64) (*Cgroup, error) {
	version, own, mount, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("plimsoll-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	if version == 1 {
		c := &Cgroup{version: 1, dir: filepath.Join(own, name), limit: limit}
		if err := os.Mkdir(c.dir, 0o755); err != nil {
			return nil, err
		}
		if err := write(c.dir, "memory.limit_in_bytes", strconv.FormatInt(limit, 10)); err != nil {
			os.Remove(c.dir)
			return nil, err
		}
		write(c.dir, "memory.swappiness", "0")
		return c, nil
	}
	// In v2 a cgroup that holds processes cannot give the memory controller to
	// children, except for the root: the nearest ancestor that can is taken.
	var last error
	for dir := own; strings.HasPrefix(dir, mount); dir = filepath.Dir(dir) {
		write(dir, "cgroup.subtree_control", "+memory")
		c := &Cgroup{version: 2, dir: filepath.Join(dir, name), limit: limit}
		if last = os.Mkdir(c.dir, 0o755); last != nil {
			continue
		}
		if last = write(c.dir, "memory.max", strconv.FormatInt(limit, 10)); last == nil {
			write(c.dir, "memory.swap.max", "0")
			return c, nil
		}
		os.Remove(c.dir)
	}
	return nil, fmt.Errorf("cgroup v2: %w", last)
}

// ownCgroup finds the directory of this process's memory cgroup.
func ownCgroup() (version int, dir, mount string, err error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, "", "", err
	}
	var v1, v2 string
	for line := range strings.Lines(string(self)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[0] == "0" && parts[1] == "":
			v2 = parts[2]
		case strings.Contains(","+parts[1]+",", ",memory,"):
			v1 = parts[2]
		}
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return 0, "", "", err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		path := ""
		switch {
		case v1 != "" && r[0] == "cgroup" && strings.Contains(","+r[2]+",", ",memory,"):
			version, path = 1, v1
		case v1 == "" && v2 != "" && r[0] == "cgroup2":
			version, path = 2, v2
		default:
			continue
		}
		if l[3] != "/" {
			path = strings.TrimPrefix(path, l[3])
		}
		return version, filepath.Join(l[4], path), l[4], nil
	}
	return 0, "", "", errors.New("no memory cgroup is mounted")
}

func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}

func readInt(name string) (int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// keyed reads "key value" of a flat keyed file; 0 if it is not there.
func keyed(name, key string) int64 {
	data, _ := os.ReadFile(name)
	return value(data, key)
}

func value(data []byte, key string) int64 {
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}
