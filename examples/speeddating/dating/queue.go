package dating

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
)

// The topics that the platform keeps in the tracker.
const (
	onlineTopic  = "online"  // everybody with a socket
	queueTopic   = "queue"   // the free; their metadata is a card
	talkingTopic = "talking" // those in a call
)

// hiddenMax is how many people a watcher leaves out: the tracker's default.
// Those reported before the last of them are taken out of the cards.
const hiddenMax = 64

// watch is a socket's window of the queue.
type watch struct {
	p    *Platform
	to   UserID
	id   string // of the socket
	rel  *relations
	w    *presence.Watcher
	gone atomic.Bool // unwatched
}

// JoinQueue makes id free and lets socket watch the queue from its beginning:
// queue:snapshot follows, then queue:update. Busy: in a call.
func (p *Platform) JoinQueue(ctx context.Context, id UserID, socketID string) error {
	if _, err := p.active(ctx, id); err != nil {
		return err
	}
	p.mu.Lock()
	s, err := p.socketLocked(id, socketID)
	if err == nil && s.who.room != "" {
		err = refuse(Busy, "you are in a call")
	}
	if err == nil {
		err = p.admitLocked()
	}
	if err == nil {
		p.wishLocked(s.who, true)
	}
	p.mu.Unlock()
	p.flush()
	if err != nil {
		return err
	}
	return p.WatchQueue(ctx, id, socketID, "")
}

// LeaveQueue makes id not free, and ends the windows of all its sockets on this
// node.
func (p *Platform) LeaveQueue(_ context.Context, id UserID, socketID string) error {
	p.mu.Lock()
	s, err := p.socketLocked(id, socketID)
	if err == nil {
		for _, s := range s.who.sockets {
			s.unwatch()
		}
		p.wishLocked(s.who, false)
	}
	p.mu.Unlock()
	p.flush()
	return err
}

// wish tells a person's other nodes whether they want to be called. It does
// not leave them. Again has them say so to the tracker again: a node that
// leaves a topic takes the person out of it on all nodes.
type wish struct{ Wants, Again bool }

const wishKind = "-queue:wish"

// wishLocked is in force here at once, and on the other nodes when they hear it.
func (p *Platform) wishLocked(who *person, wants bool) {
	if who.wants != wants {
		who.wants = wants
		p.emitLocked(who.id, "", wishKind, &wish{Wants: wants})
	}
	p.settleLocked(who)
}

// WatchQueue moves the window of socket to the cursor: queue:snapshot follows,
// then queue:update of that window. One window a socket. Invalid: the cursor.
func (p *Platform) WatchQueue(ctx context.Context, id UserID, socketID, cursor string) error {
	after, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	rel, err := p.relationsOf(ctx, id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.socketLocked(id, socketID)
	if err != nil {
		return err
	}
	if s.who.room != "" {
		return refuse(Busy, "you are in a call")
	}
	if s.who.rel == nil {
		s.who.rel = rel
	}
	s.unwatch()
	w := &watch{p: p, to: id, id: socketID, rel: s.who.rel}
	w.w, err = p.presence.Watch(queueTopic, presence.WatchOptions{
		Limit: p.rules.WindowCards, After: after, Exclude: w.rel.hidden(id), Deliver: w.deliver,
	})
	if err != nil {
		return &Error{Code: Overloaded, Message: "no more windows can be kept", cause: err}
	}
	s.watch = w
	return nil
}

func (s *socket) unwatch() {
	if s.watch != nil {
		s.watch.gone.Store(true)
		s.watch.w.Close()
		s.watch = nil
	}
}

// rewatch has the whole window told anew.
func (s *socket) rewatch() {
	if s.watch != nil {
		// Which of the errors it is makes no difference: the next rewatch or
		// queue:more tries again.
		_ = s.watch.w.Exclude(s.watch.rel.hidden(s.who.id))
	}
}

// deliver turns a change of the window into an event. Viewers for whom no card
// is marked share one.
func (w *watch) deliver(d *presence.Diff) {
	if w.gone.Load() {
		return
	}
	e, _ := presence.Share(d, "event", func(d *presence.Diff) (Event, error) { return queueEvent(d), nil })
	w.p.stats.diffs.Add(1)
	now := time.Now()
	switch data := e.Data.(type) {
	case *Window:
		plain, own := w.own(data.Cards, now, &e)
		if plain != nil {
			e.Plain = &Window{Cards: plain, Total: data.Total, Cursor: data.Cursor}
		}
		if e.Data = e.Plain; own != nil {
			e.Data = &Window{Cards: own, Total: data.Total, Cursor: data.Cursor}
		}
	case *QueueUpdate:
		plain, own := w.own(data.Added, now, &e)
		if plain != nil {
			e.Plain = &QueueUpdate{Added: plain, Removed: data.Removed, Total: data.Total, Cursor: data.Cursor}
		}
		if e.Data = e.Plain; own != nil {
			e.Data = &QueueUpdate{Added: own, Removed: data.Removed, Total: data.Total, Cursor: data.Cursor}
		}
	}
	e.To, e.Socket = w.to, w.id
	w.p.stats.events.Add(1)
	w.p.deliver(e)
}

// own gives the cards that are offered to this viewer, if they are not those
// that others see, and with what is marked for this viewer, if anything is.
func (w *watch) own(cards []Card, now time.Time, e *Event) (plain, own []Card) {
	offered := w.rel.offered(cards)
	if len(offered) != len(cards) {
		plain, e.Shared = offered, nil
	}
	if seen := w.rel.marked(offered, now); len(seen) > 0 && &seen[0] != &offered[0] {
		own = seen
	}
	return plain, own
}

func queueEvent(d *presence.Diff) Event {
	if d.Resync {
		all := &Window{Cards: cardsOf(d.Added), Total: d.Count, Cursor: cursorOf(d.Next)}
		return Event{Kind: QueueSnapshotKind, Data: all, Plain: all, Shared: new(Shared)}
	}
	u := &QueueUpdate{Added: cardsOf(d.Added), Removed: make([]UserID, 0, len(d.Removed)), Total: d.Count, Cursor: cursorOf(d.Next)}
	for _, id := range d.Removed {
		u.Removed = append(u.Removed, UserID(id))
	}
	return Event{Kind: QueueUpdateKind, Data: u, Plain: u, Shared: new(Shared)}
}

// QueueWindow gives a window once. It costs no statement when warm. Invalid: the cursor.
func (p *Platform) QueueWindow(ctx context.Context, id UserID, cursor string) (*Window, error) {
	after, err := parseCursor(cursor)
	if err != nil {
		return nil, err
	}
	rel, err := p.relationsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := p.presence.List(queueTopic, presence.ListOptions{Limit: p.rules.WindowCards, After: after, Exclude: rel.hidden(id)})
	if err != nil {
		return nil, &Error{Code: Unavailable, Message: "the queue cannot be read", cause: err}
	}
	rel.mu.RLock()
	version := rel.version
	rel.mu.RUnlock()
	return &Window{
		Cards: rel.marked(rel.offered(cardsOf(list.Members)), time.Now()), Total: list.Count, Cursor: cursorOf(list.Next),
		Version: p.incarnation + "-" + strconv.FormatUint(list.Version, 36) + "-" + strconv.FormatUint(version, 36) + "-" + string(id),
	}, nil
}

func (p *Platform) socketLocked(id UserID, socketID string) (*socket, error) {
	s := p.sockets[socketID]
	if s == nil || s.who.id != id {
		return nil, refuse(Offline, "this socket is not open")
	}
	return s, nil
}

func cursorOf(next uint64) string {
	if next == 0 {
		return ""
	}
	return strconv.FormatUint(next, 36)
}

func parseCursor(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil {
		return 0, refuse(Invalid, "this is no cursor of the queue")
	}
	return n, nil
}

// meta is a card as the tracker carries it: name, gender and picture, divided
// by a byte that no name has.
func (c Card) meta() []byte {
	return []byte(c.Name + "\x1f" + c.Gender + "\x1f" + c.SelfieURL)
}

func cardsOf(members []presence.Member) []Card {
	cards := make([]Card, 0, len(members))
	for _, m := range members {
		name, rest, _ := strings.Cut(string(m.Meta), "\x1f")
		gender, selfie, _ := strings.Cut(rest, "\x1f")
		cards = append(cards, Card{UserID: UserID(m.User), Name: name, Gender: gender, SelfieURL: selfie})
	}
	return cards
}

// card is what others see of u.
func (u *User) card() Card {
	c := Card{UserID: u.ID, Name: u.Name, Gender: u.Gender}
	if u.SelfieID != "" {
		c.SelfieURL = selfieURL(u.SelfieID)
	}
	return c
}

// anchor makes the tracker know the members of all topics also on a node where
// nobody is in them.
func (p *Platform) anchor() (release func(), err error) {
	var all []*presence.Watcher
	release = func() {
		for _, w := range all {
			w.Close()
		}
	}
	for _, topic := range []string{onlineTopic, queueTopic, talkingTopic} {
		w, err := p.presence.Watch(topic, presence.WatchOptions{Limit: -1, Deliver: func(*presence.Diff) {}})
		if err != nil {
			release()
			return nil, err
		}
		all = append(all, w)
	}
	return release, nil
}
