package redisledger_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/connmgr/redisledger"
	"github.com/redis/go-redis/v9"
)

// Two servers share the limit of two sockets a user: the oldest goes, wherever
// it is. (No output: it needs a Redis.)
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	ledger, err := redisledger.New(rdb, redisledger.Options{Prefix: "myapp:conns"})
	if err != nil {
		log.Fatal(err)
	}
	manager, err := connmgr.New(connmgr.Options{
		MaxConns: 1200, MaxPerUser: 2,
		PerUser: connmgr.EvictOldest,
		Shared:  &connmgr.SharedOptions{Ledger: ledger, Server: "server-1", MaxPerUser: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Shutdown(context.Background())
}

// A Ledger can be asked by itself, too. (No output: it needs a Redis.)
func ExampleLedger_Acquire() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	ledger, err := redisledger.New(rdb, redisledger.Options{})
	if err != nil {
		log.Fatal(err)
	}
	hold := connmgr.Hold{Server: "server-1", ID: "socket-7"}
	err = ledger.Acquire(context.Background(), hold, 15*time.Second, []connmgr.Claim{{Key: "user:ann", Max: 2}})
	if full, ok := errors.AsType[*connmgr.LedgerError](err); ok {
		fmt.Println("ann has", full.Max, "already")
	}
}
