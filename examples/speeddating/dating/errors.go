package dating

import "errors"

// Code names what was wrong with a request, in words that a client may branch
// on. It is what the wire carries as error.code.
type Code string

// The codes, and what the web layer makes of them.
const (
	Invalid         Code = "invalid"          // 400: a field is missing, too long or of the wrong shape
	InvalidTarget   Code = "invalid_target"   // 400: nobody, or oneself
	InvalidDuration Code = "invalid_duration" // 400: not 60 to 1800 seconds
	Unauthenticated Code = "unauthenticated"  // 401: no such session, or a wrong password
	Forbidden       Code = "forbidden"        // 403: not the callee, not a member, not talked with
	UnderReview     Code = "under_review"     // 403: reported, waiting for an admin
	Banned          Code = "banned"           // 403: an admin decided so
	NotFound        Code = "not_found"        // 404: no such invite, call, picture, link
	UserNotFound    Code = "user_not_found"   // 404
	Busy            Code = "busy"             // 409: in a call, in an open invite, or not free
	Offline         Code = "offline"          // 409: not connected
	Cooldown        Code = "cooldown"         // 409: met a short while ago
	Conflict        Code = "conflict"         // 409: e-mail taken, already an account, already reported
	TooMany         Code = "too_many"         // 429: over a rate or a count
	Overloaded      Code = "busy_server"      // 503: a bound of this server is reached
	Draining        Code = "draining"         // 503: this server is going away
	Unavailable     Code = "unavailable"      // 503: the database or the bus does not answer
)

// Error is what every method of Platform returns when it refuses. Match it
// with errors.AsType[*Error] or with errors.Is against another *Error, which compares
// codes.
type Error struct {
	Code    Code
	Message string
	cause   error
}

func (e *Error) Error() string {
	s := "dating: " + string(e.Code) + ": " + e.Message
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the cause, for the log; it is not meant for clients.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf gives the code of err: "" for nil, Unavailable for an error that is
// not ours.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Unavailable
}

func refuse(c Code, message string) error { return &Error{Code: c, Message: message} }

// unavailable wraps a fault of the store or the bus. A refusal passes through
// unchanged, so that callers need not ask which of the two they hold.
func unavailable(what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Unavailable, Message: what, cause: err}
}
