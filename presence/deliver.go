package presence

import (
	"math"
	"time"
)

// Where many watch, all would be told at the same moment, and what else a server
// has to send would wait behind that. So a diff for more than spreadFrom watchers
// is handed out in parts, one each spreadEvery, over half a Tick. What is not on
// its way after three quarters of one goes at once: before the next diff of
// the topic, so that no watcher ever has two of them waiting.
const (
	spreadFrom  = 64
	spreadEvery = 10 * time.Millisecond
)

// delivery is a Diff on its way, out of the lock.
type delivery struct {
	w    *Watcher
	d    *Diff
	told uint32 // w.told as it was made
}

// deliver hands out what flush made, and says when there is more to hand out.
// Only run calls it.
func (t *Tracker) deliver(now int64) (next int64) {
	parts := int(t.opts.Tick / 2 / spreadEvery)
	if len(t.later) == 0 && (len(t.out) <= spreadFrom || parts < 2) {
		t.handAll(t.out)
		t.out = t.out[:0]
		return math.MaxInt64
	}
	if len(t.later) == 0 {
		t.lateAt = now + int64(t.opts.Tick)*3/4
	}
	if len(t.out) > 0 {
		n := copy(t.later, t.later[t.handed:])
		clear(t.later[n:])
		t.later, t.handed = t.later[:n], 0
		for _, x := range t.out { // whole windows do not wait, the rest keeps its order
			if x.d.Resync {
				t.hand(x)
			} else {
				t.later = append(t.later, x)
			}
		}
		clear(t.out)
		t.out = t.out[:0]
		t.part = max(t.part, spreadFrom, len(t.later)/max(parts, 1)+1)
	}
	if now >= t.nextPart {
		n := len(t.later) - t.handed
		if now < t.lateAt {
			n = min(n, t.part)
		}
		t.handAll(t.later[t.handed : t.handed+n])
		t.handed += n
		t.nextPart = now + int64(spreadEvery)
	}
	if t.handed < len(t.later) {
		return t.nextPart
	}
	t.later, t.handed, t.part = t.later[:0], 0, 0
	return math.MaxInt64
}

func (t *Tracker) handAll(list []delivery) {
	for i := range list {
		t.hand(list[i])
		list[i] = delivery{}
	}
}

func (t *Tracker) hand(x delivery) {
	if x.w.closed.Load() || x.told != x.w.told {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			t.count(&t.stats.Panics)
			t.log.Error("presence: Deliver panicked", "topic", x.w.tp.name, "panic", r)
			x.w.Close()
		}
	}()
	x.w.deliver(x.d)
}
