package connmgr

import (
	"errors"
	"fmt"
	"time"
)

// Close codes that a Manager gives to [Conn.Close].
const (
	CloseGoingAway      = 1001 // a drain, when Options.DrainCode says so
	ClosePolicy         = 1008 // no user within Options.AuthDeadline
	CloseServiceRestart = 1012 // a drain
	CloseTryAgainLater  = 1013 // refused after the upgrade
	CloseEvicted        = 4001 // a newer connection of the user took the place
)

var (
	// ErrDraining is what every Admit returns (inside a *LimitError) once
	// Drain or Shutdown was called.
	ErrDraining = errors.New("connmgr: draining")

	// ErrGone is returned when a ticket was released already, or its
	// connection was evicted, ran out of time or was cut.
	ErrGone = errors.New("connmgr: connection is gone")

	// ErrAuthenticated is returned by Authenticate when the connection
	// belongs to another user already.
	ErrAuthenticated = errors.New("connmgr: connection has another user")
)

// Limit names a limit that refused a connection.
type Limit uint8

// The limits, in the order in which Admit looks at them.
const (
	LimitDraining        Limit = iota // the Manager admits nobody any more
	LimitMemory                       // Options.Account had no memory left
	LimitPerKey                       // Options.MaxPerKey
	LimitPerAddr                      // Options.MaxPerAddr
	LimitUnauthenticated              // Options.MaxUnauthenticated
	LimitPerUser                      // Options.MaxPerUser, with policy Refuse
	LimitClosing                      // Options.MaxClosing: too many evicted ones are still closing
	LimitConns                        // Options.MaxConns
	LimitRate                         // Options.Rate
	LimitRatePerAddr                  // Options.RatePerAddr
	LimitShared                       // a limit across servers, or their store when it is required
	numLimits
)

var limitNames = [numLimits]string{
	"draining", "memory", "per-key", "per-addr", "unauthenticated", "per-user",
	"closing", "conns", "rate", "rate-per-addr", "shared",
}

// String returns the limit's name, such as "per-user".
func (l Limit) String() string {
	if l < numLimits {
		return limitNames[l]
	}
	return fmt.Sprintf("Limit(%d)", uint8(l))
}

// A LimitError says which limit refused a connection.
type LimitError struct {
	What Limit
	// Max is the limit's value: connections, or a burst. 0 if it has none.
	Max int
	// RetryAfter is when to come back. It is jittered, so that those who are
	// refused together do not return together.
	RetryAfter time.Duration
	// Err is ErrDraining or what the Account or Shared returned, or nil.
	Err error
}

// Error returns the limit and its value.
func (e *LimitError) Error() string {
	switch {
	case e.What == LimitDraining:
		return "connmgr: refused: draining"
	case e.Err != nil:
		return fmt.Sprintf("connmgr: refused: %v: %v", e.What, e.Err)
	case e.Max == 0:
		return fmt.Sprintf("connmgr: refused: %v", e.What)
	}
	return fmt.Sprintf("connmgr: refused: %v limit of %d", e.What, e.Max)
}

// Unwrap returns e.Err.
func (e *LimitError) Unwrap() error { return e.Err }
