package presence

import (
	"math"
	"math/bits"
)

const (
	slotTime = int64(10e6) // 10 ms: how late a deadline may be
	slots    = 1024        // one turn is 10.24 s; what is due later waits for its turn
	ready    = slots + 1   // the list of those that are due
)

// wheel holds deadlines (Varghese and Lauck, hashed timing wheels, scheme 6).
// Setting, moving and cancelling one costs a few pointers; there is no timer
// and no goroutine for any of them. Lists are numbered from 1, so that the
// zero link is in none. It is not safe for concurrent use.
type wheel[T linked[T]] struct {
	lists [slots + 2]list[T]
	used  [slots / 64]uint64 // which slots are not empty
	at    int64              // every slot up to this time/slotTime is done
	n     int
}

// set puts x at due, or moves it there.
func (w *wheel[T]) set(x T, due int64) {
	n := x.node()
	if n.slot != 0 {
		if n.due == due {
			return
		}
		w.cancel(x)
	}
	n.due = due
	at := max((due+slotTime-1)/slotTime, w.at+1)
	slot := at & (slots - 1)
	n.slot = int32(slot) + 1
	w.lists[n.slot].pushBack(x)
	w.used[slot/64] |= 1 << (slot % 64)
	w.n++
}

func (w *wheel[T]) cancel(x T) {
	n := x.node()
	if n.slot == 0 {
		return
	}
	l := &w.lists[n.slot]
	l.remove(x)
	if slot := int64(n.slot) - 1; l.n == 0 && n.slot != ready {
		w.used[slot/64] &^= 1 << (slot % 64)
	}
	n.slot = 0
	w.n--
}

// advance moves everything due until now to the ready list.
func (w *wheel[T]) advance(now int64) {
	end := now / slotTime
	if end-w.at > slots { // slept for more than a turn: each slot once is enough
		w.at = end - slots
	}
	for w.at < end {
		w.at++
		slot := w.at & (slots - 1)
		if w.used[slot/64]&(1<<(slot%64)) == 0 {
			continue
		}
		l := &w.lists[slot+1]
		var none T
		for x := l.head; x != none; {
			n := x.node()
			next := n.next
			if n.due <= now {
				l.remove(x)
				n.slot = ready
				w.lists[ready].pushBack(x)
			}
			x = next
		}
		if l.n == 0 {
			w.used[slot/64] &^= 1 << (slot % 64)
		}
	}
}

// pop takes one of those that advance found due.
func (w *wheel[T]) pop() (x T, ok bool) {
	x = w.lists[ready].head
	var none T
	if x == none {
		return x, false
	}
	w.cancel(x)
	return x, true
}

// next returns when to call advance again: never too late, at times a turn
// too early. It is math.MaxInt64 when the wheel is empty.
func (w *wheel[T]) next() int64 {
	if w.n == 0 {
		return math.MaxInt64
	}
	if w.lists[ready].n > 0 {
		return w.at * slotTime
	}
	first := (w.at + 1) & (slots - 1)
	for i := int64(0); i <= slots/64; i++ {
		word := (first/64 + i) % (slots / 64)
		set := w.used[word]
		if i == 0 {
			set &= ^uint64(0) << (first % 64)
		} else if i == slots/64 {
			set &= 1<<(first%64) - 1
		}
		if set == 0 {
			continue
		}
		slot := word*64 + int64(bits.TrailingZeros64(set))
		return (w.at + 1 + ((slot - first) & (slots - 1))) * slotTime
	}
	return math.MaxInt64
}
