package memmgr

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrOverload is what every refusal wraps: errors.Is(err, ErrOverload)
	// holds for each error of Account.Reserve and Manager.Admit.
	ErrOverload = errors.New("memmgr: overloaded")

	// ErrNoLimit is returned when no cgroup of the process, nor any of their
	// ancestors, limits its memory.
	ErrNoLimit = errors.New("memmgr: no memory limit")

	// ErrRunning is returned by Run when the Manager already runs.
	ErrRunning = errors.New("memmgr: already running")

	// ErrStuck is what the error of Run wraps when the level stayed critical
	// for Options.GiveUpAfter and nothing that was registered could lower it.
	ErrStuck = errors.New("memmgr: stuck at critical")
)

// Reason says why something was refused.
type Reason int

// The reasons of a refusal.
const (
	ReasonBudget   Reason = iota // the shared rest of the budget is used up
	ReasonMax                    // the account's own maximum
	ReasonPressure               // the level: the account is frozen at its minimum, or Admit said no
	ReasonInvalid                // a negative or absurd number of bytes

	reasons = 4
)

// String returns the reason in one word.
func (r Reason) String() string {
	switch r {
	case ReasonBudget:
		return "budget"
	case ReasonMax:
		return "max"
	case ReasonPressure:
		return "pressure"
	case ReasonInvalid:
		return "invalid"
	}
	return fmt.Sprintf("reason(%d)", int(r))
}

// LimitError is the error of a refusal. The same value is returned for every
// refusal of its kind, so that refusing costs no memory: do not change it.
type LimitError struct {
	// What was refused: an account's name, or "admission".
	What string
	// Reason is why.
	Reason Reason
	// Max is the bound that was met, in bytes; 0 for admission.
	Max int64
	// RetryAfter is when it makes sense to ask again. Add jitter before it is
	// told to many clients at once.
	RetryAfter time.Duration
}

// Error describes the refusal in one line.
func (e *LimitError) Error() string {
	if e.Max > 0 && e.Reason != ReasonPressure {
		return fmt.Sprintf("memmgr: %s refused: %s of %d bytes", e.What, e.Reason, e.Max)
	}
	return fmt.Sprintf("memmgr: %s refused: %s", e.What, e.Reason)
}

// Is reports whether target is ErrOverload.
func (e *LimitError) Is(target error) bool { return target == ErrOverload }
