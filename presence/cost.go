package presence

// What a record costs, in bytes: its size class, its share of the map or the
// slice that holds it, and its id. The budget test compares their sum with
// the heap.
const (
	userCost    = 112 + 40
	socketCost  = 64
	memberCost  = 80 + 24 + 72 // with the change that its leaving will be: leaving is never refused
	topicCost   = 336
	entryCost   = 96
	watcherCost = 400
	viewCost    = 28 // for each member of a watcher's window
)

func (t *Tracker) connectCost(user, socket string, meta []byte) int64 {
	return int64(userCost + len(user) + socketCost + len(socket) + len(meta))
}

func (t *Tracker) joinCost(topicName string, meta []byte) int64 {
	n := topicCost + len(topicName) + memberCost + 2*len(meta)
	if t.rep != nil {
		n += entryCost
	}
	return int64(n)
}

func eventCost(e Event) int64 {
	return int64(userCost + len(e.User) + memberCost + entryCost + 2*len(e.Meta))
}

// keep counts metadata that a member keeps in place of other. With a Store it
// is that of an entry, which pays for both, so that falling back on an older
// entry costs nothing.
func (t *Tracker) keep(meta, instead []byte) {
	if t.rep == nil {
		t.bytes += int64(len(meta) - len(instead))
	}
}

// pool keeps freed records for the next of their kind, so that coming and
// going does not allocate. It holds at most poolSize of each.
type pool struct {
	users   []*user
	members []*member
}

const poolSize = 4096

func (p *pool) user() *user {
	if n := len(p.users); n > 0 {
		u := p.users[n-1]
		p.users = p.users[:n-1]
		return u
	}
	return new(user)
}

func (p *pool) member() *member {
	if n := len(p.members); n > 0 {
		m := p.members[n-1]
		p.members = p.members[:n-1]
		return m
	}
	return new(member)
}

func (p *pool) putUser(u *user) {
	clear(u.sockets[:cap(u.sockets)])
	*u = user{sockets: u.sockets[:0]}
	if cap(u.sockets) <= 4 && len(p.users) < poolSize {
		p.users = append(p.users, u)
	}
}

func (p *pool) putMember(m *member) {
	*m = member{}
	if len(p.members) < poolSize {
		p.members = append(p.members, m)
	}
}
