package dating

import (
	"context"
	"errors"
	"time"
)

// orphansAtOnce bounds how many calls are finished in one go.
const orphansAtOnce = 16

// keep is the part of Run that goes on by itself, once every Rules.FlushEvery:
// chat goes to the store, the node says that it lives, and the calls of dead
// nodes are finished.
func (p *Platform) keep(ctx context.Context) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(p.rules.FlushEvery)
	defer tick.Stop()
	var beat, looked, swept time.Time
	for {
		select {
		case <-ctx.Done():
			p.stopped()
			return nil
		case <-tick.C:
		}
		if err := p.save(ctx); err != nil {
			p.log.Error("chat was not saved", "err", err)
		}
		// With calls open every second counts: that is how long a call that the
		// node's death cuts short is known to have lasted.
		p.mu.Lock()
		talking := len(p.calls) > 0
		died := p.bereaved
		p.mu.Unlock()
		bereaved := time.Since(died) < 2*p.rules.NodeLease
		if !died.Equal(swept) && time.Since(died) > p.rules.NodeLease { // nobody comes back under its name
			p.presence.Sweep()
			swept = died
		}
		if talking || time.Since(beat) >= p.rules.NodeLease/3 {
			if err := p.beat(ctx); err != nil {
				p.log.Error("this node cannot say that it lives", "err", err)
			} else {
				beat = time.Now()
			}
		}
		if bereaved || time.Since(looked) >= p.rules.NodeLease {
			looked = time.Now()
			if err := p.finishOrphans(ctx); err != nil {
				p.log.Error("calls of dead nodes were not finished", "err", err)
			}
		}
	}
}

// start says that this incarnation lives and finishes what earlier ones left
// open. It tries until the database answers.
func (p *Platform) start(ctx context.Context) error {
	for {
		err := p.beat(ctx)
		if err == nil {
			err = p.finishOrphans(ctx)
		}
		if err == nil {
			break
		}
		p.log.Error("the database does not answer", "err", err)
		select {
		case <-ctx.Done():
			p.stopped()
			return nil
		case <-time.After(p.rules.FlushEvery):
		}
	}
	p.mu.Lock()
	p.state = max(p.state, ready)
	p.mu.Unlock()
	return nil
}

// stopped saves the last chat when Run ends.
func (p *Platform) stopped() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.save(ctx); err != nil {
		p.log.Error("chat was not saved", "err", err)
	}
}

func (p *Platform) beat(ctx context.Context) error {
	t := now()
	if err := p.store.Beat(ctx, p.node, p.incarnation, t, t.Add(p.rules.NodeLease)); err != nil {
		return err
	}
	return p.beatHomes(ctx)
}

// finishOrphans ends the calls that nobody owns any more, as if their node had
// done so when it was last heard of. Two beats of doubt go to the call: one
// that lasted long enough to count must not be lost.
func (p *Platform) finishOrphans(ctx context.Context) error {
	for {
		orphans, err := p.store.Orphans(ctx, p.node, p.incarnation, now(), orphansAtOnce)
		if err != nil {
			return err
		}
		for _, o := range orphans {
			if err := p.finishOrphan(ctx, o); err != nil {
				return err
			}
		}
		if len(orphans) < orphansAtOnce {
			return nil
		}
	}
}

// finishOrphan reads what was said in it: one call's at a time, so that the
// memory a start takes does not depend on how many calls were open.
func (p *Platform) finishOrphan(ctx context.Context, o Orphan) error {
	chat, socials, err := p.store.Said(ctx, o.RoomID, p.rules.ChatKept)
	if err != nil {
		return err
	}
	last := o.LastBeat
	if last.Before(o.StartedAt) {
		last = o.StartedAt
	}
	for _, line := range chat {
		if line.At.After(last) {
			last = line.At
		}
	}
	ended := last.Add(2 * p.rules.FlushEvery)
	for _, limit := range []time.Time{o.EndsAt, now()} {
		if ended.After(limit) {
			ended = limit
		}
	}
	length := max(0, ended.Sub(o.StartedAt))
	e := EndedCall{Call: o.Call, EndedAt: o.StartedAt.Add(length), Reason: "restart",
		Counts: length >= p.rules.CallCounts, Chat: chat, Socials: socials}
	if e.Counts {
		e.Cooldown = e.EndedAt.Add(p.rules.CooldownFor)
	}
	totals, err := p.store.EndCall(ctx, e)
	if errors.Is(err, ErrNotFound) { // another node was faster, and has told them
		return nil
	}
	if err != nil {
		return err
	}
	if e.Counts {
		p.relateAll(relation{A: e.Members[0], B: e.Members[1], Until: e.Cooldown})
	}
	p.unclaim(o.RoomID, o.Members[0], o.Members[1])
	p.stats.orphans.Add(1)
	p.tell(e, totals)
	return nil
}
