package dating

import (
	"context"
	"time"
)

// Sweep is a periodic job; give it to memmgr.
type Sweep struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) (SweepResult, error)
}

// SweepResult is what one run did.
type SweepResult struct{ Archived, Deleted int }

// sweepBatch is how many rows one transaction of a sweep takes, so that others
// get their turn between.
const sweepBatch = 500

// Sweeps gives the jobs: sessions, cooldowns, invites, intros, guests, nodes,
// presence and history, which is archived and never deleted.
func (p *Platform) Sweeps() []Sweep {
	rows := func(f func(context.Context, time.Time, int) (int, error), age time.Duration) func(context.Context) (SweepResult, error) {
		return func(ctx context.Context) (SweepResult, error) {
			n, err := inBatches(ctx, func(limit int) (int, error) { return f(ctx, now().Add(-age), limit) })
			return SweepResult{Deleted: n}, err
		}
	}
	jobs := []Sweep{
		{Name: "sessions", Run: p.sweepSessions},
		{Name: "cooldowns", Run: p.sweepCooldowns},
		{Name: "invites", Run: p.sweepInvites},
		{Name: "intros", Run: rows(p.store.SweepIntros, 0)},
		// The hour is for whose session has just ended, and for clocks.
		{Name: "guests", Run: rows(p.store.SweepGuests, p.rules.GuestFor+time.Hour)},
		{Name: "nodes", Run: rows(p.store.SweepNodes, 24*time.Hour)},
		{Name: "presence", Run: func(context.Context) (SweepResult, error) {
			return SweepResult{Deleted: p.presence.Sweep()}, nil
		}},
		{Name: "history", Run: func(ctx context.Context) (SweepResult, error) {
			n, err := inBatches(ctx, func(limit int) (int, error) {
				return p.store.ArchiveHistory(ctx, now().Add(-p.rules.HistoryFor), limit)
			})
			return SweepResult{Archived: n, Deleted: n}, err
		}},
	}
	for i := range jobs {
		jobs[i].Every = p.rules.SweepEvery
	}
	return jobs
}

func inBatches(ctx context.Context, f func(limit int) (int, error)) (total int, err error) {
	for ctx.Err() == nil {
		n, err := f(sweepBatch)
		total += n
		if err != nil || n < sweepBatch {
			return total, err
		}
	}
	return total, ctx.Err()
}

// sweepSessions deletes those that are over, and has their sockets closed.
func (p *Platform) sweepSessions(ctx context.Context) (SweepResult, error) {
	t := now()
	var over []endedSessions
	p.mu.Lock()
	for _, s := range p.sockets {
		if !s.expires.After(t) {
			over = append(over, endedSessions{User: s.who.id, Hashes: []TokenHash{s.session}, Reason: "expired"})
		}
	}
	p.mu.Unlock()
	for _, e := range over {
		p.endSessions(e)
	}
	n, err := inBatches(ctx, func(limit int) (int, error) { return p.store.SweepSessions(ctx, t, limit) })
	return SweepResult{Deleted: n}, err
}

// sweepCooldowns forgets those that are over, in the store and in memory.
func (p *Platform) sweepCooldowns(ctx context.Context) (SweepResult, error) {
	t := now()
	for _, r := range p.relations.All() {
		r.prune(t)
	}
	p.mu.Lock()
	var pinned []*relations
	for _, who := range p.people {
		if who.rel != nil {
			pinned = append(pinned, who.rel)
		}
	}
	p.mu.Unlock()
	for _, r := range pinned {
		r.prune(t)
	}
	n, err := inBatches(ctx, func(limit int) (int, error) { return p.store.SweepCooldowns(ctx, t, limit) })
	return SweepResult{Deleted: n}, err
}

// sweepInvites forgets invites that are much older than any can live: those
// of a node that died while somebody here was being called. Its own are ended
// by their timers.
func (p *Platform) sweepInvites(context.Context) (SweepResult, error) {
	old := time.Now().Add(-p.rules.StaleInvite)
	var n int
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, who := range p.people {
		if who.invite != "" && who.rung.Before(old) && p.invites[who.invite] == nil {
			who.invite = ""
			p.settleLocked(who)
			n++
		}
	}
	return SweepResult{Deleted: n}, nil
}
