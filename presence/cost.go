package presence

// What a record costs, in bytes: its share of the slab, the table and the slice
// that hold it; its id and its metadata come on top. The budget test compares their sum with
// the heap.
const (
	userCost    = 84 + 20 + 88 // with one membership, and the extra that leaving needs: that is never refused
	socketCost  = 64           // but for a plain one, which is in its user
	memberCost  = 24 + 72      // with the change that its leaving will be
	recordCost  = 48           // of a membership beyond a user's first
	topicCost   = 368
	entryCost   = 96
	watcherCost = 400
	viewCost    = 28 // for each member of a watcher's window
)

func (t *Tracker) connectCost(user, socket string, meta []byte) int64 {
	return int64(userCost + len(user) + socketCost + len(socket) + len(meta))
}

func (t *Tracker) joinCost(topicName string, meta []byte) int64 {
	n := topicCost + len(topicName) + memberCost + recordCost + 2*len(meta)
	if t.rep != nil {
		n += entryCost
	}
	return int64(n)
}

func eventCost(e Event) int64 {
	return int64(userCost + len(e.User) + memberCost + recordCost + entryCost + 2*len(e.Meta))
}

// keep counts metadata that a member keeps in place of other. With a Store it
// is that of an entry, which pays for both, so that falling back on an older
// entry costs nothing.
func (t *Tracker) keep(meta, instead []byte) {
	if t.rep == nil {
		t.bytes += int64(len(meta) - len(instead))
	}
}
