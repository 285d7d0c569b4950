// Package redisstore shares presence between servers in Redis: it is a
// [presence.Store].
//
// Use it when the trackers of several processes are to see each other's users.
// One process needs no store.
//
//	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(rdb, redisstore.Options{})
//	tracker, err := presence.New(presence.Options{Store: store, Node: name, …})
//
// Redis 7.0 or later is needed; a Cluster is fine.
//
// # How it works
//
// A topic is a hash of its members, each with what every incarnation says of
// him, and a stream of the latest changes, numbered by epoch and offset. A
// change is one script that tests the lease, changes the one, appends to the
// other and publishes the event to those who have subscribed. To read changes
// nothing, and nothing is counted up and down. Leases end by the clock of Redis;
// those of the servers do not matter.
//
// A new epoch begins when a topic's stream is new, and for all topics when
// another Redis answers than before (a restart, a failover, a slot that was
// moved), since it may have older data: then everybody reads again what is there.
//
// In a Cluster topics are spread over Partitions, each in one slot, with its own
// copy of the leases and one connection for events. Slots may be moved at any
// time. What one Apply changes in several partitions is one script in each.
//
// # Memory
//
// In Redis: a field of a hash for each member, with his name, his node's and his
// metadata (go test -run TestCost -v ./presence/redisstore), and a topic's last
// MaxLog changes, which go Retain after the last member. When all users have
// left only the leases stay; when all nodes have closed, nothing does. Here: an
// entry for each topic that is subscribed, and at most 4096 events that wait for a
// slow session.
//
// # Concurrency
//
// A Store and its sessions may be used by many goroutines. The Store owns two
// for each connection, which end in Close. Events are delivered on one of
// them, one at a time for a session.
//
// # Overload
//
// While Redis is away every call fails when its context ends, and
// presence.Tracker goes on by itself. A connection for events that is lost or
// starved is made again; the events that it would have brought are found missing
// by their positions. Events beyond the 4096 are dropped, as Stats tells, and
// found missing the same way.
//
// # Errors
//
// presence.ErrFenced: the lease is lost. [ErrClosed]. Everything else is an
// error of Redis or of the context, wrapped.
package redisstore
