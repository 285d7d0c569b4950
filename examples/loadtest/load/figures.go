package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// figures is everything that is counted. Latencies and calls count in the
// window only, faults always.
type figures struct {
	inWindow  atomic.Bool
	began     time.Time
	took      time.Duration
	base, end [4]int64 // traffic

	connected, calling              atomic.Int64 // now
	attempted, completed            atomic.Int64
	attemptedIn, completedIn        atomic.Int64 // in the window
	messages, presence, checked     atomic.Int64
	lost, doubled, reordered        atomic.Int64
	cuts, resumed, notModified      atomic.Int64
	signUp, connect, notify, start  histogram
	sdp, chat, finalized, queueRead histogram
	messagesBefore, messagesAfter   int64
	presenceBefore, presenceAfter   int64
	connectedAtEnd                  int64

	mu     sync.Mutex
	errors map[string]int64
}

// maxErrors bounds the reasons that are told apart.
const maxErrors = 100

// count counts a fault.
func (f *figures) count(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errors == nil {
		f.errors = map[string]int64{}
	}
	if _, ok := f.errors[reason]; !ok && len(f.errors) >= maxErrors {
		reason = "other"
	}
	f.errors[reason]++
}

// fail counts an error under a reason without its changing parts.
func (f *figures) fail(what string, err error) {
	reason := err.Error()
	var op *net.OpError
	if e, ok := errors.AsType[*sigclient.Error](err); ok {
		reason = e.Code
		if at := strings.Index(err.Error(), "sigclient: "); at > 0 {
			what = strings.TrimSuffix(what+" "+err.Error()[:at], ": ")
		}
	} else if errors.Is(err, context.DeadlineExceeded) {
		reason = "timeout"
		if before, _, ok := strings.Cut(err.Error(), ": "); ok && what == "call" {
			what += " " + before
		}
	} else if errors.As(err, &op) {
		reason = op.Op + ": " + op.Err.Error()
	}
	f.count(what + ": " + reason)
}

// record counts a latency if the window is open.
func (f *figures) record(h *histogram, d time.Duration) {
	if f.inWindow.Load() {
		h.add(d)
	}
}

// always counts a latency at any time.
func (f *figures) always(h *histogram, d time.Duration) { h.add(d) }

// window counts if the window is open.
func (f *figures) window(n *atomic.Int64) {
	if f.inWindow.Load() {
		n.Add(1)
	}
}

func (f *figures) lose(kind string, n int64) {
	f.lost.Add(n)
	f.count("lost " + kind)
}

// compare compares the numbers that came with 0, 1, … want-1.
func (f *figures) compare(kind string, got []int, want int) {
	seen := make([]bool, want)
	last := -1
	distinct := 0
	for _, n := range got {
		switch {
		case n < 0 || n >= want:
			f.count("unknown " + kind)
			continue
		case seen[n]:
			f.doubled.Add(1)
			f.count("doubled " + kind)
			continue
		case n < last:
			f.reordered.Add(1)
			f.count("reordered " + kind)
		}
		seen[n] = true
		distinct++
		last = max(last, n)
	}
	if distinct < want {
		f.lose(kind, int64(want-distinct))
	}
}

// open and close begin and end the window.
func (f *figures) open(t *traffic) {
	f.began, f.base, f.messagesBefore, f.presenceBefore = time.Now(), t.read(), f.messages.Load(), f.presence.Load()
	f.inWindow.Store(true)
}

func (f *figures) close(t *traffic) {
	f.inWindow.Store(false)
	f.took, f.end, f.messagesAfter, f.presenceAfter = time.Since(f.began), t.read(), f.messages.Load(), f.presence.Load()
	f.connectedAtEnd = f.connected.Load()
}

func (t *traffic) read() [4]int64 {
	return [4]int64{t.ws.in.Load(), t.ws.out.Load(), t.http.in.Load(), t.http.out.Load()}
}

// line is the progress in a line.
func (f *figures) line() string {
	f.mu.Lock()
	faults := int64(0)
	for _, n := range f.errors {
		faults += n
	}
	f.mu.Unlock()
	return fmt.Sprintf("%d connected, %d in calls, %d calls done, %d faults, %d lost, %d doubled, %d reordered",
		f.connected.Load(), 2*f.calling.Load(), f.completed.Load(), faults, f.lost.Load(), f.doubled.Load(), f.reordered.Load())
}
