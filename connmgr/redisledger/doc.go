// Package redisledger counts connections over all servers in Redis: it is a
// [connmgr.Ledger].
//
// Use it to hold limits (sockets a user, connections in all) over several
// processes. One process needs none: connmgr.Manager counts by itself.
//
//	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	ledger, err := redisledger.New(rdb, redisledger.Options{})
//	manager, err := connmgr.New(connmgr.Options{
//		MaxConns: 1200, MaxPerUser: 2,
//		Shared:   &connmgr.SharedOptions{Ledger: ledger, Server: name, MaxPerUser: 2},
//	})
//
// Redis 7.0 or later is needed.
//
// # How it counts
//
// Every change is one script, so that of many who ask at once only as many get
// a place as there are. Nothing is counted up and down: a claim's count is the
// size of the set of its holders. Leases end by the clock of Redis; those of
// the servers do not matter. A call that is sent again, because its answer was
// lost, changes nothing twice.
//
// # Memory
//
// In Redis: four members of one sorted set, about 680 bytes, for a connection
// with two claims (go test -run TestMemory -v ./connmgr/redisledger); at most
// 4096 evictions, which are forgotten a minute later. When all connections are
// released or their leases over, no key is left. Here: nothing but what the
// client holds.
//
// In a Redis Cluster a ledger is in one slot, since claims under several keys
// are granted together: one server of the Cluster does the work. While the slot
// is moved calls may fail. Different prefixes may lie on different servers.
//
// # Concurrency
//
// A Ledger may be used by many goroutines and owns none. Evictions runs on
// that of its caller, and so does its callback; it holds a connection of its own.
//
// # Overload
//
// While Redis is away every call fails when its context ends, and
// connmgr.SharedOptions says what follows: each server's own limits go on, or,
// with Required, connections are refused. Holds whose lease ended meanwhile
// count no more. A ledger whose data was lost begins empty: connections that
// were counted before are not counted again, and are over when they close.
//
// # Errors
//
// *connmgr.LedgerError: a claim had no place. Everything else is an error of
// Redis or of the context, wrapped.
package redisledger
