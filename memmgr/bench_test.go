package memmgr

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func benchManager(b *testing.B) *Manager {
	m, err := New(Options{
		Limit: 1 << 40, Budget: 1 << 30,
		Accounts: []AccountOptions{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}, {Name: "full", Max: 1}},
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkReserve measures a Reserve and a Release together; bare is the two
// atomic instructions that neither can do without, and the loop.
func BenchmarkReserve(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		var word atomic.Uint64
		b.ReportAllocs()
		for b.Loop() {
			w := word.Load()
			word.CompareAndSwap(w, w+4096)
			word.Add(^uint64(4095))
		}
	})
	b.Run("alone", func(b *testing.B) {
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(4096)
			a.Release(4096)
		}
	})
	b.Run("contended", func(b *testing.B) {
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a.Reserve(4096)
				a.Release(4096)
			}
		})
	})
	b.Run("apart", func(b *testing.B) {
		m := benchManager(b)
		var next atomic.Int32
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			a := m.ledger.accounts[int(next.Add(1))%4]
			for pb.Next() {
				a.Reserve(4096)
				a.Release(4096)
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		a := benchManager(b).Account("full")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(4096)
		}
	})
	b.Run("grow", func(b *testing.B) { // a chunk from the shared rest, and back
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(1 << 20)
			a.Release(1 << 20)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	m := benchManager(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Admit()
	}
}

// looks are the kinds of samples that the watchdog takes: the runtime at each
// wake-up, and then each file that is due. How often that is stands in due and
// readCgroup. One sample is one look, and the decision that follows from it.
var looks = []struct {
	name string
	file int
	stat bool // memory.stat too
}{
	{"runtime", fromRuntime, false},
	{"process", fromProcess, false},
	{"cgroup", fromCgroup, false},
	{"sockets", fromSockets, false},
	{"host", fromHost, false},
	{"cgroupStat", fromCgroup, true},
}

// looker returns a function that takes samples of one kind; nil where the
// system has no such file.
func looker(tb testing.TB, root string, file int, stat bool) func() {
	m, err := New(Options{
		Limit: 1 << 40, Budget: 1 << 30,
		Accounts: []AccountOptions{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}, {Name: "full", Max: 1}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	s := newSampler(root)
	tb.Cleanup(s.close)
	now := time.Now()
	for m.stepLocked(s, now).next == 0 { // everything is read once
	}
	if file != fromRuntime && s.readAt[file].IsZero() {
		return nil
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.watch.more = file != fromRuntime; m.watch.more {
			s.readAt[file] = time.Time{}
		}
		if stat {
			s.statAt = time.Time{}
		}
		m.stepLocked(s, now)
	}
}

// BenchmarkSample measures what each kind of sample costs.
func BenchmarkSample(b *testing.B) {
	for _, l := range looks {
		b.Run(l.name, func(b *testing.B) {
			look := looker(b, limitedRoot(b), l.file, l.stat)
			if look == nil {
				b.Skip("this system has no such file")
			}
			b.ReportAllocs()
			for b.Loop() {
				look()
			}
		})
	}
}

func TestSampleAllocates(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/self/cgroup": "4:memory:/job\n", "proc/self/mountinfo": mountsV1,
		"proc/self/statm": "765 404 376 5 0 123 0\n", "proc/net/sockstat": "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 109\n",
		"sys/fs/cgroup/memory/job/memory.limit_in_bytes":          "67108864\n",
		"sys/fs/cgroup/memory/job/memory.usage_in_bytes":          "52428800\n",
		"sys/fs/cgroup/memory/job/memory.kmem.tcp.usage_in_bytes": "1048576\n",
		"sys/fs/cgroup/memory/job/memory.stat":                    statV1,
	})
	for _, l := range looks {
		look := looker(t, root, l.file, l.stat)
		require.NotNil(t, look, l.name)
		require.Zero(t, testing.AllocsPerRun(200, look), l.name)
	}
}
