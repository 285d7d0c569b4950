package bus

import "time"

const (
	letterBytes   = 64 << 10 // about the largest letter, unless one parcel is larger
	letterParcels = 512
	ackAfter      = 150 * time.Millisecond // a letter without hurry is acknowledged so late
	resendAfter   = time.Second            // what is not acknowledged is sent again; twice as late each time
	resendLatest  = 4 * time.Second
)

// link is one direction from this node to another, and what is known of the
// other one: parcels have numbers, wait until they are acknowledged, and are
// sent again from there when they are not. life.mu guards it; it does no I/O.
type link struct {
	queue []parcel // those that are not acknowledged; the first has number base
	base  uint64
	sent  int // of queue
	bytes int

	urgent   bool      // somebody waits for an acknowledgement of what was not sent yet
	progress time.Time // of the last acknowledgement, or the first sending after one
	patience time.Duration

	heard  uint64    // all of the other's parcels up to this one have arrived
	owed   bool      // and it does not know
	ackDue time.Time // by when it should
	again  bool      // and it should send those after heard once more

	acked chan struct{} // closed and replaced when base grows
}

func newLink() *link {
	return &link{base: 1, patience: resendAfter, acked: make(chan struct{})}
}

// add puts a parcel in the queue and gives its number.
func (l *link) add(p parcel) uint64 {
	l.queue = append(l.queue, p)
	l.bytes += p.cost()
	return l.base + uint64(len(l.queue)) - 1
}

// overflow throws away what waits, and has the receiver told. What it is to
// know beside that the caller adds.
func (l *link) overflow() {
	l.base += uint64(len(l.queue))
	l.queue, l.sent, l.bytes = nil, 0, 0
	l.add(parcel{kind: missed})
	l.wake()
}

func (l *link) wake() {
	close(l.acked)
	l.acked = make(chan struct{})
}

// takeBack makes a parcel that was not sent yet nothing.
func (l *link) takeBack(number uint64) {
	if i := int(number - l.base); number >= l.base && i >= l.sent && i < len(l.queue) {
		l.bytes -= l.queue[i].cost()
		l.queue[i] = parcel{kind: nothing}
		l.bytes += l.queue[i].cost()
	}
}

// next gives the letter to send now, if there is one, and how many parcels of
// the queue are in it.
func (l *link) next(now time.Time) (letter, bool) {
	if l.sent > 0 && now.Sub(l.progress) > l.patience {
		l.sent, l.progress, l.urgent = 0, now, true
		l.patience = min(2*l.patience, resendLatest)
	}
	rest := l.queue[l.sent:]
	if len(rest) == 0 && !(l.owed && !now.Before(l.ackDue)) {
		return letter{}, false
	}
	n, size := 0, 0
	for n < len(rest) && n < letterParcels && (n == 0 || size+rest[n].cost() <= letterBytes) {
		size += rest[n].cost()
		n++
	}
	return letter{acked: l.heard, again: l.again, urgent: l.urgent, first: l.base + uint64(l.sent), parcels: rest[:n:n]}, true
}

// went notes that a letter is on its way.
func (l *link) went(t letter, now time.Time) {
	if at := l.base + uint64(l.sent); t.first == at { // else it was acknowledged, or begun anew, meanwhile
		if l.sent == 0 {
			l.progress = now
		}
		l.sent += len(t.parcels)
	}
	l.urgent = false
	if t.acked == l.heard && t.again == l.again {
		l.owed, l.again = false, false
	}
}

// due gives when next has something again, zero if only a new parcel does.
func (l *link) due() time.Time {
	var at time.Time
	if l.sent > 0 {
		at = l.progress.Add(l.patience)
	}
	if l.owed && (at.IsZero() || l.ackDue.Before(at)) {
		at = l.ackDue
	}
	return at
}

// take notes what a letter of the other one says and gives the parcels that
// are new, how many had come before, and whether some that were not seen are
// lost for good.
func (l *link) take(t letter, now time.Time) (fresh []parcel, doubled int, gap bool) {
	if n := int(t.acked + 1 - l.base); t.acked >= l.base && n <= len(l.queue) {
		for _, p := range l.queue[:n] {
			l.bytes -= p.cost()
		}
		clear(l.queue[:n])
		l.queue, l.base, l.sent = l.queue[n:], l.base+uint64(n), max(0, l.sent-n)
		if len(l.queue) == 0 {
			l.queue = nil // one busy second does not keep its memory for ever
		}
		l.progress, l.patience = now, resendAfter
		l.wake()
	}
	if t.again {
		l.sent = 0
	}
	if len(t.parcels) == 0 {
		return nil, 0, false
	}
	due := now.Add(ackAfter)
	if t.urgent {
		due = now
	}
	if !l.owed || due.Before(l.ackDue) {
		l.ackDue = due
	}
	l.owed = true
	want := l.heard + 1
	last := t.first + uint64(len(t.parcels)) - 1
	switch {
	case last < want: // all of it came before
		l.ackDue = now
		return nil, len(t.parcels), false
	case t.first <= want:
		fresh, doubled = t.parcels[want-t.first:], int(want-t.first)
	case t.parcels[0].kind == missed:
		fresh, gap = t.parcels, true
	default: // some are missing: the sender repeats from there
		l.again, l.ackDue = true, now
		return nil, 0, false
	}
	for _, p := range fresh {
		gap = gap || p.kind == missed
	}
	l.heard = last
	return fresh, doubled, gap
}
