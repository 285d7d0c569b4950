package dating

import (
	"errors"
	"time"

	"github.com/plimsoll-go/plimsoll/lru"
)

// makeCaches makes what stands in front of the store. A change is written to
// the store first and then told to every node, which drops or changes its
// entry; so it is after a fault, when nobody knows whether the write was done.
// cacheFor bounds how long one lives that was told nothing.
func (p *Platform) makeCaches(o Options) (err error) {
	const cacheFor, nobodyFor = 10 * time.Minute, 10 * time.Second
	var errs [4]error
	p.users, errs[0] = lru.New(lru.Options[UserID, *User]{
		MaxEntries: o.MaxUsers, MaxBytes: int64(o.MaxUsers) * 4096, Size: func(_ UserID, u *User) int64 { return u.size() },
		TTL: cacheFor, NegativeTTL: nobodyFor, Account: o.CacheAccount,
	})
	p.sessions, errs[1] = lru.New(lru.Options[TokenHash, Session]{
		MaxEntries: o.MaxSessions, TTL: cacheFor, NegativeTTL: nobodyFor, Account: o.CacheAccount,
	})
	p.relations, errs[2] = lru.New(lru.Options[UserID, *relations]{
		MaxEntries: o.MaxRelations, TTL: cacheFor, Account: o.CacheAccount,
	})
	p.media, errs[3] = lru.New(lru.Options[string, Media]{
		MaxEntries: 4 * o.MaxSockets, MaxBytes: o.MediaBytes, Size: func(_ string, m Media) int64 { return int64(len(m.Bytes)) },
		NegativeTTL: nobodyFor, Account: o.CacheAccount,
	})
	return errors.Join(errs[:]...)
}

// CacheUse is one use of a cache: a look-up, or with Fill an entry that is put
// there without one.
type CacheUse struct {
	Cache string // users or sessions
	Key   string
	Fill  bool
}

func (p *Platform) closeCaches() {
	p.users.Close()
	p.sessions.Close()
	p.relations.Close()
	p.media.Close()
}

// size is about what a person holds beside the slot in the cache.
func (u *User) size() int64 {
	n := 200 + len(u.ID) + len(u.Name) + len(u.SelfieID) + len(u.Email)
	for network, handle := range u.Socials {
		n += 48 + len(network) + len(handle)
	}
	return int64(n)
}

// total puts a person's new totals in the cache, if they are there.
func (p *Platform) total(id UserID, t Totals) {
	p.users.Compute(id, func(old *User, ok bool) (*User, lru.Op) {
		if !ok {
			return nil, lru.OpDelete // a load under way may have missed it
		}
		u := *old
		u.TalkSeconds, u.Calls = t.TalkSeconds, t.Calls
		return &u, lru.OpSet
	})
}

// totalEverywhere does so on every node.
func (p *Platform) totalEverywhere(id UserID, t Totals) {
	p.total(id, t)
	p.broadcast(message{Total: id, Totals: &t})
}

// Trim gives back this fraction of the caches, for memory pressure.
func (p *Platform) Trim(fraction float64) (freed int64) {
	freed += p.media.Trim(fraction)
	freed += p.users.Trim(fraction)
	freed += p.relations.Trim(fraction)
	freed += p.sessions.Trim(fraction)
	return freed
}
