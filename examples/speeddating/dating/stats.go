package dating

import (
	"sync/atomic"

	"github.com/plimsoll-go/plimsoll/lru"
)

// counters count since the start.
type counters struct {
	events, diffs, invites, calls, orphans, unsaved, dropped atomic.Uint64
}

// Live are the public figures of the whole platform.
type Live struct {
	OnlineUsers    int `json:"onlineUsers"`
	AvailableUsers int `json:"availableUsers"`
	ActiveCalls    int `json:"activeCalls"`
}

// LiveStats gives them, from memory.
func (p *Platform) LiveStats() Live {
	return Live{
		OnlineUsers:    p.presence.Count(onlineTopic),
		AvailableUsers: p.presence.Count(queueTopic),
		ActiveCalls:    p.presence.Count(talkingTopic) / 2,
	}
}

// Stats are the figures of a node, for /health.
type Stats struct {
	Live      Live   `json:"live"`
	Node      string `json:"node"`
	People    int    `json:"people"`    // with a socket on this node
	Sockets   int    `json:"sockets"`   // on this node
	Invites   int    `json:"invites"`   // open, of callers on this node
	Calls     int    `json:"calls"`     // in progress, owned by this node
	Events    uint64 `json:"events"`    // delivered to the web layer
	Diffs     uint64 `json:"diffs"`     // of those, changes of queue windows
	Invited   uint64 `json:"invited"`   // invites since the start
	Called    uint64 `json:"called"`    // calls since the start
	Orphans   uint64 `json:"orphans"`   // calls of dead nodes that were finished
	Unsaved   uint64 `json:"unsaved"`   // lines of chat that only the call holds, because too many waited
	Dropped   uint64 `json:"dropped"`   // notices to other nodes that did not fit
	Hashing   int    `json:"hashing"`   // passwords being hashed or waiting
	Users     Cache  `json:"users"`     // the caches
	Sessions  Cache  `json:"sessions"`  //
	Relations Cache  `json:"relations"` //
	Media     Cache  `json:"media"`     //

	Store StoreStats `json:"store"`
	Bus   BusStats   `json:"bus"`
}

// Cache is the part of a cache's figures that people ask for.
type Cache struct {
	Entries   int     `json:"entries"`
	Max       int     `json:"max"`
	Bytes     int64   `json:"bytes"`
	Hits      uint64  `json:"hits"`
	Misses    uint64  `json:"misses"`
	HitRate   float64 `json:"hitRate"`
	Evictions uint64  `json:"evictions"` // for want of room
	Loads     uint64  `json:"loads"`
}

// Stats gives them.
func (p *Platform) Stats() Stats {
	s := Stats{
		Live: p.LiveStats(), Node: p.node,
		Events: p.stats.events.Load(), Diffs: p.stats.diffs.Load(), Invited: p.stats.invites.Load(), Called: p.stats.calls.Load(),
		Orphans: p.stats.orphans.Load(), Unsaved: p.stats.unsaved.Load(), Dropped: p.stats.dropped.Load(),
		Hashing: int(p.hashers.waiting.Load()),
		Users:   cacheOf(p.users.Stats()), Sessions: cacheOf(p.sessions.Stats()),
		Relations: cacheOf(p.relations.Stats()), Media: cacheOf(p.media.Stats()),
		Store: p.store.Stats(), Bus: p.bus.Stats(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.People, s.Sockets, s.Invites, s.Calls = len(p.people), len(p.sockets), len(p.invites), len(p.calls)
	return s
}

func cacheOf(s lru.Stats) Cache {
	return Cache{Entries: s.Entries, Max: s.MaxEntries, Bytes: s.Bytes, Hits: s.Hits, Misses: s.Misses, HitRate: s.HitRate(),
		Evictions: s.Evictions.Capacity + s.Evictions.Bytes + s.Evictions.Trimmed, Loads: s.Loads}
}
