package connmgr

// state is what has happened to a connection so far.
type state uint16

const (
	stateTold    state = 1 << iota // its end was asked for: Close was called, or Attach will
	stateEvicted                   // its place was given to another: only Manager.closing counts it
	stateExpired                   // its time to authenticate ran out: in no list any more
	stateShared                    // counted across servers too
	stateOusted                    // another server's connection took its shared place
)

// A slot is one admitted connection: 64 bytes. The fields behind user make up
// the list it is in: its user's, or that of the unauthenticated.
type slot struct {
	conn  Conn
	born  int64 // when it was admitted, made unique: also its identity
	user  string
	chain uint32 // the next user in this bucket; only the user's oldest slot has it
	next  uint32
	prev  uint32
	n     uint16 // connections of the user; only the user's oldest slot has it
	state state
	addr  uint32 // entry in Manager.addrs
	key   uint32 // entry in Manager.keys
}

func (s *slot) link() *uint32 { return &s.chain }

// slots holds every connection, and finds the connections of a user, oldest
// first. The connections of one user are a ring; the hash table's chains link
// the oldest connection of each. Not safe for concurrent use.
type slots struct {
	slab[slot, *slot]
	users  buckets
	nusers int
}

// oldest returns the oldest connection of user, 0 if there is none.
func (s *slots) oldest(user string) uint32 {
	for i := *bucketOf(&s.users, user); i != 0; {
		p := s.at(i)
		if p.user == user {
			return i
		}
		i = p.chain
	}
	return 0
}

// join makes i the newest connection of user.
func (s *slots) join(i uint32, user string) {
	p := s.at(i)
	p.user = user
	first := s.oldest(user)
	if first == 0 {
		head := bucketOf(&s.users, user)
		p.chain = *head
		*head = i
		first = i
		s.nusers++
	}
	lead := first
	s.push(&lead, i)
	s.at(first).n++
}

// leave takes i out of its user's connections.
func (s *slots) leave(i uint32) {
	p := s.at(i)
	first := s.oldest(p.user)
	lead := s.at(first)
	lead.n--
	if i == first {
		link := bucketOf(&s.users, p.user)
		for *link != i {
			link = &s.at(*link).chain
		}
		if p.n == 0 {
			*link = p.chain
			s.nusers--
		} else {
			second := s.at(p.next)
			*link = p.next
			second.chain, second.n = p.chain, p.n
		}
		p.chain, p.n = 0, 0
	}
	s.unlink(&first, i)
	p.user = ""
}

// push puts i at the end of the ring that starts at *head.
func (s *slots) push(head *uint32, i uint32) {
	p := s.at(i)
	if *head == 0 || *head == i {
		*head = i
		p.next, p.prev = i, i
		return
	}
	first := s.at(*head)
	last := first.prev
	p.prev, p.next = last, *head
	s.at(last).next = i
	first.prev = i
}

// unlink takes i out of the ring that starts at *head.
func (s *slots) unlink(head *uint32, i uint32) {
	p := s.at(i)
	if p.next == i {
		*head = 0
	} else {
		s.at(p.prev).next = p.next
		s.at(p.next).prev = p.prev
		if *head == i {
			*head = p.next
		}
	}
	p.next, p.prev = 0, 0
}
