package load

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ServerUsage is what the server's process used in the window.
type ServerUsage struct {
	RSSBefore int64   `json:"rssBefore"` // bytes, before the first person came
	RSSMean   int64   `json:"rssMean"`
	RSSMax    int64   `json:"rssMax"`
	RSSPeak   int64   `json:"rssPeak"` // since the process began (VmHWM)
	Cores     float64 `json:"cores"`   // CPU time by time
}

// A watcher looks at the server's process once a second.
type watcher struct {
	pid int

	mu     sync.Mutex
	usage  ServerUsage
	sum, n int64
	cpu    time.Duration
	since  time.Time
	on     bool
	done   chan struct{}
}

// watch begins to look at process pid, until ctx ends. Without a pid, or where
// there is no /proc, it sees nothing.
func watch(ctx context.Context, pid int) *watcher {
	w := &watcher{pid: pid, done: make(chan struct{})}
	if pid > 0 {
		w.usage.RSSBefore, _ = w.memory()
		go w.run(ctx)
	}
	return w
}

func (w *watcher) run(ctx context.Context) {
	for wait(ctx, time.Second) {
		rss, _ := w.memory()
		w.mu.Lock()
		if w.on {
			w.sum += rss
			w.n++
			w.usage.RSSMax = max(w.usage.RSSMax, rss)
		}
		w.mu.Unlock()
	}
}

func (w *watcher) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.since, w.cpu = true, time.Now(), w.cpuTime()
}

func (w *watcher) stop() *ServerUsage {
	if w.pid <= 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	_, w.usage.RSSPeak = w.memory()
	if w.n > 0 {
		w.usage.RSSMean = w.sum / w.n
	}
	w.usage.Cores = (w.cpuTime() - w.cpu).Seconds() / time.Since(w.since).Seconds()
	usage := w.usage
	return &usage
}

// memory reads the resident set and its peak, 0 where it cannot.
func (w *watcher) memory() (rss, peak int64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, _ := strconv.ParseInt(kb, 10, 64)
		switch name {
		case "VmRSS":
			rss = n << 10
		case "VmHWM":
			peak = n << 10
		}
	}
	return rss, peak
}

// cpuTime reads user and system time, in ticks of 10 ms.
func (w *watcher) cpuTime() time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
