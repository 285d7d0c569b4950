package dating

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/lru"
)

// relations is how one person stands to the others, in memory: who is in
// cooldown, whom they have reported, who was introduced to them. It is shared
// by the cache and by the person's sockets, so that a change is seen by both.
type relations struct {
	mu         sync.RWMutex
	cooldowns  map[UserID]time.Time
	reported   []UserID
	introduced map[UserID]string
	version    uint64 // a new one with each change
}

// newRelations numbers the states of all relations, so that no two share a version,
// also when one was dropped from the cache and is loaded again.
func (p *Platform) newRelations(r Relations) *relations {
	return &relations{cooldowns: r.Cooldowns, reported: r.Reported, introduced: r.Introduced, version: p.versions.Add(1)}
}

// relationsOf gives those of id: none is loaded twice, and a person without
// any costs no second statement either.
func (p *Platform) relationsOf(ctx context.Context, id UserID) (*relations, error) {
	p.mu.Lock()
	if who := p.people[id]; who != nil && who.rel != nil {
		rel := who.rel
		p.mu.Unlock()
		return rel, nil
	}
	p.mu.Unlock()
	rel, err := p.relations.GetOrLoad(ctx, id, func(ctx context.Context, id UserID) (*relations, error) {
		r, err := p.store.Relations(ctx, id, now(), p.rules.RelationKept)
		if err != nil {
			return nil, err
		}
		return p.newRelations(r), nil
	})
	return rel, unavailable("the database does not answer", err)
}

// relation is a change of how two people stand to each other. A node tells the
// others.
type relation struct {
	A, B     UserID
	Until    time.Time // a cooldown, for both
	By       string    // introduced, for both
	Reported bool      // B, by A
}

// related applies a change to what this node has in memory.
func (p *Platform) related(r relation) {
	p.relate(r.A, r.B, r)
	if !r.Reported {
		p.relate(r.B, r.A, r)
	}
}

func (p *Platform) relate(id, other UserID, r relation) {
	cached, ok := p.relations.Get(id)
	if ok {
		cached.change(other, r, p.rules.RelationKept, p.versions.Add(1))
	} else {
		p.relations.Delete(id) // a load under way may have missed it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.people[id]
	if who == nil {
		return
	}
	if who.rel != nil && who.rel != cached {
		who.rel.change(other, r, p.rules.RelationKept, p.versions.Add(1))
	}
	for _, s := range who.sockets {
		s.rewatch() // the marks on the cards have changed
	}
}

func (r *relations) change(other UserID, c relation, keep int, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version = version
	switch {
	case c.Reported:
		if !slices.Contains(r.reported, other) && len(r.reported) < keep {
			r.reported = append(slices.Clip(r.reported), other)
		}
	case c.By != "":
		if r.introduced == nil {
			r.introduced = make(map[UserID]string)
		}
		if len(r.introduced) < keep {
			r.introduced[other] = c.By
		}
	case c.Until.After(r.cooldowns[other]):
		if r.cooldowns == nil {
			r.cooldowns = make(map[UserID]time.Time)
		}
		if r.roomLocked(other, c.Until, keep) {
			r.cooldowns[other] = c.Until
		}
	}
}

// roomLocked makes room for a cooldown. When none is over the one that ends
// first goes, as the store gives the longest: it is false if that is this one.
func (r *relations) roomLocked(other UserID, until time.Time, keep int) bool {
	if _, known := r.cooldowns[other]; known || len(r.cooldowns) < keep {
		return true
	}
	r.pruneLocked(time.Now())
	if len(r.cooldowns) < keep {
		return true
	}
	var first UserID
	for id, t := range r.cooldowns {
		if first == "" || t.Before(r.cooldowns[first]) {
			first = id
		}
	}
	if !r.cooldowns[first].Before(until) {
		return false
	}
	delete(r.cooldowns, first)
	return true
}

// cooldown reports until when other may not be met.
func (r *relations) cooldown(other UserID, now time.Time) (time.Time, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	until, ok := r.cooldowns[other]
	return until, ok && until.After(now)
}

// prune forgets the cooldowns that are over.
func (r *relations) prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pruneLocked(now)
}

func (r *relations) pruneLocked(now time.Time) {
	for other, until := range r.cooldowns {
		if !until.After(now) {
			delete(r.cooldowns, other)
		}
	}
}

// offered leaves those out of cards whom this viewer has reported and a
// watcher does not leave out. It copies only if there are any.
func (r *relations) offered(cards []Card) []Card {
	r.mu.RLock()
	defer r.mu.RUnlock()
	reported := func(c Card) bool { return slices.Contains(r.reported, c.UserID) }
	if len(r.reported) < hiddenMax || !slices.ContainsFunc(cards, reported) {
		return cards
	}
	return slices.DeleteFunc(slices.Clone(cards), reported)
}

// marked gives the cards with what is on them for this viewer. It copies only
// if one differs.
func (r *relations) marked(cards []Card, now time.Time) []Card {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.cooldowns) == 0 && len(r.introduced) == 0 {
		return cards
	}
	own := false
	for i := range cards {
		until, met := r.cooldowns[cards[i].UserID]
		by := r.introduced[cards[i].UserID]
		if met = met && until.After(now); !met && by == "" {
			continue
		}
		if !own {
			cards, own = slices.Clone(cards), true
		}
		if met {
			cards[i].CooldownUntil = &until
		}
		cards[i].IntroducedBy = by
	}
	return cards
}

// hidden gives whom a watcher leaves out: the viewer, and whom they reported
// last.
func (r *relations) hidden(self UserID) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := []string{string(self)}
	for _, id := range r.reported[max(0, len(r.reported)-hiddenMax+1):] {
		list = append(list, string(id))
	}
	return list
}

// setCooldown keeps two apart, in the store first.
func (p *Platform) setCooldown(ctx context.Context, a, b UserID, d time.Duration) error {
	until := now().Add(d)
	if err := p.store.SetCooldown(ctx, a, b, until); err != nil {
		return unavailable("the database does not answer", err)
	}
	p.relateAll(relation{A: a, B: b, Until: until})
	return nil
}

// relateAll applies a change here and on the other nodes.
func (p *Platform) relateAll(r relation) {
	p.related(r)
	p.broadcast(message{Relation: &r})
}

// user gives one person, from the cache if it can.
func (p *Platform) user(ctx context.Context, id UserID) (*User, error) {
	if id == "" || len(id) > 64 {
		return nil, refuse(UserNotFound, "no such person")
	}
	p.watch(CacheUse{Cache: "users", Key: string(id)})
	u, err := p.users.GetOrLoad(ctx, id, func(ctx context.Context, id UserID) (*User, error) {
		found, err := p.store.Users(ctx, []UserID{id})
		if err != nil {
			return nil, err
		}
		u, ok := found[id]
		if !ok {
			return nil, lru.ErrNotFound
		}
		return &u, nil
	})
	if errors.Is(err, lru.ErrNotFound) {
		return nil, refuse(UserNotFound, "no such person")
	}
	return u, unavailable("the database does not answer", err)
}

// forget drops a person from the caches of every node, after a change.
func (p *Platform) forget(id UserID) {
	p.users.Delete(id)
	p.broadcast(message{Forget: id})
}
