package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/connmgr/redisledger"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/bus"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/redisstore"
)

// shared is what several processes have in common, through Redis: the bus, who
// is here, and how many sockets a user has. Without -redis it is one process.
type shared struct {
	cfg    config
	node   string
	client redis.UniversalClient // nil: one process
	bus    dating.Bus
	ledger connmgr.Ledger
	store  *redisstore.Store
}

// busQueue is the part of the budget that may wait for one other server.
const busQueue = 5 // percent

func openShared(ctx context.Context, p plan, log *slog.Logger) (_ *shared, err error) {
	s := &shared{cfg: p.cfg}
	if p.cfg.redis == "" {
		s.bus = bus.NewMemory()
		return s, nil
	}
	s.node = "n" + strings.ToLower(rand.Text()[:10]) // nobody has to give names
	if s.client, err = bus.Connect(ctx, p.cfg.redis); err != nil {
		return nil, err
	}
	s.bus, err = bus.OpenRedis(ctx, bus.RedisOptions{Client: s.client, MaxQueueBytes: int(min(p.share(busQueue), 32<<20)), Logger: log})
	if err == nil {
		s.ledger, err = redisledger.New(s.client, redisledger.Options{})
	}
	if err == nil {
		s.store, err = redisstore.New(s.client, redisstore.Options{Logger: log})
	}
	if err != nil {
		s.client.Close()
		return nil, err
	}
	return s, nil
}

// Bus connects the rules of the processes.
func (s *shared) Bus() dating.Bus { return s.bus }

// Node is the name of this process, empty if it is alone.
func (s *shared) Node() string { return s.node }

// presence makes all processes know who is in the queue.
func (s *shared) presence(o presence.Options) presence.Options {
	if s.client == nil {
		return o
	}
	o.Node = s.node
	o.Store = s.store
	o.MaxUsers = 1 << 20 // of all processes; the account bounds them first
	return o
}

// connections counts a user's sockets over all processes.
func (s *shared) connections(o connmgr.Options) connmgr.Options {
	if s.client == nil || o.MaxPerUser == 0 {
		return o
	}
	o.Shared = &connmgr.SharedOptions{Ledger: s.ledger, Server: s.node, MaxPerUser: o.MaxPerUser, Lease: 45 * time.Second}
	return o
}

// Close ends the connections to Redis.
func (s *shared) Close() error {
	if s.client == nil {
		return nil
	}
	s.store.Close()
	return s.client.Close()
}
