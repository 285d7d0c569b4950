package bus

import (
	"context"
	mrand "math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// read takes letters out of the inbox until the life ends. What it has read it
// trims away once a second.
func (l *life) read() {
	bus := l.m.bus
	last, trimmed, data := "0", time.Now(), ""
	pace, retry := pace{every: bus.opt.Linger}, time.Duration(0)
	for l.ctx.Err() == nil {
		if now := bus.dataLife(); now != data { // the entries of a new inbox may have lower numbers
			data, last = now, "0"
		}
		ctx, cancel := context.WithTimeout(l.ctx, readBlock+2*time.Second)
		got, err := bus.opt.Client.XRead(ctx, &redis.XReadArgs{Streams: []string{bus.inbox(l.full), last}, Count: 256, Block: readBlock}).Result()
		cancel()
		if l.ctx.Err() != nil {
			return
		}
		bus.outcome(err)
		if err != nil && err != redis.Nil {
			retry = min(max(2*retry, 10*time.Millisecond), 300*time.Millisecond)
			sleep(l.ctx, retry+mrand.N(retry/2+1))
			continue
		}
		retry = 0
		for _, stream := range got {
			for _, entry := range stream.Messages {
				last = entry.ID
				b, _ := entry.Values["b"].(string)
				if b == "" { // this node's own
					l.m.mu.Lock()
					l.probed = time.Now()
					l.m.mu.Unlock()
					continue
				}
				l.take(b)
			}
		}
		if time.Since(trimmed) > time.Second && last != "0" {
			trimmed = time.Now()
			ctx, cancel := context.WithTimeout(l.ctx, time.Second)
			// All but the last, whose number an inbox that is empty would forget.
			bus.outcome(bus.opt.Client.XTrimMinID(ctx, bus.inbox(l.full), last).Err())
			cancel()
		}
		if len(got) > 0 { // a read brings what several have sent
			pace.took(time.Now())
			sleep(l.ctx, pace.wait(time.Now()))
		}
	}
}

// take acts on one letter.
func (l *life) take(b string) {
	bus, m := l.m.bus, l.m
	t, err := unpack(b)
	if err != nil {
		bus.opt.Logger.Error("a letter", "err", err)
		return
	}
	for _, c := range t.parcels {
		if c.kind == dead { // needs no place in a line: there is none any more
			l.declaredDead(t.from)
			return
		}
	}
	m.mu.Lock()
	if _, dead := l.dead[t.from]; dead || l.ended {
		m.mu.Unlock()
		return // keep tells it
	}
	p := l.peers[t.from]
	if p == nil {
		if len(t.parcels) == 0 || t.first != 1 {
			m.mu.Unlock()
			return // of a time before ours
		}
		var before *peer
		name, _, _ := strings.Cut(t.from, ".")
		for _, o := range l.peers {
			if o.name == name {
				before = o
			}
		}
		if before != nil {
			m.mu.Unlock()
			l.lose(before, "it has begun anew")
			m.mu.Lock()
		}
		if p = l.meetLocked(t.from); p == nil {
			m.mu.Unlock()
			return
		}
	}
	p.faint = time.Time{}
	delete(l.absent, t.from)
	fresh, doubled, gap := p.link.take(t, time.Now())
	p.wake()
	m.mu.Unlock()
	bus.count(func(s *dating.BusStats) {
		s.Doubled += uint64(doubled)
		if gap {
			s.Gaps++
		}
	})
	for _, c := range fresh {
		p.arrived(c)
	}
}

// arrived acts on one parcel: in the sender's order, with no lock held.
func (p *peer) arrived(c parcel) {
	m, bus, id := p.l.m, p.l.m.bus, dating.UserID(c.id)
	switch c.kind {
	case toUser:
		m.mu.Lock()
		wanted := m.people[id]
		m.mu.Unlock()
		if wanted {
			bus.count(func(s *dating.BusStats) { s.Delivered++ })
			m.handler.Message(p.name, c.body)
		}
	case toAll:
		bus.count(func(s *dating.BusStats) { s.Delivered++ })
		m.handler.Message(p.name, c.body)
	case asking:
		p.serve(c)
	case answering, failing:
		m.mu.Lock()
		q := m.asked[c.number]
		delete(m.asked, c.number)
		m.mu.Unlock()
		if q != nil {
			q.answer <- c
		}
	case hello:
		m.mu.Lock()
		for id := range p.people {
			p.l.removeLocked(p, id)
		}
		m.mu.Unlock()
	case here:
		m.mu.Lock()
		if _, ok := p.people[id]; !ok && p.l.peers[p.full] == p {
			p.people[id] = struct{}{}
			p.l.at[id] = append(p.l.at[id][:len(p.l.at[id]):len(p.l.at[id])], p)
		}
		m.mu.Unlock()
	case gone:
		m.mu.Lock()
		if _, ok := p.people[id]; ok {
			p.l.removeLocked(p, id)
		}
		m.mu.Unlock()
	case told:
		m.mu.Lock()
		if !p.knows {
			p.knows = true
			close(p.told)
		}
		m.mu.Unlock()
	case missed:
		bus.opt.Logger.Warn("messages of another node were missed", "node", p.name)
		if m.handler.Missed != nil {
			m.handler.Missed(p.name)
		}
	case bye:
		// It waits for this, and what else is in its line is of no use any more.
		m.mu.Lock()
		heard := p.link.heard
		m.mu.Unlock()
		_ = p.l.post(p.full, letter{from: p.l.full, acked: heard}.pack()) // or it waits in vain, for a second
		p.l.lose(p, "left")
	}
}

// serve has a request carried out: those of one key one after the other, also
// when their senders have given up waiting. As many as Options.MaxRequests are
// taken: who comes then is refused.
func (p *peer) serve(c parcel) {
	m := p.l.m
	answer := func(k kind, body []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if p.l.peers[p.full] == p {
			p.sendLocked(parcel{kind: k, number: c.number, body: body})
		}
	}
	select {
	case m.work <- struct{}{}:
	default:
		answer(failing, []byte("too many requests at once"))
		return
	}
	m.inLine(p.full+" "+c.id, func() {
		defer func() { <-m.work }()
		ctx, cancel := context.WithTimeout(p.l.ctx, 10*time.Second)
		defer cancel()
		b, err := m.handler.Request(ctx, p.name, c.body)
		if err != nil {
			answer(failing, []byte(err.Error()))
			return
		}
		answer(answering, b)
	})
}

// inLine runs f after what was put in the same line before.
func (m *member) inLine(line string, f func()) {
	m.mu.Lock()
	waiting, busy := m.lines[line]
	if busy {
		m.lines[line] = append(waiting, f)
		m.mu.Unlock()
		return
	}
	m.lines[line] = nil
	m.mu.Unlock()
	m.tasks.Go(func() {
		for {
			f()
			m.mu.Lock()
			waiting := m.lines[line]
			if len(waiting) == 0 {
				delete(m.lines, line)
				m.mu.Unlock()
				return
			}
			f, m.lines[line] = waiting[0], waiting[1:]
			m.mu.Unlock()
		}
	})
}

// lose forgets a node that has left or died, and tells the handler.
func (l *life) lose(p *peer, why string) {
	l.m.mu.Lock()
	known := l.peers[p.full] == p
	if known {
		l.dead[p.full] = time.Now()
		p.dropLocked()
	}
	l.m.mu.Unlock()
	if !known {
		return
	}
	l.m.bus.opt.Logger.Info("another node is gone", "node", p.name, "why", why)
	l.m.bus.count(func(s *dating.BusStats) { s.Deaths++ })
	if l.m.handler.Left != nil {
		l.m.handler.Left(p.name)
	}
}
