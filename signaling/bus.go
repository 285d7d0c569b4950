package signaling

import "context"

// Bus carries messages between the hubs of several processes. A topic is the
// interest of one user or room ("user/…", "room/…"): a node subscribes to those
// it hosts and hears of no others.
//
// Every topic is a log. A message gets a position, an offset that grows by one
// within an epoch; the epoch changes when the log was lost (a flushed or failed
// over server). A subscriber sees each message of a topic once and in order, or
// an event that says that there is a gap: nothing is lost silently. Package
// signalingtest has the suite that an implementation must pass.
type Bus interface {
	// Publish appends data to the topic's log and returns its position. When it
	// returns an error the message may or may not have been published.
	Publish(ctx context.Context, topic string, data []byte) (Position, error)

	// Subscribe calls deliver, one call at a time, for every message after the
	// given position; the zero Position means those published from now on. It
	// returns once the subscription is in effect. Where messages after the
	// position are not available any more (trimmed, or another epoch), the
	// first event is a gap. deliver must not block.
	Subscribe(ctx context.Context, topic string, after Position, deliver func(Event)) (Subscription, error)
}

// Position is a place in a topic's log.
type Position struct {
	// Epoch names the life of the log. Positions of different epochs do not
	// compare.
	Epoch string
	// Offset counts the messages of the epoch, from 1.
	Offset uint64
}

// Event is what a subscriber gets.
type Event struct {
	// Position of the message, or, for a gap, of the last one that was missed.
	Position Position
	// Data of the message. It must not be changed. Nil for a gap.
	Data []byte
	// Gap is true if messages up to Position were missed.
	Gap bool
}

// Subscription is an interest in a topic.
type Subscription interface {
	// Position is that of the last event given to deliver.
	Position() Position
	// Close ends the subscription. One call of deliver may still be under way
	// when it returns. It may be called from within deliver.
	Close()
}
