package redisledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/internal/redislink"
	"github.com/redis/go-redis/v9"
)

//go:embed acquire.lua
var acquireLua string

// The others touch only holds that are there, and so need no purge first.
var (
	acquire = redis.NewScript(acquireLua)
	renew   = redis.NewScript(`
local t = redis.call('TIME')
local ends = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1] .. 'x', 'XX', ends, ARGV[i]) end`)
	release = redis.NewScript(`
local p = KEYS[1]
for i = 1, #ARGV do
  local claims, at = redis.call('HGET', p .. 'h', ARGV[i]), 1
  while claims and at <= #claims do
    local n = struct.unpack('>I4', claims, at)
    redis.call('ZREM', p .. 'c' .. string.sub(claims, at + 4, at + 3 + n), ARGV[i])
    at = at + 4 + n
  end
  redis.call('HDEL', p .. 'h', ARGV[i])
  redis.call('ZREM', p .. 'x', ARGV[i])
end`)
)

const (
	maxInbox = 4096 // evictions kept for a server
	page     = 100  // of them read at once, and holds in one call
	poll     = 2 * time.Second
)

// Options say where a Ledger keeps its keys.
type Options struct {
	// Prefix begins the names of all keys; ledgers with the same one are the
	// same. It must hold no braces. Default "plimsoll:ledger".
	Prefix string
}

// Ledger is a [connmgr.Ledger] in Redis. Its methods may be called
// concurrently; it owns no goroutine.
type Ledger struct {
	client redis.UniversalClient
	base   string
}

var _ connmgr.Ledger = (*Ledger)(nil)

// New returns a Ledger on client, which stays the caller's to close. Its error
// names every fault of the options. Redis is not asked yet.
func New(client redis.UniversalClient, o Options) (*Ledger, error) {
	if o.Prefix == "" {
		o.Prefix = "plimsoll:ledger"
	}
	_, err := redislink.Check("redisledger", client)
	if strings.ContainsAny(o.Prefix, "{}") {
		err = errors.Join(err, fmt.Errorf("redisledger: Options.Prefix = %q, want no braces", o.Prefix))
	}
	if err != nil {
		return nil, err
	}
	return &Ledger{client: client, base: "{" + o.Prefix + "}"}, nil
}

// name joins a hold's parts so that none can be taken for another.
func name(server, id string) string {
	return strconv.Itoa(len(server)) + ":" + server + id
}

// Acquire implements [connmgr.Ledger].
func (l *Ledger) Acquire(ctx context.Context, hold connmgr.Hold, lease time.Duration, claims []connmgr.Claim) error {
	args := []any{name(hold.Server, hold.ID), lease.Milliseconds(), maxInbox}
	for _, c := range claims {
		args = append(args, c.Key, c.Max, c.Evict)
	}
	full, err := acquire.Run(ctx, l.client, []string{l.base}, args...).Int()
	if err != nil {
		return fmt.Errorf("redisledger: acquire: %w", err)
	}
	if full > 0 {
		return &connmgr.LedgerError{Key: claims[full-1].Key, Max: claims[full-1].Max}
	}
	return nil
}

// Renew implements [connmgr.Ledger].
func (l *Ledger) Renew(ctx context.Context, server string, lease time.Duration, ids []string) error {
	return l.each(ctx, "renew", renew, []any{lease.Milliseconds()}, server, ids)
}

// Release implements [connmgr.Ledger].
func (l *Ledger) Release(ctx context.Context, server string, ids []string) error {
	return l.each(ctx, "release", release, nil, server, ids)
}

// each runs a script on a page of holds at a time, so that none is long.
func (l *Ledger) each(ctx context.Context, what string, script *redis.Script, args []any, server string, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), page)
		call := args[:len(args):len(args)]
		for _, id := range ids[:n] {
			call = append(call, name(server, id))
		}
		if err := script.Run(ctx, l.client, []string{l.base}, call...).Err(); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("redisledger: %s: %w", what, err)
		}
		ids = ids[n:]
	}
	return ctx.Err()
}

// Evictions implements [connmgr.Ledger]. It is woken by a message, and looks
// by itself every two seconds, should that be lost. An eviction is forgotten
// only after evicted has returned.
func (l *Ledger) Evictions(ctx context.Context, server string, evicted func(id string)) error {
	err := l.evictions(ctx, l.base+"e"+server, evicted)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("redisledger: evictions: %w", err)
}

func (l *Ledger) evictions(ctx context.Context, inbox string, evicted func(id string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the connection
	wake, err := redislink.Listen(ctx, l.client, poll, inbox)
	if err != nil {
		return err
	}
	for {
		call, done := context.WithTimeout(ctx, poll)
		ids, err := l.client.LRange(call, inbox, 0, page-1).Result()
		if err == nil && len(ids) > 0 {
			for _, id := range ids {
				evicted(id)
			}
			err = l.client.LTrim(call, inbox, int64(len(ids)), -1).Err()
		}
		done()
		if err != nil {
			return err
		}
		if len(ids) == page {
			continue
		}
		if _, err = wake.ReceiveTimeout(ctx, poll); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
				return err
			}
		}
	}
}
