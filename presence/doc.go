// Package presence knows who is here, and tells each change once to those who
// look.
//
// A user is here while one of his sockets is. He joins topics (a queue, a
// room, the list of his friends) with a little metadata, and watchers of a
// topic are told who came, who left and whose metadata changed, in their
// window of it. The network is rough and people reload pages, so the package
// waits where waiting makes it calmer: a user whose last socket was cut stays
// for a Grace and nobody hears of it when he comes back; metadata is told when
// it stands still; what is taken back before it was told is never told.
// What matters at once is told at once: a join, a leave, a clean goodbye.
//
// Use it where many people look at a list of many people: N people who join
// one room cost N diffs a Tick, not N² messages. Do not use it for what must
// last, for messages, or for facts that need an answer (who owns this call?):
// it is true a moment later, and it forgets.
//
// # Quick start
//
//	t, err := presence.New(presence.Options{
//		MaxUsers: 20000, MaxSockets: 20000, MaxTopics: 1000, MaxWatchers: 20000, MaxMeta: 512,
//	})
//	...
//	defer t.Shutdown(ctx)
//	t.Connect("ann", "socket-1", nil)
//	t.Join("queue", "ann", card)
//	viewer.mu.Lock() // Deliver may run before Watch has returned
//	viewer.watcher, err = t.Watch("queue", presence.WatchOptions{
//		Limit:   50,
//		Exclude: []string{"bob"}, // the viewer himself
//		Deliver: func(d *presence.Diff) {
//			frame := d.Encode("json", toJSON) // once for all who see the same
//			if !viewer.trySend(frame) {
//				viewer.resync() // viewer.watcher.Resync(), under viewer.mu
//			}
//		},
//	})
//	viewer.mu.Unlock()
//	...
//	t.Disconnect("ann", "socket-1", clean)
//
// The first Diff has Resync set and holds the whole window; every later one
// leads from the one before to the next. There is no gap between the two and
// nothing comes twice, because both come the same way. A consumer that cannot
// keep up drops the Diff and calls Watcher.Resync: nothing is queued for it.
//
// # What is told when
//
//   - a join, a leave: with the next diff of the topic, which is at once, or a
//     Tick after the last one; a diff that more than 64 watch is handed out
//     bit by bit over half a Tick, so that nothing else waits behind it
//   - a loss of the last socket: after Grace, unless the user is back; after a
//     clean end at once
//   - metadata: after it stood still for a Tick, or MaxDelay after it began to
//     change
//   - a count that changes outside of a watcher's window: at most every
//     CountEvery
//   - joins of a user who flaps: the first FlapBurst at once, then one every
//     FlapEvery, and only if still true by then; leaves are never held back
//
// Deadlines are kept in a hashed timing wheel (Varghese and Lauck, 1987) of
// 10 ms slots: everything may be that much late.
//
// # Memory
//
// Bounded by MaxUsers, MaxSockets, MaxTopics, MaxWatchers, MaxMeta and the
// bounds per user. One user with one socket, in one topic or none, costs about
// 120 bytes beside his ids and metadata, another topic 70, a socket with
// metadata or a TTL 150 more. A watcher costs 150 bytes, and 24 for each member
// in his window if he sees another one than the rest. The budget test prints
// what it measures. Users and members lie in slabs: small, few for the garbage
// collector to follow, and given back when a chunk of 64 is empty. With
// Options.Account everything is reserved before it is kept, and a call that
// cannot be paid for is refused. Leaving costs nothing and is never refused.
//
// # Concurrency
//
// A Tracker's methods may be called from any goroutine. One mutex guards its
// state; it is held for the length of a map lookup by calls, and of one
// topic's diff by the tracker's goroutine. There is no timer and no goroutine
// per user. Deliver runs on that goroutine, without the lock, one call at a
// time. Time is the monotonic clock; no time of a node's clock leaves it.
//
// # Several nodes
//
// With a Store, nodes share the members of topics that they have a member or a
// watcher of. Every node keeps its own view and goes on with it while the Store is
// away. A node lives under a lease and a new incarnation name each time; when
// it dies, its users have a Grace to come back elsewhere. Entries tell of one
// incarnation each, whoever is here is derived from them, and a user in two
// places is one member. Events carry a position: doubled ones are ignored, a
// gap is read again from the log, a lost last one is found by comparing
// positions every third of a Lease, and a Store that lost its data is told
// everything again within the Grace, so that nobody blinks.
// The order of a window is the order in which this node heard of the members,
// and a cursor is worth something on this node only.
//
// # Overload
//
// What does not fit is refused with a *LimitError and counted in
// Stats.Refused. Remembered users make room for living ones. A slow watcher
// gets a Resync instead of a queue; a Deliver that panics closes its watcher
// and is counted. Members of other nodes that do not fit are left out, counted
// and tried again.
//
// # Errors
//
// LimitError (a bound), ErrInvalidID, ErrNotHere, ErrNotMember, ErrClosed, and
// what the Account returns. ErrFenced is for those who write a Store.
package presence
