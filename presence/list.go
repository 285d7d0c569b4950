package presence

// link makes a record a member of one list at a time, without an allocation.
type link[T any] struct {
	prev, next T
	due        int64 // nanoseconds on the tracker's clock; only in a wheel
	slot       int32 // which list of the wheel, 0 = in none
}

// linked is a pointer to a record that embeds a link.
type linked[T any] interface {
	comparable
	node() *link[T]
}

// list is a doubly linked list through the records themselves.
type list[T linked[T]] struct {
	head, tail T
	n          int
}

func (l *list[T]) pushBack(x T) {
	var none T
	n := x.node()
	n.prev, n.next = l.tail, none
	if l.tail == none {
		l.head = x
	} else {
		l.tail.node().next = x
	}
	l.tail = x
	l.n++
}

func (l *list[T]) remove(x T) {
	var none T
	n := x.node()
	if n.prev == none {
		l.head = n.next
	} else {
		n.prev.node().next = n.next
	}
	if n.next == none {
		l.tail = n.prev
	} else {
		n.next.node().prev = n.prev
	}
	n.prev, n.next = none, none
	l.n--
}
