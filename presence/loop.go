package presence

import (
	"slices"
	"time"
)

// run is the tracker's goroutine: it handles what is due, one topic at a time,
// and sleeps until the next deadline.
func (t *Tracker) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := t.step()
		timer.Reset(wait)
		select {
		case <-t.quit:
			return
		case <-t.poke:
		case <-timer.C:
		}
	}
}

// step handles a batch of users and one topic, and returns how long there is
// nothing more to do.
func (t *Tracker) step() time.Duration {
	now := t.now()
	t.mu.Lock()
	before := t.bytes
	t.away.advance(now)
	t.due.advance(now)
	for range 256 {
		x, ok := t.away.pop()
		if !ok {
			break
		}
		t.expire(x, now)
	}
	tp, ok := t.due.pop()
	if ok && !t.closed {
		t.flush(tp, now)
	}
	freed := before - t.bytes
	next := min(t.away.next(), t.due.next())
	t.asleep = next
	t.mu.Unlock()
	t.release(freed)
	next = min(next, t.deliver(now))
	if next > now+int64(time.Hour) { // math.MaxInt64: nothing to do
		return time.Hour
	}
	return time.Duration(max(next-now, 0))
}

// flush makes what watchers of tp get now: everybody what is due, those who
// want it the whole window.
func (t *Tracker) flush(tp *topic, now int64) {
	memo := &t.memo
	memo.reset()
	if tp.tickAt != 0 && now >= tp.tickAt {
		tp.tickAt = 0
		changed := t.applyDue(tp, now)
		for _, l := range tp.watch.lenses {
			if changed {
				l.view = tp.look(l.lensKey, nil, l.view)
			}
		}
		t.diffs(tp, now)
	}
	for _, w := range tp.watch.fresh {
		w.fresh = false
		v, count := t.see(w)
		w.told++ // what is on its way is in this
		d := v.snap
		if d == nil || d.Version != tp.version || d.Count != count {
			d = memo.diff(tp, nil, v, count)
			v.snap = d
		}
		t.send(w, v, d)
		t.stats.Resyncs++
	}
	clear(tp.watch.fresh)
	tp.watch.fresh = tp.watch.fresh[:0]
	t.stats.Made += uint64(len(memo.byBytes))
	if tp.tickAt != 0 {
		t.flushAt(tp, tp.tickAt)
	}
	// No view shows them any more. This may free tp.
	for _, m := range memo.left {
		t.dropMember(m)
	}
	clear(memo.left)
	memo.left = memo.left[:0]
}

// diffs makes the diff of every watcher that knows an earlier view. One that
// would tell nothing but a count or a cursor waits for CountEvery.
func (t *Tracker) diffs(tp *topic, now int64) {
	calm := now < tp.counted+int64(t.opts.CountEvery)
	counted := false
	later := false
	for _, w := range tp.watch.all {
		if w.view == nil {
			continue // it is fresh
		}
		v, count := t.see(w)
		moved := count != w.count || v.next != w.next
		if v == w.view && (!moved || calm) {
			later = later || moved
			continue
		}
		d := t.memo.diff(tp, w.view, v, count)
		if !d.empty() {
			t.send(w, v, d)
			continue
		}
		w.view = v // the same members
		if moved && !calm {
			counted = true
			t.send(w, v, d)
		} else {
			later = later || moved
		}
	}
	if counted {
		tp.counted = now
	}
	if later {
		t.schedule(tp, tp.counted+int64(t.opts.CountEvery))
	}
}

// see returns the view of w and its count, and shares the view of its lens
// unless somebody whom w excludes is in that.
func (t *Tracker) see(w *Watcher) (*view, int) {
	tp := w.tp
	exclude := t.excluded(tp, w.exclude)
	count := tp.live() - len(exclude)
	if slices.ContainsFunc(exclude, func(m *member) bool { return w.lens.covers(tp.seq(m)) }) {
		return tp.look(w.lens.lensKey, exclude, w.view), count
	}
	return w.lens.view, count
}

func (t *Tracker) send(w *Watcher, v *view, d *Diff) {
	w.view, w.count, w.next = v, d.Count, d.Next
	t.out = append(t.out, delivery{w, d, w.told})
	t.stats.Delivered++
}
