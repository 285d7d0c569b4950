package signaling

import "errors"

var (
	// ErrFull is returned by Accept when MaxPeers sessions exist or the Account
	// has no room; the client was answered 503 with Retry-After.
	ErrFull = errors.New("signaling: full")
	// ErrShutdown is returned once Shutdown was called.
	ErrShutdown = errors.New("signaling: shut down")
	// ErrOrigin is returned by Accept and Check for a browser page of a foreign origin;
	// Accept has answered it 403.
	ErrOrigin = errors.New("signaling: origin not allowed")
	// ErrHandshake is returned by Accept and Check when the request is no WebSocket
	// handshake or the connection broke during it.
	ErrHandshake = errors.New("signaling: bad handshake")

	// ErrClosed is returned by sends to a peer or room that is over, and by
	// Accept when the peer was closed before it was open.
	ErrClosed = errors.New("signaling: closed")
	// ErrSlow is returned by the send that found the peer's queue full and
	// therefore ended it.
	ErrSlow = errors.New("signaling: queue full")
	// ErrBudget is returned by a send that did not fit in TotalQueueBytes.
	ErrBudget = errors.New("signaling: out of queue memory")
	// ErrTooLarge is returned for a message larger than a peer's queue.
	ErrTooLarge = errors.New("signaling: message larger than the queue")

	// ErrRoomExists is returned by OpenRoom for an id that is open.
	ErrRoomExists = errors.New("signaling: room exists")
	// ErrRoomsFull is returned by OpenRoom when MaxRooms are open.
	ErrRoomsFull = errors.New("signaling: too many rooms")
)

// Error is what a client caused. Code is stable and may be sent to the client;
// Message is for people.
type Error struct {
	Code    string
	Message string
}

// Error implements error.
func (e *Error) Error() string { return "signaling: " + e.Code + ": " + e.Message }

// The errors of a room. ErrNotInRoom is the same for a room that does not
// exist, one the peer does not belong to and one it has not joined, so that
// nobody can probe for rooms.
var (
	ErrNotInRoom        = &Error{"not_in_room", "no such room for this connection"}
	ErrInvalidMessage   = &Error{"invalid_message", "not a message for others"}
	ErrInvalidSignal    = &Error{"invalid_signal", "not a valid signaling message"}
	ErrInvalidSDP       = &Error{"invalid_sdp", "not an acceptable session description"}
	ErrInvalidCandidate = &Error{"invalid_candidate", "not an acceptable ICE candidate"}
	ErrSuperseded       = &Error{"superseded", "belongs to an offer that is no longer current"}
	ErrTooManySignals   = &Error{"too_many_candidates", "too many candidates for one offer"}
	ErrUnreachable      = &Error{"unavailable", "the other side's server does not answer; try again in a moment"}
)
