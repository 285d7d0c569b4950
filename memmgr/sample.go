package memmgr

import (
	"math"
	"os"
	"path/filepath"
	"runtime/metrics"
	"time"
)

// Sample is what the watchdog saw at one moment, in bytes. Figures that the
// system does not give are 0.
type Sample struct {
	At time.Time

	// Reserved is the sum of all accounts; ReservedHeap of those that count
	// Go heap.
	Reserved, ReservedHeap int64

	// Live is the heap that the last finished GC cycle found reachable;
	// Goal is the heap size at which the next cycle will have ended.
	Live, Goal int64
	// Expected is how much is expected to be live now: Live and, if it grew
	// from the cycle before to the last, as much again in the same time, as
	// long as the heap holds so much.
	Expected int64
	// GoTotal is what the runtime holds and has not returned to the system:
	// the figure that GOMEMLIMIT bounds. It contains garbage and idle spans.
	GoTotal int64
	// GoFixed is the part of GoTotal that is not heap: stacks, metadata, the
	// runtime's own structures.
	GoFixed int64
	// GoLimit is GOMEMLIMIT; 0 without one.
	GoLimit int64
	// GOGC is the percentage that is set; -1 when off. EffectiveGOGC is what
	// the memory limit leaves of it: below 25 the collector is close to the
	// death spiral.
	GOGC, EffectiveGOGC int
	// GCCycles counts finished GC cycles.
	GCCycles uint64

	// RSS is the process's resident set; AnonRSS that less file pages.
	RSS, AnonRSS int64
	// CgroupUsage is all that the kernel charges to the cgroup; WorkingSet is
	// that less inactive page cache; Pinned is that less all page cache, with
	// the sockets where v1 does not charge them. 0 in a cgroup without limit,
	// which may hold the whole machine.
	CgroupUsage, WorkingSet, Pinned int64
	// Sockets is the kernel memory of the cgroup's sockets (v2: memory.stat,
	// v1: memory.kmem.tcp, where that is accounted). HostSockets is that of
	// all TCP sockets of the host.
	Sockets, HostSockets int64

	// NotGo is anonymous memory of the process that the runtime does not hold
	// (C, mappings), and Sockets.
	NotGo int64
	// Needed is what would remain if all garbage were collected and returned:
	// expected or reserved heap, GoFixed, NotGo. It is what shedding lowers,
	// so it is what the level follows.
	Needed int64

	objects int64 // heap in objects, garbage included
}

// trend remembers how the live heap grew from one GC cycle to the next. Live
// is only measured at the end of a cycle, and in a ramp that is too late.
type trend struct {
	gcs    uint64
	at     time.Time // when the last cycle was seen to have ended
	live   int64
	growth int64         // of live over the cycle before
	took   time.Duration // by that cycle
}

// expect returns what is expected to be live at s.At.
func (t *trend) expect(s *Sample) int64 {
	if s.GCCycles != t.gcs {
		t.growth, t.took = s.Live-t.live, s.At.Sub(t.at)
		if t.gcs == 0 || s.GCCycles > t.gcs+4 {
			t.growth = 0
		}
		t.gcs, t.at, t.live = s.GCCycles, s.At, s.Live
	}
	if t.growth <= 0 || t.took <= 0 {
		return s.Live
	}
	part := min(1, float64(s.At.Sub(t.at))/float64(t.took))
	return max(s.Live, min(s.objects, s.Live+int64(part*float64(t.growth))))
}

// Names of the built-in sources, as in Stats and Pressure.
const (
	SourceLedger  = "ledger"  // reserved / budget
	SourceHeap    = "heap"    // expected or reserved heap / what GOMEMLIMIT leaves for heap
	SourceNeeded  = "needed"  // Sample.Needed / limit
	SourceCgroup  = "cgroup"  // pinned memory of the whole cgroup, less our garbage / its limit
	SourceTotal   = "total"   // what is occupied, garbage included / limit: critical only
	SourceSockets = "sockets" // kernel socket memory / Options.SocketLimit
)

var metricNames = [...]string{
	mTotal:    "/memory/classes/total:bytes",
	mReleased: "/memory/classes/heap/released:bytes",
	mObjects:  "/memory/classes/heap/objects:bytes",
	mUnused:   "/memory/classes/heap/unused:bytes",
	mFree:     "/memory/classes/heap/free:bytes",
	mLive:     "/gc/heap/live:bytes",
	mGoal:     "/gc/heap/goal:bytes",
	mLimit:    "/gc/gomemlimit:bytes",
	mGOGC:     "/gc/gogc:percent",
	mCycles:   "/gc/cycles/total:gc-cycles",
}

const (
	mTotal = iota
	mReleased
	mObjects
	mUnused
	mFree
	mLive
	mGoal
	mLimit
	mGOGC
	mCycles
	mCount
)

// sampler reads the figures, one of its sources at a look. It belongs to one
// goroutine.
type sampler struct {
	metrics  []metrics.Sample
	cgroup   *cgroup // nil: none
	statm    *statFile
	sockstat *statFile
	pageSize int64
	sockets  bool               // Options.SocketLimit is set: the host's figure matters
	readAt   [sources]time.Time // when each was read
	use      cgroupUse
	statAt   time.Time // when memory.stat was read though it did not matter
	limit    int64     // of the cgroup; 0: none
	limitAt  time.Time
}

// The sources of a sampler, in the order in which they are looked at.
const (
	fromRuntime = iota
	fromProcess // statm
	fromCgroup  // its usage and, where it matters, memory.stat
	fromSockets // v1: memory.kmem.tcp
	fromHost    // sockstat
	sources
)

// newSampler opens the files below root that exist.
func newSampler(root string) *sampler {
	s := &sampler{metrics: make([]metrics.Sample, mCount), pageSize: int64(os.Getpagesize())}
	for i, name := range metricNames {
		s.metrics[i].Name = name
	}
	if cg, err := findCgroup(root); err == nil {
		if _, err := cg.limit(); err == nil && cg.open() == nil {
			s.cgroup = cg
		}
	}
	s.statm = openStat(filepath.Join(root, "proc/self/statm"), 256)
	s.sockstat = openStat(filepath.Join(root, "proc/net/sockstat"), 4096)
	return s
}

func (s *sampler) close() {
	if s.cgroup != nil {
		s.cgroup.close()
	}
	s.statm.close()
	s.sockstat.close()
}

// limitNow returns the cgroup's limit, which may be changed from outside. It
// is read again every five seconds.
func (s *sampler) limitNow(now time.Time) int64 {
	if s.limitAt.IsZero() || now.Sub(s.limitAt) > 5*time.Second {
		s.limitAt = now
		s.limit, _ = s.cgroup.limit()
	}
	return s.limit
}

// readRuntime fills in the runtime's figures: one metrics.Read, which stops
// nothing, and no allocation.
func (s *sampler) readRuntime(out *Sample) {
	metrics.Read(s.metrics)
	v := func(i int) int64 {
		if s.metrics[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(min(s.metrics[i].Value.Uint64(), math.MaxInt64))
	}
	out.GoTotal = v(mTotal) - v(mReleased)
	out.objects = v(mObjects)
	out.GoFixed = max(0, out.GoTotal-out.objects-v(mUnused)-v(mFree))
	out.Live = v(mLive)
	out.Goal = v(mGoal)
	out.GCCycles = uint64(v(mCycles))
	out.GoLimit = v(mLimit)
	if out.GoLimit == math.MaxInt64 {
		out.GoLimit = 0
	}
	out.GOGC = int(int32(v(mGOGC)))
	if v(mGOGC) == math.MaxInt64 {
		out.GOGC = -1
	}
	// The collector's formula, solved for GOGC. Stacks and globals are in
	// GoFixed, with a little that is not.
	if base := out.Live + out.GoFixed; base > 0 && out.Goal > out.Live {
		out.EffectiveGOGC = int(min(100*(out.Goal-out.Live)/base, math.MaxInt32))
	}
}

// The kernel is asked less often than the runtime. What costs most and decides
// nothing yet is asked for once in wholeEvery.
const (
	filesEvery = 100 * time.Millisecond
	wholeEvery = time.Second
)

// look reads the runtime's figures, or one file if more said that there is
// one to read, and reports whether there is one more. So no look takes long,
// and yet none of a wake-up's decisions is made on old figures.
func (s *sampler) look(out *Sample, more bool) bool {
	if more {
		s.readFile(out, s.due(out.At))
	} else {
		s.readRuntime(out)
	}
	return s.due(out.At) != fromRuntime
}

// due returns the first file that is to be read again; fromRuntime: none.
func (s *sampler) due(now time.Time) int {
	for i := fromProcess; i < sources; i++ {
		every := filesEvery
		switch {
		case i == fromProcess && s.statm == nil,
			i == fromCgroup && s.cgroup == nil,
			i == fromSockets && (s.cgroup == nil || s.cgroup.sock == nil),
			i == fromHost && s.sockstat == nil:
			continue
		case i == fromHost && !s.sockets:
			every = wholeEvery
		}
		if s.readAt[i].IsZero() || now.Sub(s.readAt[i]) >= every {
			return i
		}
	}
	return fromRuntime
}

// readFile fills in what one of the kernel's files says.
func (s *sampler) readFile(out *Sample, file int) {
	s.readAt[file] = out.At
	switch file {
	case fromProcess:
		resident, shared := statmPages(s.statm.read())
		out.RSS, out.AnonRSS = resident*s.pageSize, max(0, resident-shared)*s.pageSize
	case fromHost:
		out.HostSockets = sockstatTCP(s.sockstat.read()) * s.pageSize
	case fromSockets:
		s.cgroup.readSockets(&s.use)
		out.Pinned, out.Sockets = s.use.pinned(), s.use.sock
	case fromCgroup:
		s.readCgroup(out)
	}
}

// readCgroup reads the usage and, if that is at least half of the limit,
// memory.stat, because only then can any division of it raise the level. Else
// memory.stat is read once in wholeEvery, for Stats: the kernel takes four
// times as long to write it as all other files.
func (s *sampler) readCgroup(out *Sample) {
	enough := s.limit / 2 // 0 as long as the limit is not known
	if s.statAt.IsZero() || out.At.Sub(s.statAt) >= wholeEvery {
		s.statAt, enough = out.At, 0
	}
	if !s.cgroup.read(&s.use, enough) {
		s.use = cgroupUse{}
	}
	out.CgroupUsage = s.use.usage
	out.WorkingSet = s.use.workingSet()
	out.Pinned = s.use.pinned()
	out.Sockets = s.use.sock
}

// derive fills in what follows from the rest.
func (out *Sample) derive() {
	out.NotGo = max(0, out.AnonRSS-out.GoTotal) + out.Sockets
	out.Needed = max(out.Expected, out.ReservedHeap) + out.GoFixed + out.NotGo
}

// slack is the garbage and the idle spans that the runtime holds.
func (out *Sample) slack() int64 {
	return max(0, out.GoTotal-out.GoFixed-max(out.Expected, out.ReservedHeap))
}

// statmPages returns the resident and the shared pages of /proc/self/statm.
func statmPages(data []byte) (resident, shared int64) {
	field := 0
	for i, c := range data {
		if c != ' ' {
			continue
		}
		switch field++; field {
		case 1:
			resident, _ = parseInt(data[i+1:])
		case 2:
			shared, _ = parseInt(data[i+1:])
			return resident, shared
		}
	}
	return resident, shared
}

// sockstatTCP returns the pages of memory that TCP sockets use, from
// /proc/net/sockstat: "TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 3".
func sockstatTCP(data []byte) int64 {
	const tcp, mem = "TCP:", " mem "
	for len(data) > 0 {
		end := len(data)
		for i, c := range data {
			if c == '\n' {
				end = i
				break
			}
		}
		line := data[:end]
		if len(line) > len(tcp) && string(line[:len(tcp)]) == tcp {
			for i := len(tcp); i+len(mem) <= len(line); i++ {
				if string(line[i:i+len(mem)]) == mem {
					v, _ := parseInt(line[i+len(mem):])
					return v
				}
			}
			return 0
		}
		data = data[min(end+1, len(data)):]
	}
	return 0
}
