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
	back                            histogram // from the loss of a session to the next
	rejoined                        atomic.Int64
	connectedAtEnd                  int64
	faults                          bool

	mu        sync.Mutex
	errors    map[string]int64
	announced map[string]int64
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

// announce counts what the platform said of a fault. Where none is expected, it
// is one.
func (f *figures) announce(what string) {
	if !f.faults {
		f.count(what)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.announced == nil {
		f.announced = map[string]int64{}
	}
	if _, ok := f.announced[what]; !ok && len(f.announced) >= maxErrors {
		what = "other"
	}
	f.announced[what]++
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
	if f.faults && told(reason) {
		f.announce(what + ": " + reason)
		return
	}
	f.count(what + ": " + reason)
}

// told reports whether an error is the platform's word that something does not
// work now, or the network's that a server is not there.
func told(reason string) bool {
	for _, known := range []string{"unavailable", "draining", "busy_server", "not_found", "offline", "busy", "not_in_room", "superseded",
		"session was replaced", "connection refused", "connection reset", "broken pipe", "EOF", "status 503", "closed network", "sigclient: closed"} {
		if strings.Contains(reason, known) {
			return true
		}
	}
	return false
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

// compare compares the numbers that came with 0, 1, … of-1, of which those must
// have come for which must says so.
func (f *figures) compare(kind string, got []int, of int, must func(int) bool) {
	seen := make([]bool, of)
	last := -1
	for _, n := range got {
		switch {
		case n == newSession:
			last = -1
			continue
		case n < 0 || n >= of:
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
		last = max(last, n)
	}
	for n, came := range seen {
		if !came && must(n) {
			f.lose(kind, 1)
		}
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

// faulty counts the errors so far.
func (f *figures) faulty() (all int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.errors {
		all += n
	}
	return all
}

// line is the progress in a line.
func (f *figures) line() string {
	faults := f.faulty()
	return fmt.Sprintf("%d connected, %d in calls, %d calls done, %d faults, %d lost, %d doubled, %d reordered",
		f.connected.Load(), 2*f.calling.Load(), f.completed.Load(), faults, f.lost.Load(), f.doubled.Load(), f.reordered.Load())
}
