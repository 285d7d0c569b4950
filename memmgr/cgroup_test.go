package memmgr

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/stretchr/testify/require"
)

// tree writes a file tree and returns its root.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	return root
}

const (
	mountsV1     = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	mountsV2     = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
	mountsHybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n" + mountsV1 +
		"36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n"
	none = "9223372036854771712\n"

	statV2 = "anon 50331648\nfile 20971520\nkernel 1048576\nsock 7340032\nshmem 0\n" +
		"inactive_anon 1\nactive_anon 2\ninactive_file 12582912\nactive_file 8388608\n"
	statV1 = "cache 1\nrss 2\ninactive_file 5\nactive_file 6\nhierarchical_memory_limit 67108864\n" +
		"total_cache 20971520\ntotal_inactive_file 12582912\ntotal_active_file 8388608\n"
)

func TestCgroupLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64 // 0: ErrNoLimit
	}{
		{"v2 own", map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/app/memory.max": "268435456\n",
		}, 256 << 20},
		{"v2 the ancestor has less", map[string]string{
			"proc/self/cgroup": "0::/pod/app/inner\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/pod/memory.max":           "134217728\n",
			"sys/fs/cgroup/pod/app/memory.max":       "268435456\n",
			"sys/fs/cgroup/pod/app/inner/memory.max": "max\n",
		}, 128 << 20},
		{"v2 high is lower than max", map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/app/memory.max": "268435456\n", "sys/fs/cgroup/app/memory.high": "201326592\n",
		}, 192 << 20},
		{"v2 none", map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/app/memory.max": "max\n", "sys/fs/cgroup/app/memory.high": "max\n",
		}, 0},
		{"v2 in a cgroup namespace", map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 << 20},
		{"v2 a container's part is mounted", map[string]string{
			"proc/self/cgroup":         "0::/docker/abc\n",
			"proc/self/mountinfo":      "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 << 20},
		{"v2 above the namespace", map[string]string{
			"proc/self/cgroup":         "0::/../other\n",
			"proc/self/mountinfo":      "30 23 0:26 /../other /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			"sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 << 20},
		{"v1 own", map[string]string{
			"proc/self/cgroup": "9:name=systemd:/x\n4:cpu,memory:/job\n0::/\n", "proc/self/mountinfo": mountsHybrid,
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "536870912\n",
			"sys/fs/cgroup/unified/memory.max":               "4096\n",
		}, 512 << 20},
		{"v1 the ancestor has less", map[string]string{
			"proc/self/cgroup": "4:memory:/job\n", "proc/self/mountinfo": mountsV1,
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes": none,
			"sys/fs/cgroup/memory/job/memory.stat":           statV1,
		}, 64 << 20},
		{"v1 none", map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": mountsV1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": none,
			"sys/fs/cgroup/memory/memory.stat":           "hierarchical_memory_limit " + none,
		}, 0},
		{"v1 a host's path in a container", map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/abc\n",
			"proc/self/mountinfo":                        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		}, 64 << 20},
		{"a mount point with a space", map[string]string{
			"proc/self/cgroup":                 "0::/app\n",
			"proc/self/mountinfo":              "30 23 0:26 / /sys/fs/my\\040cgroups rw - cgroup2 cgroup2 rw\n",
			"sys/fs/my cgroups/app/memory.max": "67108864\n",
		}, 64 << 20},
		{"no cgroups at all", map[string]string{}, 0},
		{"no memory controller", map[string]string{
			"proc/self/cgroup": "2:cpu:/\n", "proc/self/mountinfo": mountsV1,
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cgroupLimit(tree(t, c.files))
			if c.want == 0 {
				require.ErrorIs(t, err, ErrNoLimit)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err := cgroupLimit(tree(t, map[string]string{
		"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/app/memory.max": "lots\n",
	}))
	require.ErrorContains(t, err, `memory.max: not a limit: "lots"`)
	require.NotErrorIs(t, err, ErrNoLimit)
}

// TestCgroupLimitAsAutomemlimit compares what we read of the real system with
// what a well-kept library reads.
func TestCgroupLimitAsAutomemlimit(t *testing.T) {
	theirs, err := memlimit.FromCgroup()
	ours, ourErr := CgroupLimit()
	if err != nil {
		require.Error(t, ourErr, "they say %v", err)
		return
	}
	require.NoError(t, ourErr)
	require.LessOrEqual(t, ours, int64(theirs), "memory.high may be lower")
}

// whole reads every file that is due.
func whole(s *sampler, out *Sample) {
	out.At = time.Now()
	for f := s.due(out.At); f != fromRuntime; f = s.due(out.At) {
		s.readFile(out, f)
	}
	out.At = time.Time{}
}

func TestCgroupUse(t *testing.T) {
	t.Run("v2", func(t *testing.T) {
		s := newSampler(tree(t, map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
			"proc/self/statm":                  "765 404 376 5 0 123 0\n",
			"proc/net/sockstat":                "sockets: used 17\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 109\nUDP: inuse 0 mem 3\n",
			"sys/fs/cgroup/app/memory.max":     "134217728\n",
			"sys/fs/cgroup/app/memory.current": "83886080\n",
			"sys/fs/cgroup/app/memory.stat":    statV2,
		}))
		defer s.close()
		var smp Sample
		whole(s, &smp)
		page := int64(os.Getpagesize())
		require.Equal(t, Sample{
			RSS: 404 * page, AnonRSS: 28 * page, HostSockets: 109 * page,
			CgroupUsage: 80 << 20, WorkingSet: 68 << 20, Pinned: 60 << 20, Sockets: 7 << 20,
		}, smp)
	})
	t.Run("v1", func(t *testing.T) {
		s := newSampler(tree(t, map[string]string{
			"proc/self/cgroup": "4:memory:/job\n", "proc/self/mountinfo": mountsV1,
			"sys/fs/cgroup/memory/job/memory.limit_in_bytes":          "67108864\n",
			"sys/fs/cgroup/memory/job/memory.usage_in_bytes":          "52428800\n",
			"sys/fs/cgroup/memory/job/memory.kmem.tcp.usage_in_bytes": "1048576\n",
			"sys/fs/cgroup/memory/job/memory.stat":                    statV1,
		}))
		defer s.close()
		var smp Sample
		whole(s, &smp)
		require.Equal(t, Sample{
			CgroupUsage: 50 << 20, WorkingSet: 38 << 20, Pinned: 31 << 20, Sockets: 1 << 20,
		}, smp, "v1 does not charge sockets to the usage")
	})
	t.Run("nothing there", func(t *testing.T) {
		s := newSampler(t.TempDir())
		defer s.close()
		var smp Sample
		require.Equal(t, fromRuntime, s.due(time.Now()), "there is no file to read")
		s.look(&smp, false)
		require.Positive(t, smp.GoTotal)
	})
	t.Run("no limit", func(t *testing.T) {
		s := newSampler(tree(t, map[string]string{
			"proc/self/cgroup": "0::/user\n", "proc/self/mountinfo": mountsV2,
			"sys/fs/cgroup/user/memory.max":     "max\n",
			"sys/fs/cgroup/user/memory.current": "83886080\n",
			"sys/fs/cgroup/user/memory.stat":    statV2,
		}))
		defer s.close()
		require.Nil(t, s.cgroup, "an unlimited cgroup may hold the whole session")
	})
}

// TestWatchFakeCgroup: socket memory that no figure of Go shows makes the
// level rise, page cache does not.
func TestWatchFakeCgroup(t *testing.T) {
	current := func(root, usage, stat string) {
		dir := filepath.Join(root, "sys/fs/cgroup/app")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "memory.current"), []byte(usage), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "memory.stat"), []byte(stat), 0o644))
	}
	const limit int64 = 8 << 30
	root := tree(t, map[string]string{
		"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2,
		"sys/fs/cgroup/app/memory.max":     strconv.FormatInt(limit, 10),
		"sys/fs/cgroup/app/memory.current": "0\n", "sys/fs/cgroup/app/memory.stat": "\n",
	})
	m, err := New(Options{root: root, Accounts: []AccountOptions{{Name: "a"}}})
	require.NoError(t, err)
	require.EqualValues(t, int64(limit), m.Limit())
	s := newSampler(root)
	defer s.close()
	now := m.watch.sample.At.AddDate(2000, 0, 0)
	step := func() Level {
		now = now.Add(filesEvery)
		for m.stepLocked(s, now).next == 0 {
		}
		return m.watch.ladder.level
	}
	// The whole limit, and all of it page cache.
	current(root, strconv.FormatInt(limit, 10), "inactive_file 4294967296\nactive_file 4290000000\nsock 0\n")
	require.Equal(t, Normal, step())
	current(root, strconv.FormatInt(limit*85/100, 10), "inactive_file 0\nactive_file 0\nsock 7000000000\n")
	require.Equal(t, High, step())
	require.Equal(t, SourceCgroup, m.Stats().Source)
}

func FuzzParseSelfCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/x\n4:cpu,memory:/job\n0::/\n"))
	f.Add([]byte("0::/../..\n:::\n4:memory:relative"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range func() []string { a, b := parseSelfCgroup(data); return []string{a, b} }() {
			require.True(t, p == "" || filepath.IsAbs(p) && filepath.Clean(p) == p, "%q", p)
			require.NotContains(t, p, "/../")
		}
	})
}

func FuzzParseMountInfo(f *testing.F) {
	f.Add([]byte(mountsHybrid + mountsV2))
	f.Add([]byte("30 23 0:26 / /a\\040b\\777\\0 rw - cgroup2 c\n - \n1 2 3 4 5 - cgroup c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range parseMountInfo(data) {
			require.Contains(t, []int{1, 2}, m.version)
			require.True(t, filepath.IsAbs(m.point) && filepath.IsAbs(m.root))
			if rel, ok := below(m.root, "/a/b"); ok {
				require.NotContains(t, rel, "..")
			}
		}
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"max\n", none, "-1", "18446744073709551615", "1e3", "", " 5 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseLimit(data)
		require.True(t, err != nil || v >= 0)
		require.True(t, err == nil || v == 0)
		require.True(t, v < unlimitedV1 || v == math.MaxInt64)
	})
}

func FuzzStat(f *testing.F) {
	f.Add([]byte(statV1), "total_inactive_file")
	f.Add([]byte(statV2), "sock")
	f.Add([]byte("765 404 376 5 0 123 0\n"), "")
	f.Add([]byte("TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 109\n"), "TCP:")
	f.Add([]byte("a 99999999999999999999\n\n\na"), "a")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		v, _ := statValue(data, key)
		require.GreaterOrEqual(t, v, int64(0))
		r, s := statmPages(data)
		require.True(t, r >= 0 && s >= 0)
		require.GreaterOrEqual(t, sockstatTCP(data), int64(0))
		// The whole chain on files with this content.
		root := tree(t, map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mountsV2, "proc/self/statm": string(data),
			"sys/fs/cgroup/app/memory.max": "134217728\n", "sys/fs/cgroup/app/memory.current": string(data),
			"sys/fs/cgroup/app/memory.stat": string(data),
		})
		smp := newSampler(root)
		defer smp.close()
		var out Sample
		whole(smp, &out)
		require.True(t, out.Pinned >= 0 && out.WorkingSet >= 0)
	})
}
