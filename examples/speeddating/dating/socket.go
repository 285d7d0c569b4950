package dating

import (
	"context"
	"slices"
	"time"
)

// What a person and a socket cost, for Options.Account.
const (
	socketBytes = 1 << 10
	callBytes   = 2 << 10
)

// person is somebody with a socket on this node. Platform.mu guards it.
type person struct {
	id       UserID
	sockets  []*socket
	card     Card
	standing Standing
	rel      *relations // nil until the queue was looked at
	wants    bool       // has joined the queue
	invite   string     // open: as caller or callee
	room     string     // in a call

	// What the tracker was told.
	listed, talking bool
	// learned counts the events so far.
	learned int
	rung    time.Time // when invite was learned of
}

// socket is one tab.
type socket struct {
	id      string
	who     *person
	session TokenHash
	expires time.Time // the session
	away    bool
	watch   *watch
}

// free is what the queue shows: wishes to be called and is neither being
// called nor in a call.
func (w *person) free() bool {
	return w.wants && w.invite == "" && w.room == "" && w.standing == Good && len(w.sockets) > 0
}

// learnLocked takes from an event what this node has to know of its person.
func (w *person) learnLocked(e Event) {
	w.learned++
	switch d := e.Data.(type) {
	case *openedInvite:
		w.invite, w.rung = d.ID, time.Now()
	case *CallNotify:
		w.invite, w.rung = d.InviteID, time.Now()
	case *InviteOutcome:
		if w.invite == d.InviteID && e.Kind != CallWaitExtendedKind {
			w.invite = ""
		}
	case *CallStart:
		w.room, w.wants = d.RoomID, false
		if w.invite == d.RoomID {
			w.invite = ""
		}
	case *Finalized:
		if w.room == d.RoomID {
			w.room = ""
		}
	case *changedCard:
		w.card = d.Card
	case *wish:
		w.wants = d.Wants && w.room == ""
		w.listed = w.listed && !d.Again
	case *Review:
		w.standing, w.wants = InReview, false
	}
}

// SocketOpened says that id has a (new) tab here. Call it before any other
// method with that socket. UnderReview, Banned, Draining, Overloaded.
func (p *Platform) SocketOpened(ctx context.Context, id UserID, socketID string, s Session) error {
	u, err := p.active(ctx, id)
	if err != nil {
		return err
	}
	if err := p.reserve(socketBytes); err != nil {
		return err
	}
	who, first, err := p.addSocket(u, socketID, s)
	if err != nil {
		p.release(socketBytes)
		return err
	}
	if first {
		err = p.bus.Subscribe(ctx, p.node, id)
		p.mu.Lock()
		if p.people[id] == nil { // gone meanwhile
			p.bus.Unsubscribe(p.node, id)
		}
		p.mu.Unlock()
		if err != nil {
			p.dropSocket(socketID)
			return unavailable("the bus does not answer", err)
		}
	}
	// The session may have ended while we were at it, or an admin decided; from
	// here on an end finds the socket.
	if _, err = p.sessionOf(ctx, s.Hash); err == nil {
		_, err = p.active(ctx, id)
	}
	if err == nil {
		err = p.catchUp(ctx, who)
	}
	if err != nil {
		p.dropSocket(socketID)
	}
	return err
}

// catchUp finds out what a person who connects is in the middle of. An event
// that comes meanwhile knows better: then it is done again.
func (p *Platform) catchUp(ctx context.Context, who *person) error {
	for {
		p.mu.Lock()
		before := who.learned
		p.mu.Unlock()
		call, invite, err := p.Current(ctx, who.id)
		if err != nil {
			return err
		}
		p.mu.Lock()
		if who.learned == before {
			if call != nil {
				who.room = call.RoomID
			}
			who.wants = who.wants || p.presence.Has(queueTopic, string(who.id))
			if invite != nil {
				who.invite, who.rung = invite.InviteID, time.Now()
			}
			p.settleLocked(who)
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
	}
}

func (p *Platform) addSocket(u *User, socketID string, s Session) (who *person, first bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.admitLocked(); err != nil {
		return nil, false, err
	}
	if len(p.sockets) >= p.maxSockets {
		return nil, false, refuse(Overloaded, "this server is full")
	}
	if p.sockets[socketID] != nil {
		return nil, false, refuse(Invalid, "this socket is open already")
	}
	if err := p.presence.Connect(string(u.ID), socketID, nil); err != nil {
		return nil, false, &Error{Code: Overloaded, Message: "this server is full", cause: err}
	}
	who = p.people[u.ID]
	if who == nil {
		who, first = &person{id: u.ID, card: u.card(), standing: u.Standing}, true
		p.people[u.ID] = who
		if err := p.presence.Join(onlineTopic, string(u.ID), nil); err != nil {
			p.log.Warn("online is not shown", "err", err)
		}
	}
	so := &socket{id: socketID, who: who, session: s.Hash, expires: s.ExpiresAt}
	who.sockets = append(who.sockets, so)
	p.sockets[socketID] = so
	return who, first, nil
}

// SocketAway says that the socket was cut and may come back: its partner in a
// call is told.
func (p *Platform) SocketAway(socketID string) { p.moved(socketID, true) }

// SocketBack says that it did: nothing was missed.
func (p *Platform) SocketBack(socketID string) { p.moved(socketID, false) }

func (p *Platform) moved(socketID string, away bool) {
	p.mu.Lock()
	s := p.sockets[socketID]
	if s == nil || s.away == away {
		p.mu.Unlock()
		return
	}
	s.away = away
	c := command{Verb: verbBack, User: s.who.id, Socket: socketID, ID: s.who.room}
	p.mu.Unlock()
	if away {
		c.Verb = verbAway
	}
	if c.ID != "" {
		p.notify(c)
	}
}

// SocketClosed says that the socket is gone for good: at once after a clean
// close, after the grace otherwise. With the person's last socket go the
// place in the queue, the open invite and the call. While this node drains it
// is the node that went, and nobody is blamed for that: their invite ends with
// reason restart, and a call of another node waits for them to come back there.
func (p *Platform) SocketClosed(socketID string, _ bool) { p.dropSocket(socketID) }

func (p *Platform) dropSocket(socketID string) {
	p.mu.Lock()
	s := p.sockets[socketID]
	if s == nil {
		p.mu.Unlock()
		return
	}
	who := s.who
	delete(p.sockets, socketID)
	who.sockets = slices.DeleteFunc(who.sockets, func(o *socket) bool { return o == s })
	last := len(who.sockets) == 0
	if last {
		delete(p.people, who.id)
		p.bus.Unsubscribe(p.node, who.id) // it does not wait; a new socket's Subscribe comes after
	}
	room, invite, wanted := who.room, who.invite, who.wants
	gone := command{Verb: verbGone, User: who.id, Socket: socketID}
	if p.state >= draining {
		gone.Reason = "restart"
	}
	if last {
		who.wants = false
	}
	p.presence.Disconnect(string(who.id), socketID, true)
	s.unwatch()
	p.settleLocked(who)
	p.mu.Unlock()
	p.release(socketBytes)
	elsewhere := !last || p.presence.Online(string(who.id))
	if last && elsewhere && wanted {
		p.publish(Event{To: who.id, Kind: wishKind, Data: &wish{Wants: true, Again: true}})
	}
	for _, id := range []string{invite, room} {
		if id == "" {
			continue
		}
		gone.ID = id
		// The call may be taken over by another tab; an invite may be one by now.
		waits := elsewhere || id == room && gone.Reason != ""
		if waits {
			p.notify(command{Verb: verbLost, User: who.id, Socket: socketID, ID: id})
		}
		switch c := gone; {
		case elsewhere && last:
			p.background(func() { p.lookAgain(c) })
		case !elsewhere && !waits:
			p.notify(c)
		}
	}
}

// lookAgain is for somebody whose last tab here went while another node had
// one: if that one went at the same time, each believed in the other's.
func (p *Platform) lookAgain(c command) {
	select {
	case <-p.life.Done():
	case <-time.After(2 * time.Second):
		if !p.presence.Online(string(c.User)) {
			p.notify(c)
		}
	}
}

// settleLocked brings the tracker in line with what the node knows of a person.
func (p *Platform) settleLocked(who *person) {
	if len(who.sockets) == 0 { // Disconnect took them out of every topic
		who.listed, who.talking = false, false
		return
	}
	if talking := who.room != ""; talking != who.talking {
		who.talking = talking
		p.inTopic(talkingTopic, who.id, talking, nil)
		for _, s := range who.sockets { // in a call nobody looks at the queue
			s.unwatch()
		}
	}
	if free := who.free(); free != who.listed {
		who.listed = free
		p.inTopic(queueTopic, who.id, free, who.card.meta())
	}
}

func (p *Platform) inTopic(topic string, id UserID, in bool, meta []byte) {
	if !in {
		p.presence.Leave(topic, string(id))
		return
	}
	if err := p.presence.Join(topic, string(id), meta); err != nil {
		p.log.Warn("not shown", "topic", topic, "err", err)
	}
}
