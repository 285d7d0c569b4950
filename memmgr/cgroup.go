package memmgr

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// unlimitedV1 is where cgroup v1 values mean "no limit": the kernel writes
// the largest multiple of a page below 2^63.
const unlimitedV1 = math.MaxInt64 - 1<<20

// cgroup is the memory cgroup of this process: where its files are and what
// the last read of them said.
type cgroup struct {
	version int
	dir     string // the process's own cgroup
	mount   string // where its hierarchy is mounted

	usage, stat, sock *statFile
}

// CgroupLimit returns the number of bytes of memory that the process's cgroup
// and all its ancestors leave it, for cgroup v1 and v2. In v2 a memory.high
// below memory.max counts, because a process above it is throttled. It
// returns ErrNoLimit if nothing limits the process or the system has no
// cgroups, and another error if the files cannot be understood.
func CgroupLimit() (int64, error) {
	return cgroupLimit("/")
}

func cgroupLimit(root string) (int64, error) {
	cg, err := findCgroup(root)
	if err != nil {
		return 0, err
	}
	return cg.limit()
}

// findCgroup finds the memory cgroup of this process below root. Where both
// versions are mounted, the memory controller is in the one that
// /proc/self/cgroup names it for: v1 if it does, else v2.
func findCgroup(root string) (*cgroup, error) {
	self, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLimit, err)
	}
	v1, v2 := parseSelfCgroup(self)
	if v1 == "" && v2 == "" {
		return nil, fmt.Errorf("%w: no memory cgroup in /proc/self/cgroup", ErrNoLimit)
	}
	info, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("memmgr: read mounts: %w", err)
	}
	version, own := 1, v1
	if own == "" {
		version, own = 2, v2
	}
	for _, m := range parseMountInfo(info) {
		if m.version != version {
			continue
		}
		rel, ok := below(m.root, own)
		if !ok {
			continue
		}
		mount := filepath.Join(root, m.point)
		dir := filepath.Join(mount, rel)
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return &cgroup{version: version, dir: dir, mount: mount}, nil
		}
	}
	return nil, fmt.Errorf("memmgr: cgroup v%d %q is not below any mount", version, own)
}

// below returns where the cgroup p lies below a mount of root.
func below(root, p string) (string, bool) {
	if root == "/" || root == p {
		return strings.TrimPrefix(p, root), true
	}
	if rest, ok := strings.CutPrefix(p, root+"/"); ok {
		return rest, true
	}
	// Inside a container without a cgroup namespace the path is the host's
	// while the mount shows only the container's own part of it; with one,
	// either may climb above it. What is mounted is then the own cgroup.
	if p == "/" || strings.HasPrefix(p, "/..") || strings.HasPrefix(root, "/..") {
		return "", true
	}
	return "", false
}

// limit reads the smallest limit of the cgroup and its ancestors.
func (c *cgroup) limit() (int64, error) {
	smallest := int64(math.MaxInt64)
	if c.version == 1 {
		// The kernel has folded the ancestors into memory.stat.
		if data, err := os.ReadFile(filepath.Join(c.dir, "memory.stat")); err == nil {
			if v, ok := statValue(data, "hierarchical_memory_limit"); ok && v > 0 {
				smallest = v
			}
		}
	}
	names := []string{"memory.max", "memory.high"}
	if c.version == 1 {
		names = []string{"memory.limit_in_bytes"}
	}
	for dir := c.dir; ; dir = filepath.Dir(dir) {
		for _, name := range names {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if os.IsNotExist(err) {
				continue // the root has no limit files in v2
			}
			if err != nil {
				return 0, fmt.Errorf("memmgr: read limit: %w", err)
			}
			v, err := parseLimit(data)
			if err != nil {
				return 0, fmt.Errorf("memmgr: %s: %w", name, err)
			}
			smallest = min(smallest, v)
		}
		// A v1 ancestor limits only where memory.use_hierarchy says so, and
		// then hierarchical_memory_limit has it.
		if c.version == 1 || dir == c.mount || len(dir) <= len(c.mount) {
			break
		}
	}
	if smallest >= unlimitedV1 {
		return 0, ErrNoLimit
	}
	return smallest, nil
}

// open opens the files that read reads.
func (c *cgroup) open() error {
	usage := "memory.current"
	if c.version == 1 {
		usage = "memory.usage_in_bytes"
		c.sock = openStat(filepath.Join(c.dir, "memory.kmem.tcp.usage_in_bytes"), 64)
	}
	c.usage = openStat(filepath.Join(c.dir, usage), 64)
	c.stat = openStat(filepath.Join(c.dir, "memory.stat"), 16<<10)
	if c.usage == nil || c.stat == nil {
		c.close()
		return fmt.Errorf("memmgr: no %s in %s", usage, c.dir)
	}
	return nil
}

func (c *cgroup) close() {
	c.usage.close()
	c.stat.close()
	c.sock.close()
}

// cgroupUse is what the kernel charges to the cgroup.
type cgroupUse struct {
	usage        int64 // all of it
	inactiveFile int64
	activeFile   int64
	sock         int64 // of it, or beside it, socket buffers
	sockCharged  bool  // whether usage contains sock
}

// workingSet is usage less what the kernel drops first.
func (u *cgroupUse) workingSet() int64 { return max(0, u.usage-u.inactiveFile) }

// pinned is usage less all page cache: what cannot be had back without the
// process's doing. Socket memory is in it in either version.
func (u *cgroupUse) pinned() int64 {
	p := u.usage - u.inactiveFile - u.activeFile
	if !u.sockCharged {
		p += u.sock
	}
	return max(0, p)
}

// read fills u, less what readSockets does, without allocating. It reports
// whether it could. While usage is below enough it leaves what memory.stat says
// as it was: the kernel adds that up anew for each reader.
func (c *cgroup) read(u *cgroupUse, enough int64) bool {
	v, ok := parseInt(c.usage.read())
	if !ok {
		return false
	}
	u.usage = v
	if v < enough {
		return true
	}
	stat := c.stat.read()
	if c.version == 1 {
		u.inactiveFile, _ = statValue(stat, "total_inactive_file")
		u.activeFile, _ = statValue(stat, "total_active_file")
		return true
	}
	u.inactiveFile, _ = statValue(stat, "inactive_file")
	u.activeFile, _ = statValue(stat, "active_file")
	u.sock, _ = statValue(stat, "sock")
	u.sockCharged = true
	return true
}

// readSockets fills in what v1 has in a file of its own.
func (c *cgroup) readSockets(u *cgroupUse) {
	u.sock, _ = parseInt(c.sock.read())
}

// parseSelfCgroup returns the paths that /proc/self/cgroup gives for the v1
// memory controller and for v2; "" where it has none.
func parseSelfCgroup(data []byte) (v1, v2 string) {
	for line := range bytes.Lines(data) {
		parts := strings.SplitN(strings.TrimRight(string(line), "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			v2 = path.Clean(parts[2])
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			if controller == "memory" {
				v1 = path.Clean(parts[2])
			}
		}
	}
	return v1, v2
}

// cgroupMount is a mounted cgroup hierarchy that can hold the memory
// controller.
type cgroupMount struct {
	version int
	root    string // which of its directories is mounted
	point   string // where
}

// parseMountInfo picks the cgroup v2 mounts and the v1 memory mounts out of
// /proc/self/mountinfo, see proc_pid_mountinfo(5).
func parseMountInfo(data []byte) []cgroupMount {
	var out []cgroupMount
	for line := range bytes.Lines(data) {
		left, right, ok := strings.Cut(strings.TrimRight(string(line), "\n"), " - ")
		if !ok {
			continue
		}
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 1 {
			continue
		}
		m := cgroupMount{root: unescape(l[3]), point: unescape(l[4])}
		switch {
		case r[0] == "cgroup2":
			m.version = 2
		case r[0] == "cgroup" && len(r) >= 3 && hasOption(r[2], "memory"):
			m.version = 1
		default:
			continue
		}
		if strings.HasPrefix(m.root, "/") && strings.HasPrefix(m.point, "/") {
			m.root, m.point = path.Clean(m.root), path.Clean(m.point)
			out = append(out, m)
		}
	}
	return out
}

func hasOption(options, want string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// unescape undoes the octal escapes of mountinfo (space is \040).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseLimit reads memory.max, memory.high or memory.limit_in_bytes. No limit
// is math.MaxInt64. Values beyond it, which v1 kernels of 32 bits write, are
// no limit either.
func parseLimit(data []byte) (int64, error) {
	s := strings.TrimSpace(string(data))
	if s == "max" || s == "-1" {
		return math.MaxInt64, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not a limit: %.40q", s)
	}
	if v >= unlimitedV1 {
		return math.MaxInt64, nil
	}
	return int64(v), nil
}

// statValue finds "key value" at the start of a line, without allocating.
func statValue(data []byte, key string) (int64, bool) {
	for len(data) > 0 {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		if len(line) > len(key) && line[len(key)] == ' ' && string(line[:len(key)]) == key {
			return parseInt(line[len(key)+1:])
		}
	}
	return 0, false
}

// parseInt reads the decimal number that data starts with, after blanks. It
// reports false if there is none or it does not fit.
func parseInt(data []byte) (int64, bool) {
	i := 0
	for i < len(data) && (data[i] == ' ' || data[i] == '\t') {
		i++
	}
	start, v := i, int64(0)
	for ; i < len(data) && '0' <= data[i] && data[i] <= '9'; i++ {
		d := int64(data[i] - '0')
		if v > (math.MaxInt64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, i > start
}
