// Package redisbus carries messages between servers through Redis: it is a
// [signaling.Bus].
//
// Use it when the hubs of several processes are to be one. For one process
// signaling.MemoryBus, or none, is enough. It is no queue of work: every
// subscriber hears every message of a topic.
//
//	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	bus, err := redisbus.New(rdb, redisbus.Options{
//		MaxMessages: 1000, MaxMessageBytes: 64 << 10, MaxPending: 10_000, MaxPendingBytes: 16 << 20,
//	})
//	hub, err := signaling.New(signaling.Options{Bus: bus, …})
//
// Redis 7.0 or later is needed; a Cluster is fine.
//
// # How it works
//
// Every topic is a stream, whose entries are numbered by epoch and offset, and
// a channel. One script appends a message to the one and publishes it in the
// other. The channel is fast, and may lose; the stream is the truth. A
// subscriber that finds an offset missing, whose connection was made again, or
// that is behind at one of the regular comparisons, reads the stream. What is
// there no more is told as a gap: nothing is lost silently. A server is sent
// the topics that it has subscribed to and no others.
//
// A new epoch begins when a stream is new: the first time, after it was
// forgotten, or when Redis lost its data. Should Redis come back with older
// data (a failover, a restart without the last second), the subscriber finds
// another message at its offset than it had, and tells a gap.
//
// Messages that are published at the same time go in one call. A call whose
// answer is lost is sent again under its old number, and Redis makes it once: a
// message is neither lost nor doubled by a broken connection.
//
// In a Cluster topics are spread over Partitions, each in one slot and with one
// connection. Slots may be moved at any time.
//
// # Memory
//
// In Redis, a topic's stream holds at least MaxMessages messages, if there were
// as many, and up to a hundred more; it goes Retain after the last message when
// nobody is subscribed, at the latest. Here: about 670 bytes a subscription (go
// test -run TestMemory -v ./signaling/redisbus), MaxPendingBytes of messages
// that wait, and while gaps are repaired at most some MiB, or sixteen messages.
//
// # Concurrency
//
// A Bus may be used by many goroutines. It owns two for each connection, one
// for each partition that publishes just then, at most two that repair and one
// that compares; Close ends them all. deliver is called on one of them, for one
// subscription one call at a time: it must not block, since others wait.
//
// # Overload
//
// While Redis is away Publish waits until its context ends, or refuses at once
// with [ErrFull] when MaxPending or MaxPendingBytes are waiting. Subscriptions
// stay; what they missed is read when Redis is back. A subscriber that is too
// slow for Redis (its client-output-buffer-limit) is cut off by it, and reads
// the stream. Stats counts all of it.
//
// # Errors
//
// [ErrFull], [ErrClosed], signaling.ErrTooLarge; everything else is an error of
// Redis or of the context, wrapped.
package redisbus
