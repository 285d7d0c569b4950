package redisstore_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/presence/redisstore"
	"github.com/redis/go-redis/v9"
)

// Trackers of several processes see each other's users. (No output: it needs a
// Redis.)
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	store, err := redisstore.New(rdb, redisstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	tracker, err := presence.New(presence.Options{
		MaxUsers: 1000, MaxSockets: 2000, MaxTopics: 100, MaxWatchers: 1000, MaxMeta: 1024,
		Store: store, Node: "server-1",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Shutdown(context.Background())
}

// A Store can be asked by itself, too. (No output: it needs a Redis.)
func ExampleStore_Open() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	store, err := redisstore.New(rdb, redisstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	session, err := store.Open(ctx, "admin", 10*time.Second, func(presence.Event) {})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	all, err := session.Read(ctx, "queue", presence.Position{})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range all.Events {
		fmt.Println(e.User, "by", e.Incarnation)
	}
}
