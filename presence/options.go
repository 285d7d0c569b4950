package presence

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Account is asked for memory before it is used. A *memmgr.Account is one.
type Account interface {
	Reserve(bytes int64) error // an error at once, never waits
	Release(bytes int64)
}

// Options are the bounds and times of a Tracker. They are copied by New.
type Options struct {
	// MaxUsers bounds the users that this node knows: those here, those in
	// their grace, those of other nodes in topics that this node replicates,
	// and the remembered, who give way first. Required, > 0.
	MaxUsers int

	// MaxSockets bounds the sockets on this node. Required, > 0.
	MaxSockets int

	// MaxTopics bounds the topics that have a member or a watcher here. Required, > 0.
	MaxTopics int

	// MaxWatchers bounds the open watchers. Required, > 0.
	MaxWatchers int

	// MaxMeta bounds the metadata of one socket or one member, in bytes. Required, > 0.
	MaxMeta int

	// MaxSocketsPerUser bounds the sockets of one user. 0 means 16.
	MaxSocketsPerUser int

	// MaxTopicsPerUser bounds the topics that one user is in. They are
	// searched one by one: keep it small. 0 means 32.
	MaxTopicsPerUser int

	// MaxWindow bounds WatchOptions.Limit and ListOptions.Limit. 0 means 200.
	MaxWindow int

	// MaxExclude bounds WatchOptions.Exclude. 0 means 64.
	MaxExclude int

	// Grace is how long a user who lost the last socket uncleanly counts as
	// here. 0 means 10 s.
	Grace time.Duration

	// Tick is the least time between two diffs of a topic, and the time that
	// metadata must be still before it is told. 0 means 250 ms.
	Tick time.Duration

	// MaxDelay is how late metadata that never stands still is told. 0 means 2 s.
	MaxDelay time.Duration

	// CountEvery is the least time between two diffs of a topic that tell
	// a watcher nothing but a new count. 0 means 1 s.
	CountEvery time.Duration

	// FlapBurst is how many joins of one user are told at once, FlapEvery how
	// long it takes to earn another. A join beyond that is told when it has
	// been earned, if it is still true; a leave is never held back.
	// 0 means 16 and 2 s.
	FlapBurst int
	FlapEvery time.Duration

	// Remember is how long a user who has left is remembered for LastSeen
	// before Sweep forgets him. 0 means 1 h.
	Remember time.Duration

	// Store joins several nodes into one. Nil means this node is alone.
	Store Store

	// Node names this node in the Store: one name per place that a process
	// runs in. Required with a Store.
	Node string

	// Lease is how long the Store keeps this node's entries alive without a
	// renewal, which is tried three times in that time. 0 means 6 s.
	Lease time.Duration

	// Account, if set, is asked for memory before anything is kept.
	Account Account

	// Logger gets lifecycle and faults. Nil means silent.
	Logger *slog.Logger

	clock func() time.Duration // tests: a clock that is wrong
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	positive := func(name string, v int) {
		if v <= 0 {
			errs = append(errs, fmt.Errorf("presence: Options.%s = %d, want > 0", name, v))
		}
	}
	number := func(name string, v *int, def int) {
		if *v == 0 {
			*v = def
		}
		positive(name, *v)
	}
	duration := func(name string, v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("presence: Options.%s = %v, want >= 0", name, *v))
		}
	}
	positive("MaxUsers", o.MaxUsers)
	positive("MaxSockets", o.MaxSockets)
	positive("MaxTopics", o.MaxTopics)
	positive("MaxWatchers", o.MaxWatchers)
	positive("MaxMeta", o.MaxMeta)
	number("MaxSocketsPerUser", &o.MaxSocketsPerUser, 16)
	number("MaxTopicsPerUser", &o.MaxTopicsPerUser, 32)
	number("MaxWindow", &o.MaxWindow, 200)
	number("MaxExclude", &o.MaxExclude, 64)
	number("FlapBurst", &o.FlapBurst, 16)
	duration("Grace", &o.Grace, 10*time.Second)
	duration("Tick", &o.Tick, 250*time.Millisecond)
	duration("MaxDelay", &o.MaxDelay, max(2*time.Second, o.Tick))
	duration("CountEvery", &o.CountEvery, max(time.Second, o.Tick))
	duration("FlapEvery", &o.FlapEvery, 2*time.Second)
	duration("Remember", &o.Remember, time.Hour)
	duration("Lease", &o.Lease, 6*time.Second)
	if o.MaxMeta >= maxBytes {
		errs = append(errs, fmt.Errorf("presence: Options.MaxMeta = %d, want < %d", o.MaxMeta, maxBytes))
	}
	if o.MaxDelay < o.Tick {
		errs = append(errs, fmt.Errorf("presence: Options.MaxDelay = %v, want >= Tick = %v", o.MaxDelay, o.Tick))
	}
	if o.Store != nil && o.Node == "" {
		errs = append(errs, errors.New(`presence: Options.Node = "", want a name with a Store`))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}
