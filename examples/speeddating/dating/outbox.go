package dating

import "sync"

// outbox delivers events in the order in which they were put in. put is called
// with Platform.mu held, so that the order is that of what happened; flush
// after it was released. One goroutine at a time empties the box, whichever
// comes first, and with no lock held.
type outbox struct {
	mu       sync.Mutex
	idle     sync.Cond
	events   []Event
	emptying bool
}

func (o *outbox) put(e Event) {
	o.mu.Lock()
	o.events = append(o.events, e)
	o.mu.Unlock()
}

// flush hands every event to f. When another goroutine is at it, that one
// takes ours too.
func (o *outbox) flush(f func(Event)) {
	o.mu.Lock()
	if o.emptying {
		o.mu.Unlock()
		return
	}
	o.emptying = true
	for len(o.events) > 0 {
		events := o.events
		o.events = nil
		o.mu.Unlock()
		for _, e := range events {
			f(e)
		}
		o.mu.Lock()
	}
	o.emptying = false
	if o.idle.L != nil {
		o.idle.Broadcast()
	}
	o.mu.Unlock()
}

// wait returns when nobody delivers any more.
func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle.L == nil {
		o.idle.L = &o.mu
	}
	for o.emptying {
		o.idle.Wait()
	}
}

// emitLocked puts an event in the box. The caller flushes after unlocking.
func (p *Platform) emitLocked(to UserID, socket, kind string, data any) {
	p.out.put(Event{To: to, Socket: socket, Kind: kind, Data: data})
}

// flush delivers what was emitted: here, and to the other nodes that have its
// person.
func (p *Platform) flush() {
	p.out.flush(func(e Event) {
		p.receive(e)
		p.publish(e)
	})
}

// receive is what an event does on a node that has its person: it changes what
// the node knows of them, and goes to their browsers.
func (p *Platform) receive(e Event) {
	p.mu.Lock()
	who := p.people[e.To]
	if who == nil || e.Socket != "" && p.sockets[e.Socket] == nil {
		p.mu.Unlock()
		return
	}
	who.learnLocked(e)
	if d, ok := e.Data.(*changedCard); ok && who.listed {
		p.inTopic(queueTopic, who.id, true, d.Card.meta())
	}
	p.settleLocked(who)
	events := p.forSocketsLocked(who, e)
	p.mu.Unlock()
	for _, e := range events {
		p.stats.events.Add(1)
		p.deliver(e)
	}
}

// forSocketsLocked gives what the web layer is told: most events as they are,
// call:start for each socket by itself, and the internal ones not at all.
func (p *Platform) forSocketsLocked(who *person, e Event) []Event {
	switch d := e.Data.(type) {
	case *openedInvite, *changedCard, *wish:
		return nil
	case *CallStart:
		var events []Event
		for _, s := range who.sockets {
			if e.Socket != "" && s.id != e.Socket {
				continue
			}
			own := *d
			own.Here, own.Socket = s.id == d.Socket, ""
			events = append(events, Event{To: e.To, Socket: s.id, Kind: e.Kind, Data: &own})
		}
		return events
	}
	return []Event{e}
}
