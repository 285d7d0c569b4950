package redisbus

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/redis/go-redis/v9"
)

const (
	repairers = 2
	glance    = 4 // entries of each of many subscriptions: where it is, and what follows
)

// repair has a busy subscription read its stream.
func (b *Bus) repair(s *subscription) {
	b.mu.Lock()
	b.repairs = append(b.repairs, s)
	begin := b.repairers < repairers && b.ctx.Err() == nil
	if begin {
		b.repairers++
		b.wg.Go(b.repairAll)
	}
	b.mu.Unlock()
}

// repairAll ends when nothing is left to repair.
func (b *Bus) repairAll() {
	wait := retry
	for {
		b.mu.Lock()
		if len(b.repairs) == 0 || b.ctx.Err() != nil {
			b.repairs = append([]*subscription(nil), b.repairs...) // frees what a storm left
			b.repairers--
			b.mu.Unlock()
			return
		}
		n := min(len(b.repairs), b.chunk)
		subs := append([]*subscription(nil), b.repairs[:n]...)
		b.repairs = b.repairs[n:]
		b.mu.Unlock()

		left, err := b.look(subs)
		for _, s := range left {
			if failed := s.follow(); failed != nil {
				err = failed
				b.again(s)
				continue
			}
			b.repairsDone.Add(1)
			s.done()
		}
		if err == nil {
			wait = retry
			continue
		}
		b.readErrors.Add(1)
		select {
		case <-b.ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, 300*time.Millisecond)
	}
}

const retry = 10 * time.Millisecond

// again puts s, which is still busy, back in line.
func (b *Bus) again(s *subscription) {
	b.mu.Lock()
	b.repairs = append(b.repairs, s)
	b.mu.Unlock()
}

// look reads a little for each of many, since after a lost connection most
// have missed nothing, and returns those that need more.
func (b *Bus) look(subs []*subscription) (left []*subscription, err error) {
	if len(subs) == 1 {
		return subs, nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, attempt)
	defer cancel()
	answers := make([]*redis.XMessageSliceCmd, len(subs))
	// Of a call that fails each answer says so.
	_, _ = b.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, s := range subs {
			answers[i] = pipe.XRangeN(ctx, b.stream(s.topic.name, s.topic.part), id(s.pos), "+", glance)
		}
		return nil
	})
	for i, s := range subs {
		list, failed := answers[i].Result()
		if failed != nil {
			err = failed
			b.again(s)
			continue
		}
		if found := entries(list); s.follows(found) && len(list) < glance {
			s.giveAll(found)
			b.repairsDone.Add(1)
			s.done()
		} else {
			left = append(left, s)
		}
	}
	return left, err
}

// id is where to begin to read: at the message that s has, to see that it is
// there. What no stream of ours can have begins at the beginning.
func id(pos signaling.Position) string {
	at := pos.Epoch + "-" + strconv.FormatUint(pos.Offset, 10)
	if _, err := strconv.ParseUint(pos.Epoch, 10, 64); err != nil || pos.Offset == 0 {
		return "-"
	}
	return at
}

// follows tells whether s can go on with what was read from its position: the
// message that it has is there, and the same.
func (s *subscription) follows(found []entry) bool {
	if s.pos == (signaling.Position{}) {
		return len(found) == 0 || found[0].pos.Offset == 1
	}
	return len(found) > 0 && found[0].pos == s.pos && (s.mark == 0 || s.mark == found[0].mark)
}

// giveAll delivers those of found that s does not have, and reports whether s
// goes on.
func (s *subscription) giveAll(found []entry) bool {
	for _, e := range found {
		if e.pos == s.pos {
			s.mark = e.mark
			continue
		}
		if before := (entry{pos: signaling.Position{Epoch: e.pos.Epoch, Offset: e.pos.Offset - 1}}); before.pos != s.pos && before.pos.Offset > 0 && !s.gap(before) {
			return false
		}
		s.bus.repaired.Add(1)
		if !s.give(e) {
			return false
		}
	}
	return true
}

// follow reads the stream until s has all of it.
func (s *subscription) follow() error {
	b := s.bus
	for b.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(b.ctx, attempt)
		list, err := b.client.XRangeN(ctx, b.stream(s.topic.name, s.topic.part), id(s.pos), "+", int64(b.page)).Result()
		cancel()
		if err != nil {
			return err
		}
		was, found := s.pos, entries(list)
		if !s.follows(found) {
			on, err := s.leap()
			if err != nil || !on {
				return err
			}
		} else if !s.giveAll(found) || len(list) < b.page || s.pos == was {
			return nil
		}
	}
	return nil
}

// leap tells the gap, if there is one, that separates s from its stream, and
// reports whether there is something to read behind it.
func (s *subscription) leap() (on bool, err error) {
	b := s.bus
	ctx, cancel := context.WithTimeout(b.ctx, attempt)
	defer cancel()
	first, err := b.edge(ctx, s.topic, false)
	if err != nil {
		return false, err
	}
	last, err := b.edge(ctx, s.topic, true)
	if err != nil {
		return false, err
	}
	before := entry{pos: signaling.Position{Epoch: first.pos.Epoch, Offset: first.pos.Offset - 1}}
	switch {
	case last.pos == signaling.Position{}: // forgotten
		s.gap(entry{})
		return false, nil
	case s.pos.Epoch != last.pos.Epoch && s.foreign, // another epoch than the caller knew
		s.pos.Epoch == last.pos.Epoch && first.pos.Offset <= s.pos.Offset: // older data came back
		return s.gap(last), nil
	case s.pos.Epoch == last.pos.Epoch && before.pos.Offset == s.pos.Offset:
		// What s has was trimmed, and nothing that it has not.
	case !s.gap(before):
		return false, nil
	}
	// There is no message at before to compare with: it goes on behind that.
	return s.give(first), nil
}
