// Package presence compares presence.Tracker with the in-memory presence of
// centrifuge, in one run:
//
//	go test -v ./presence
//
// The two do not do the same. Centrifuge keeps a map of clients for each
// channel and leaves connections, heartbeats, join and leave messages and
// windows to others; a Tracker also keeps users, their sockets, the join order,
// graces, and what its watchers were told. What both do is compared: a member
// who comes and goes, also with the refreshes that keep him there for a minute,
// the count, and a first page of fifty. Nobody watches, so a Tracker too makes
// a leave true at once, and nothing is put off beyond what is timed. Memory is
// that of a membership; ours has the user and the socket in it.
package presence
