package redisbus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

var (
	// ErrFull is returned by Publish when as many messages wait for Redis as may.
	ErrFull = errors.New("redisbus: too many messages wait for Redis")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("redisbus: closed")
)

// Options configure a Bus. All servers must use the same Prefix, Partitions
// and Retain.
type Options struct {
	// Prefix begins the names of all keys and channels. It must hold no
	// braces. Default "plimsoll:bus".
	Prefix string
	// Partitions spreads the topics over a Cluster. Default 64; without a
	// Cluster it is 1.
	Partitions int

	// MaxMessages is how many messages of a topic are kept. Required, > 0.
	MaxMessages int
	// MaxMessageBytes bounds one message; a larger one is refused. Required, > 0.
	MaxMessageBytes int
	// MaxPending bounds the messages that wait for Redis. Required, > 0.
	MaxPending int
	// MaxPendingBytes bounds their bytes. Required, >= MaxMessageBytes.
	MaxPendingBytes int

	// Retain is how long a topic is kept after its last message when nobody
	// is subscribed; three quarters of it are certain. A server that is cut off
	// for longer may find a gap. Default 2 min, at least 1 s.
	Retain time.Duration
	// Probe is how often a connection is tested. Default 1 s.
	Probe time.Duration
	// Logger hears of lost connections and gaps. Nil is silent.
	Logger *slog.Logger
}

func (o Options) withDefaults(cluster bool) (Options, error) {
	if o.Prefix == "" {
		o.Prefix = "plimsoll:bus"
	}
	if o.Partitions == 0 {
		o.Partitions = 64
	}
	if o.Retain == 0 {
		o.Retain = 2 * time.Minute
	}
	if o.Probe == 0 {
		o.Probe = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if strings.ContainsAny(o.Prefix, "{}") {
		errs = append(errs, fmt.Errorf("redisbus: Options.Prefix = %q, want no braces", o.Prefix))
	}
	for _, f := range []struct {
		name         string
		value, least int
	}{
		{"MaxMessages", o.MaxMessages, 1}, {"MaxMessageBytes", o.MaxMessageBytes, 1},
		{"MaxPending", o.MaxPending, 1}, {"MaxPendingBytes", o.MaxPendingBytes, max(1, o.MaxMessageBytes)},
	} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("redisbus: Options.%s = %d, want >= %d", f.name, f.value, f.least))
		}
	}
	if o.Partitions < 1 || o.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("redisbus: Options.Partitions = %d, want 1 to 1024", o.Partitions))
	}
	if o.Retain < time.Second {
		errs = append(errs, fmt.Errorf("redisbus: Options.Retain = %v, want >= 1s", o.Retain))
	}
	if o.Probe < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("redisbus: Options.Probe = %v, want >= 10ms", o.Probe))
	}
	if !cluster {
		o.Partitions = 1
	}
	return o, errors.Join(errs...)
}

// Stats counts what a Bus did since New.
type Stats struct {
	Pending      int // messages that wait for Redis
	PendingBytes int // and their bytes
	Topics       int // subscribed

	Published  uint64 // messages that Redis took
	Calls      uint64 // of Redis for that, those sent again included
	Refused    uint64 // messages for which there was no room
	Delivered  uint64 // messages given to subscribers
	Doubled    uint64 // messages heard again, and not given
	Repairs    uint64 // subscriptions compared with their stream
	Repaired   uint64 // messages that came from it
	Gaps       uint64 // told to subscribers
	Lost       uint64 // connections
	Starved    uint64 // of these, open and silent
	ReadErrors uint64 // reads of streams that failed, and were tried again
}
