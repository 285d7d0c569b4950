package presence

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// WatchOptions say what a watcher looks at.
type WatchOptions struct {
	// Limit bounds the window: how many members are shown, the first in join
	// order after the cursor. 0 means 50, less than 0 shows only the count.
	Limit int

	// After is the cursor at which the window begins: 0, or the Next of a
	// window of the same topic on this node.
	After uint64

	// Exclude are users who are neither shown nor counted.
	Exclude []string

	// Deliver gets every Diff, one at a time and in order, the first one with
	// Resync at once, which may be before Watch has returned. It must not
	// block: where a queue is full, drop the Diff and call Resync. It may call
	// the tracker. Required.
	Deliver func(*Diff)
}

// A Watcher is told what changes in its window of a topic. Its methods may be
// called from any goroutine, also from Deliver.
type Watcher struct {
	t       *Tracker
	tp      *topic
	deliver func(*Diff)
	closed  atomic.Bool

	// The tracker's lock guards what follows.
	index   int // in topic.watch.all
	lens    *lens
	exclude []string
	view    *view // what was told; nil: nothing yet
	count   int
	next    uint64
	fresh   bool   // in topic.watch.fresh: wants the whole window
	told    uint32 // whole windows so far
	cost    int64
}

// watched is what a topic knows of its watchers.
type watched struct {
	all    []*Watcher
	fresh  []*Watcher
	lenses map[lensKey]*lens
}

// Watch begins to tell o.Deliver what is in the window of topic, and what
// changes there. The topic need not have members.
//
// It fails with a *LimitError, ErrInvalidID, ErrClosed or the Account's error.
func (t *Tracker) Watch(topic string, o WatchOptions) (*Watcher, error) {
	if o.Deliver == nil {
		return nil, errors.New("presence: WatchOptions.Deliver = nil, want a function")
	}
	limit, err := t.window(o.Limit, o.Exclude)
	if err != nil {
		return nil, err
	}
	if err := t.checkSizes(nil, topic); err != nil {
		return nil, err
	}
	w := &Watcher{t: t, deliver: o.Deliver, exclude: slices.Clone(o.Exclude), cost: int64(watcherCost + limit*viewCost)}
	for _, id := range o.Exclude {
		w.cost += int64(16 + len(id))
	}
	need := w.cost + int64(topicCost+len(topic))
	err = t.change(need, func() error {
		if t.watches >= t.opts.MaxWatchers {
			t.stats.refused.Watchers++
			return &LimitError{"watchers", t.opts.MaxWatchers}
		}
		tp, err := t.addTopic(topic)
		if err != nil {
			return err
		}
		w.tp = tp
		w.index = len(tp.watch.all)
		tp.watch.all = append(tp.watch.all, w)
		t.watches++
		t.bytes += w.cost
		w.through(lensKey{o.After, limit})
		t.refresh(w, 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Move sets the window to begin after another cursor. The next Diff is a
// Resync with the new window; it comes at once.
func (w *Watcher) Move(after uint64) {
	w.renew(func() { w.through(lensKey{after, w.lens.limit}) })
}

// Resync asks for the whole window again, for a watcher that dropped a Diff.
// What has happened until then is in it; nothing is queued. It is told with
// the next Tick, so that a watcher who cannot follow is not told more often.
func (w *Watcher) Resync() {
	_ = w.t.change(0, func() error {
		if !w.closed.Load() && !w.fresh {
			w.t.stats.Behind++
			w.t.refresh(w, w.t.opts.Tick)
		}
		return nil
	})
}

// Exclude replaces the users who are neither shown nor counted. The next Diff
// is a Resync; it comes at once. It fails with a *LimitError, ErrClosed or the
// Account's error.
func (w *Watcher) Exclude(users []string) error {
	if _, err := w.t.window(0, users); err != nil {
		return err
	}
	users = slices.Clone(users)
	cost := int64(0)
	for _, id := range users {
		cost += int64(16 + len(id))
	}
	return w.t.change(cost, func() error {
		if w.closed.Load() {
			return nil
		}
		for _, id := range w.exclude {
			cost -= int64(16 + len(id))
		}
		w.cost += cost
		w.t.bytes += cost
		w.exclude = users
		w.t.refresh(w, 0)
		return nil
	})
}

// Close ends the watcher. A Deliver that is running goes on; no other begins.
func (w *Watcher) Close() {
	_ = w.t.change(0, func() error {
		if w.closed.Swap(true) {
			return nil
		}
		t, all := w.t, w.tp.watch.all
		last := len(all) - 1
		all[w.index] = all[last]
		all[w.index].index = w.index
		all[last] = nil
		w.tp.watch.all = all[:last]
		if w.fresh {
			fresh := &w.tp.watch.fresh
			*fresh = slices.DeleteFunc(*fresh, func(x *Watcher) bool { return x == w })
		}
		w.unlens()
		w.view = nil
		t.watches--
		t.bytes -= w.cost
		if last == 0 {
			w.tp.watch = watched{}
			t.dropTopic(w.tp)
		}
		return nil
	})
}

func (w *Watcher) renew(f func()) {
	_ = w.t.change(0, func() error {
		if !w.closed.Load() {
			f()
			w.t.refresh(w, 0)
		}
		return nil
	})
}

// refresh makes the next diff of w a whole window, due after that time.
func (t *Tracker) refresh(w *Watcher, after time.Duration) {
	w.view = nil
	if !w.fresh {
		w.fresh = true
		w.tp.watch.fresh = append(w.tp.watch.fresh, w)
	}
	t.flushAt(w.tp, t.now()+int64(after))
}

// through makes w look through the lens k.
func (w *Watcher) through(k lensKey) {
	lenses := &w.tp.watch.lenses
	l := (*lenses)[k]
	if l == nil {
		if *lenses == nil {
			*lenses = make(map[lensKey]*lens)
		}
		l = &lens{lensKey: k, view: w.tp.look(k, nil, nil)}
		(*lenses)[k] = l
	}
	l.watchers++
	w.unlens()
	w.lens = l
}

func (w *Watcher) unlens() {
	if w.lens == nil {
		return
	}
	if w.lens.watchers--; w.lens.watchers == 0 {
		delete(w.tp.watch.lenses, w.lens.lensKey)
	}
	w.lens = nil
}

func (t *Tracker) window(limit int, exclude []string) (int, error) {
	switch {
	case limit == 0:
		limit = min(50, t.opts.MaxWindow)
	case limit < 0:
		limit = 0
	case limit > t.opts.MaxWindow:
		t.count(&t.stats.refused.Window)
		return 0, &LimitError{"members in a window", t.opts.MaxWindow}
	}
	if len(exclude) > t.opts.MaxExclude {
		t.count(&t.stats.refused.Window)
		return 0, &LimitError{"excluded users", t.opts.MaxExclude}
	}
	return limit, nil
}

// ListOptions say which window List returns; the fields are those of WatchOptions.
type ListOptions struct {
	Limit   int      // 0 means 50, less than 0 only the count
	After   uint64   // 0, or the Next of another window
	Exclude []string // users who are neither shown nor counted
}

// List returns a window of topic as a watcher would see it now. An unchanged
// Version means an unchanged topic. It fails with a *LimitError or ErrInvalidID.
func (t *Tracker) List(topic string, o ListOptions) (*Snapshot, error) {
	limit, err := t.window(o.Limit, o.Exclude)
	if err != nil {
		return nil, err
	}
	if err := t.checkSizes(nil, topic); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topics[topic]
	if tp == nil {
		return &Snapshot{}, nil
	}
	v := tp.look(lensKey{o.After, limit}, t.excluded(tp, o.Exclude), nil)
	s := &Snapshot{Version: tp.version, Count: tp.live() - len(t.memo.exclude), Next: v.next}
	for _, e := range v.entries {
		s.Members = append(s.Members, Member{e.m.user.id(), e.m.meta()})
	}
	return s, nil
}

// excluded returns the members among users, as told. The slice is t.memo's.
func (t *Tracker) excluded(tp *topic, users []string) []*member {
	list := t.memo.exclude[:0]
	for _, id := range users {
		u := t.users.find(id)
		if u == nil {
			continue
		}
		if m := t.member(u, tp); m != nil && m.is(told) && !excludes(list, m) {
			list = append(list, m)
		}
	}
	t.memo.exclude = list
	return list
}
