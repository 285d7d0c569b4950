package presence

import (
	"context"
	"time"
)

// A Store shares the members of topics between nodes. It keeps, for each
// topic, a set of entries (user, incarnation, metadata) and a log of their
// changes. MemoryStore is one; package presencetest holds the suite that
// every Store must pass.
//
// Time in a Store is the store's own, never a node's: nothing in the
// interface carries a time of day.
type Store interface {
	// Open begins a new incarnation of node, which lives for lease unless it
	// is renewed. Every incarnation that ever was has another name. One that
	// was open under the same node name is fenced.
	Open(ctx context.Context, node string, lease time.Duration, events func(Event)) (Session, error)
}

// A Session is one incarnation of a node in a Store. Its methods may be called
// from any goroutine. The events function given to Open is called one event
// after the other and must not block; events may be lost, doubled or out of
// order: their positions show it, and Read repairs it.
type Session interface {
	// Incarnation is the name of this incarnation.
	Incarnation() string

	// Renew prolongs the lease and returns the names of all incarnations
	// whose lease has not run out. It returns ErrFenced if this one's has, or
	// if a later Open took its place: it is over then.
	Renew(ctx context.Context) (alive []string, err error)

	// Subscribe makes events of topic arrive from now on: when it returns,
	// no later change is missed for want of a subscription.
	Subscribe(ctx context.Context, topic string) error

	// Unsubscribe ends that.
	Unsubscribe(ctx context.Context, topic string) error

	// Apply makes changes, each one atomically and in order, and logs and
	// publishes each that changes something. It returns ErrFenced, and makes
	// none of them, if the lease is lost.
	Apply(ctx context.Context, ops []Op) error

	// Read returns what happened in topic after from, or, where the log does
	// not reach back so far, all entries. It changes nothing.
	Read(ctx context.Context, topic string, from Position) (Update, error)

	// Positions returns the present position of each topic, so that a lost
	// event is noticed also when no other follows.
	Positions(ctx context.Context, topics []string) ([]Position, error)

	// Reap removes the entries of incarnations that are dead for longer than
	// age, and returns how many it removed.
	Reap(ctx context.Context, age time.Duration) (int, error)

	// Close ends the lease at once and leaves the entries, so that users may
	// come back on another node before they count as gone.
	Close(ctx context.Context) error
}

// Position is a point in the log of a topic. Offsets count from 1 without a
// gap within one epoch; a store that lost its data begins another epoch.
type Position struct {
	Epoch  string
	Offset uint64
}

// OpKind says what an Op or an Event does.
type OpKind uint8

const (
	// Put sets the entry of this incarnation for a user.
	Put OpKind = iota + 1
	// Drop removes the entry of this incarnation for a user.
	Drop
	// Leave removes the entries that all incarnations have for a user, as
	// far as the leaver had seen them: those not newer than Seen, and its own.
	Leave
)

// An Op is a change that a node asks for.
type Op struct {
	Kind  OpKind
	Topic string
	User  string
	Meta  []byte   // Put
	Tag   uint64   // Put: the Event has the same, so that a node knows its own
	Seen  Position // Leave: up to where this node knew the topic; nothing if of another epoch
}

// An Event is a change that a Store has made, in the log of its topic.
type Event struct {
	Kind        OpKind
	Topic       string
	Pos         Position
	User        string
	Incarnation string // whose entry it was; of a Leave, who asked
	Meta        []byte // Put
	Tag         uint64 // Put: of the Op
	Seen        uint64 // Leave: entries made after this offset stay, but for the asker's own
}

// An Update is an answer of Session.Read.
type Update struct {
	// Pos is where the reader is when it has followed the update.
	Pos Position
	// All is true if Events are Puts that make up the whole topic: what the
	// reader has and Events do not name is gone. Their positions tell when
	// each entry was made. Else Events are what happened, in order.
	All    bool
	Events []Event
}
