package presence_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
)

func options() presence.Options {
	return presence.Options{MaxUsers: 100, MaxSockets: 100, MaxTopics: 10, MaxWatchers: 100, MaxMeta: 256}
}

// Somebody watches the queue, excluding himself, while others come and go.
func Example() {
	t, err := presence.New(options())
	if err != nil {
		panic(err)
	}
	defer t.Shutdown(context.Background())

	t.Connect("bob", "tab-1", nil)
	t.Join("queue", "bob", []byte(`{"name":"Bob"}`))

	diffs := make(chan *presence.Diff, 8)
	w, err := t.Watch("queue", presence.WatchOptions{
		Exclude: []string{"bob"},
		Deliver: func(d *presence.Diff) { diffs <- d },
	})
	if err != nil {
		panic(err)
	}
	defer w.Close()
	d := <-diffs
	fmt.Println("snapshot:", d.Resync, len(d.Added), d.Count)

	t.Connect("ann", "tab-7", nil)
	t.Join("queue", "ann", []byte(`{"name":"Ann"}`))
	d = <-diffs
	fmt.Println("came:", d.Added[0].User, string(d.Added[0].Meta), d.Count)

	t.Leave("queue", "ann")
	d = <-diffs
	fmt.Println("left:", d.Removed[0], d.Count)
	// Output:
	// snapshot: true 0 0
	// came: ann {"name":"Ann"} 1
	// left: ann 0
}

// One of two tabs closes, then the other is cut and comes back: the user never
// went away.
func ExampleTracker_Disconnect() {
	o := options()
	o.Grace = time.Minute
	t, err := presence.New(o)
	if err != nil {
		panic(err)
	}
	defer t.Shutdown(context.Background())

	t.Connect("ann", "tab-1", nil)
	t.Connect("ann", "tab-2", nil)
	t.Join("queue", "ann", nil)

	t.Disconnect("ann", "tab-1", true)
	fmt.Println(t.Online("ann"), t.Count("queue"))
	t.Disconnect("ann", "tab-2", false)
	fmt.Println(t.Online("ann"), t.Count("queue"))
	t.Connect("ann", "tab-3", nil)
	fmt.Println(t.Online("ann"), t.Count("queue"))
	t.Disconnect("ann", "tab-3", true)
	fmt.Println(t.Online("ann"), t.Count("queue"))
	// Output:
	// true 1
	// true 1
	// true 1
	// false 0
}

// A window of two, and the cursor of the one that follows.
func ExampleTracker_List() {
	t, err := presence.New(options())
	if err != nil {
		panic(err)
	}
	defer t.Shutdown(context.Background())
	for _, user := range []string{"ann", "bob", "cid", "dot"} {
		t.Connect(user, "tab", nil)
		t.Join("queue", user, nil)
	}
	page, err := t.List("queue", presence.ListOptions{Limit: 2, Exclude: []string{"bob"}})
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Members[0].User, page.Members[1].User, page.Count)
	page, err = t.List("queue", presence.ListOptions{Limit: 2, Exclude: []string{"bob"}, After: page.Next})
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Members[0].User, page.Next)
	// Output:
	// ann cid 3
	// dot 0
}

// viewer is a client with a bounded queue.
type viewer struct {
	queue chan []byte

	mu sync.Mutex
	w  *presence.Watcher
}

func (v *viewer) watch(t *presence.Tracker, topic string) (err error) {
	v.mu.Lock() // deliver may run before Watch has returned
	defer v.mu.Unlock()
	v.w, err = t.Watch(topic, presence.WatchOptions{Deliver: v.deliver})
	return err
}

func (v *viewer) deliver(d *presence.Diff) {
	frame := d.Encode("text", func(d *presence.Diff) []byte { // once for all who see the same
		return fmt.Appendf(nil, "whole: %t, members: %d", d.Resync, d.Count)
	})
	select {
	case v.queue <- frame:
	default:
		v.mu.Lock()
		defer v.mu.Unlock()
		v.w.Resync()
	}
}

// Who does not keep up is told the whole window again, when there is room.
func ExampleWatcher_Resync() {
	t, err := presence.New(options())
	if err != nil {
		panic(err)
	}
	defer t.Shutdown(context.Background())

	v := &viewer{queue: make(chan []byte, 1)}
	if err := v.watch(t, "queue"); err != nil {
		panic(err)
	}
	for len(v.queue) == 0 { // until it was told the first time, and is full
		time.Sleep(time.Millisecond)
	}
	t.Connect("ann", "tab", nil)
	t.Join("queue", "ann", nil)
	for t.Stats().Behind == 0 {
		time.Sleep(time.Millisecond)
	}
	fmt.Println(string(<-v.queue))
	fmt.Println(string(<-v.queue))
	// Output:
	// whole: true, members: 0
	// whole: true, members: 1
}
