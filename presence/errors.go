package presence

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by every call after Shutdown.
	ErrClosed = errors.New("presence: tracker is shut down")

	// ErrNotHere is returned when a user who has no socket on this node joins
	// a topic, or a socket that is not connected sends a heartbeat.
	ErrNotHere = errors.New("presence: user or socket is not here")

	// ErrNotMember is returned by Update for a user who is not in the topic.
	ErrNotMember = errors.New("presence: user is not a member of the topic")

	// ErrInvalidID is returned for a user, socket or topic whose name is empty
	// or longer than MaxID bytes.
	ErrInvalidID = errors.New("presence: an id is empty or too long")

	// ErrFenced is returned by a Session whose lease was lost: another
	// incarnation of the node may be at work, and nothing was changed.
	ErrFenced = errors.New("presence: the lease of this incarnation is lost")
)

// MaxID bounds the length of the name of a user, a socket or a topic, in bytes.
const MaxID = 256

// A LimitError says which bound of Options refused a call.
type LimitError struct {
	What string // users, sockets, sockets of a user, topics, topics of a user, watchers, bytes of metadata, members in a window, excluded users
	Max  int
}

// Error names the bound and its value.
func (e *LimitError) Error() string {
	return fmt.Sprintf("presence: too many %s: the limit is %d", e.What, e.Max)
}
