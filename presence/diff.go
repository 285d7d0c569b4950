package presence

import (
	"slices"
	"sync"
)

// A Member is one user in a topic, as it was last told.
type Member struct {
	User string
	Meta []byte // shared: do not change it
}

// A Diff takes a watcher from what it was told last to Version. It may be
// shared by many watchers and must not be changed.
type Diff struct {
	// Version rises with every Diff of a topic. A watcher need not see each.
	Version uint64

	// Resync is true when Added is the whole window: forget what you had.
	// The first Diff of every watcher is one.
	Resync bool

	// Added are the members who came into the window, in join order, and
	// those in it whose metadata changed: put each in the place of the one
	// with the same User, or at the end.
	Added []Member

	// Removed are the users who went out of the window.
	Removed []string

	// Count is the number of members less those that the watcher excludes.
	Count int

	// Next is the cursor of the window that follows, 0 if nobody follows.
	Next uint64

	mu     sync.Mutex
	shared []sharedValue // few: searched one by one
}

type sharedValue struct {
	key   string
	value func() (any, error)
}

func (d *Diff) empty() bool { return len(d.Added)+len(d.Removed) == 0 }

// Encode returns what encode makes of d, and calls it once for all watchers
// that get d and use the same key. A watcher whose form differs (another
// language, a mark on a card) uses a key of its own.
func (d *Diff) Encode(key string, encode func(*Diff) []byte) []byte {
	b, _ := Share(d, key, func(d *Diff) ([]byte, error) { return encode(d), nil })
	return b
}

// Share is Encode for a value of any type: a prepared frame, for instance.
// The same key must always be used with the same type. A second caller waits
// while the first is making the value.
func Share[T any](d *Diff, key string, make func(*Diff) (T, error)) (T, error) {
	d.mu.Lock()
	i := slices.IndexFunc(d.shared, func(s sharedValue) bool { return s.key == key })
	if i < 0 {
		i = len(d.shared)
		d.shared = append(d.shared, sharedValue{key, sync.OnceValues(func() (any, error) { return make(d) })})
	}
	value := d.shared[i].value
	d.mu.Unlock()
	v, err := value()
	t, _ := v.(T)
	return t, err
}

// A Snapshot is a window of a topic as it was last told.
type Snapshot struct {
	Version uint64   // of the topic
	Members []Member // in join order
	Count   int      // members less the excluded
	Next    uint64   // cursor of the window that follows, 0 if nobody follows
}
