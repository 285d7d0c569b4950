package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Time is Redis' own: no clock of a node is asked. An entry of KEYS[1] is a
// node and the end of its lease.
//
// KEYS: nodes, epoch. ARGV: full name ("": nothing), lease in ms, name if no
// other may have it, the incarnation before.
var enterScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[4] ~= '' then redis.call('ZREM', KEYS[1], ARGV[4]) end
local living = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
if ARGV[3] ~= '' then
	for _, other in ipairs(living) do
		if string.sub(other, 1, #ARGV[3] + 1) == ARGV[3] .. '.' then return redis.error_reply('TAKEN') end
	end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local epoch = redis.call('GET', KEYS[2])
if not epoch or string.match(epoch, '^(%x+) ') ~= run then
	epoch = run .. ' ' .. now
	redis.call('SET', KEYS[2], epoch)
end
return {epoch, living}
`)

// renew says that the node lives, and gives who else does.
func (l *life) renew(ctx context.Context, taken, before string) ([]string, error) {
	bus := l.m.bus
	v, err := enterScript.Run(ctx, bus.opt.Client, []string{bus.nodes, bus.epoch},
		l.full, bus.opt.Lease.Milliseconds(), taken, before).Slice()
	bus.outcome(err)
	if err != nil {
		if strings.Contains(err.Error(), "TAKEN") {
			return nil, fmt.Errorf("bus: there is a node %q already", l.m.name)
		}
		return nil, fmt.Errorf("bus: lease: %w", err)
	}
	epoch, _ := v[0].(string)
	list, _ := v[1].([]any)
	var alive []string
	for _, one := range list {
		if full, ok := one.(string); ok && full != l.full {
			alive = append(alive, full)
		}
	}
	// An entry to oneself: the inbox exists, and the reader shows that it reads.
	pipe := bus.opt.Client.Pipeline()
	pipe.XAdd(ctx, &redis.XAddArgs{Stream: bus.inbox(l.full), MaxLen: inboxLength, Approx: true, Values: []any{"b", ""}})
	pipe.PExpire(ctx, bus.inbox(l.full), inboxKeep)
	_, err = pipe.Exec(ctx)
	bus.outcome(err)
	if err != nil {
		return nil, fmt.Errorf("bus: inbox: %w", err)
	}
	bus.sees(epoch)
	return alive, nil
}

func (l *life) enter(ctx context.Context, before string) ([]string, error) {
	taken := l.m.name
	if before != "" {
		taken = ""
	}
	return l.renew(ctx, taken, before)
}

// exit takes the node off Redis.
func (l *life) exit() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	bus := l.m.bus
	pipe := bus.opt.Client.Pipeline()
	pipe.XAdd(ctx, &redis.XAddArgs{Stream: bus.inbox(l.full), Values: []any{"b", ""}}) // wakes the reader
	pipe.ZRem(ctx, bus.nodes, l.full)
	pipe.Del(ctx, bus.inbox(l.full))
	if _, err := pipe.Exec(ctx); err != nil {
		bus.opt.Logger.Warn("a node's traces stay until they end by themselves", "err", err)
	}
}

// keep renews the lease, and finds out who is dead.
func (l *life) keep() {
	const look = 50 * time.Millisecond
	every := l.m.bus.opt.Lease / 5
	due := time.Now().Add(every)
	for sleep(l.ctx, min(look, every)) {
		if time.Now().Before(due) {
			l.feel(time.Now())
			continue
		}
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		alive, err := l.renew(ctx, "", "")
		cancel()
		if l.ctx.Err() != nil {
			return
		}
		now := time.Now()
		if err != nil {
			l.m.mu.Lock()
			l.calm = time.Time{}
			l.m.mu.Unlock()
			continue // at once again
		}
		due = now.Add(every)
		l.census(alive, now)
	}
}

// census meets the new, and buries those who are absent for long enough while
// Redis answered all the time.
func (l *life) census(alive []string, now time.Time) {
	m, here := l.m, make(map[string]bool, len(alive))
	var zombies []string
	var lost []*peer
	m.mu.Lock()
	if l.calm.IsZero() {
		l.calm = now
		clear(l.absent)
	}
	for _, full := range alive {
		here[full] = true
		delete(l.absent, full)
		if _, dead := l.dead[full]; dead {
			zombies = append(zombies, full)
			continue
		}
		l.meetLocked(full)
	}
	for full, p := range l.peers {
		if here[full] {
			continue
		}
		if l.absent[full].IsZero() {
			l.absent[full] = now
		} else if now.Sub(l.absent[full]) > 2*time.Second {
			delete(l.absent, full)
			lost = append(lost, p)
		}
	}
	for full, at := range l.dead {
		if now.Sub(at) > deadKept && !here[full] {
			delete(l.dead, full)
		}
	}
	m.mu.Unlock()
	for _, p := range lost {
		l.lose(p, "its lease ran out")
	}
	for _, full := range zombies {
		_ = l.post(full, letter{from: l.full, parcels: []parcel{{kind: dead}}}.pack()) // again with the next census
	}
}

// feel takes the pulse of those who acknowledge nothing: a process that ended
// has no connections, and who waits for it needs not wait for the lease. People
// who come back from there do: no new socket is served before every node says
// that it knows of it, or is dead.
func (l *life) feel(now time.Time) {
	if l.m.bus.cluster { // slots that move interrupt the pulse of the living
		return
	}
	var suspects []*peer
	l.m.mu.Lock()
	calm := now.Sub(l.calm) > 2*time.Second
	for _, p := range l.peers {
		switch {
		case !calm: // their pulse may have been interrupted as well
			p.faint = time.Time{}
		case p.link.sent > 0 && now.Sub(p.link.progress) > suspectFrom:
			suspects = append(suspects, p)
		}
	}
	l.m.mu.Unlock()
	for _, p := range suspects {
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		n, err := l.m.bus.opt.Client.SPublish(ctx, l.m.bus.pulse(p.full), "").Result()
		cancel()
		l.m.mu.Lock()
		switch {
		case err != nil:
			l.calm = time.Time{}
			l.m.mu.Unlock()
			return
		case n > 0:
			p.faint = time.Time{}
		case p.faint.IsZero():
			p.faint = now
		}
		over := !p.faint.IsZero() && now.Sub(p.faint) >= pulseless
		l.m.mu.Unlock()
		if over {
			l.lose(p, "its process ended")
		}
	}
}

// beat keeps the connection that others feel as this node's pulse.
func (l *life) beat() {
	sub := l.m.bus.opt.Client.SSubscribe(l.ctx, l.m.bus.pulse(l.full))
	defer sub.Close()
	defer context.AfterFunc(l.ctx, func() { sub.Close() })() // Receive does not look at ctx
	for l.ctx.Err() == nil {
		if _, err := sub.Receive(l.ctx); err != nil {
			sleep(l.ctx, 20*time.Millisecond) // short: without it this node looks dead
		}
	}
}

// declaredDead is for a node that another one has given up: what they told it
// since is lost, so it begins anew, and so do its people.
func (l *life) declaredDead(by string) {
	m := l.m
	m.mu.Lock()
	again := m.life == l && !l.ended && !m.left
	if again {
		l.ended = true
		m.tasks.Go(func() { l.beginAgain(by) })
	}
	m.mu.Unlock()
}

func (l *life) beginAgain(by string) {
	m := l.m
	m.bus.opt.Logger.Warn("this node was declared dead, and begins anew", "by", by)
	l.stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), m.bus.opt.Lease)
		err := m.begin(ctx, l.full)
		cancel()
		m.mu.Lock()
		left := m.left
		m.mu.Unlock()
		if err == nil || left {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	m.bus.count(func(s *dating.BusStats) { s.Gaps++ })
	if m.handler.Missed != nil {
		m.handler.Missed("")
	}
}

// sees notes which life of the data Redis is in. In a new one the claims are
// said again.
func (r *Redis) sees(epoch string) {
	r.mu.Lock()
	was := r.life
	if r.life = epoch; was != "" && was != epoch {
		r.moved = time.Now()
	}
	r.mu.Unlock()
	if was != "" && was != epoch {
		r.opt.Logger.Warn("redis has lost its data, or was replaced")
		r.count(func(s *dating.BusStats) { s.Lives++ })
		if err := r.reclaim(); err != nil && !errors.Is(err, context.Canceled) {
			r.mu.Lock()
			r.life = was // the next look tries again
			r.mu.Unlock()
		}
	}
}

func (r *Redis) dataLife() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}
