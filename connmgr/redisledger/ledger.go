package redisledger

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/internal/redislink"
	"github.com/redis/go-redis/v9"
)

var (
	//go:embed holds.lua
	holdsLua string
	//go:embed acquire.lua
	acquireLua string

	acquire = redis.NewScript(holdsLua + acquireLua)

	renew = redis.NewScript(holdsLua + `
local old, new = {}, {}
for i = 2, #ARGV do
  local h = find(ARGV[i])
  if h then
    add(old, h.member, 'x' .. h.ends .. ARGV[i])
    entry(new, ARGV[i], h.claims, now + ARGV[1])
  end
end
-- One command for all of them, after the last look.
if #old > 0 then
  redis.call('ZREM', holds, unpack(old))
  redis.call('ZADD', holds, unpack(new))
end`)

	release = redis.NewScript(holdsLua + `
for _, hold in ipairs(ARGV) do
  local h = find(hold)
  if h then remove(hold, h) end
end`)
)

const (
	maxInbox = 4096 // evictions that are kept, of all servers
	page     = 100  // holds in one call
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

// Names: all holds, the latest evictions, and what wakes a server.
func (l *Ledger) holds() string             { return l.base + "h" }
func (l *Ledger) evicted() string           { return l.base + "e" }
func (l *Ledger) wake(server string) string { return l.base + "w" + server }

// name joins a hold's parts so that none can be taken for another.
func name(server, id string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(server)))) + server + id
}

// Acquire implements [connmgr.Ledger].
func (l *Ledger) Acquire(ctx context.Context, hold connmgr.Hold, lease time.Duration, claims []connmgr.Claim) error {
	args := []any{name(hold.Server, hold.ID), lease.Milliseconds(), maxInbox, l.wake("")}
	for _, c := range claims {
		args = append(args, c.Key, c.Max, c.Evict)
	}
	full, err := acquire.Run(ctx, l.client, []string{l.holds(), l.evicted()}, args...).Int()
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
		if err := script.Run(ctx, l.client, []string{l.holds()}, call...).Err(); err != nil && !errors.Is(err, redis.Nil) {
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
	err := l.follow(ctx, server, evicted)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("redisledger: evictions: %w", err)
}

func (l *Ledger) follow(ctx context.Context, server string, evicted func(id string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes the connection
	wake, err := redislink.Listen(ctx, l.client, poll, l.wake(server))
	if err != nil {
		return err
	}
	for {
		if err := l.look(ctx, name(server, ""), evicted); err != nil {
			return err
		}
		if _, err = wake.ReceiveTimeout(ctx, poll); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
				return err
			}
		}
	}
}

// look tells a server's evictions. Few wait at a time, of all servers.
func (l *Ledger) look(ctx context.Context, server string, evicted func(id string)) error {
	ctx, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	all, err := l.client.ZRange(ctx, l.evicted(), 0, -1).Result()
	if err != nil {
		return err
	}
	var told []any
	for _, hold := range all {
		if id, ok := strings.CutPrefix(hold, server); ok {
			evicted(id)
			told = append(told, hold)
		}
	}
	if len(told) == 0 {
		return nil
	}
	return l.client.ZRem(ctx, l.evicted(), told...).Err()
}
