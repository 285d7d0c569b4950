package redisbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/redisbus"
	"github.com/redis/go-redis/v9"
)

// Hubs of several processes become one. (No output: it needs a Redis.)
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	bus, err := redisbus.New(rdb, redisbus.Options{
		MaxMessages: 1000, MaxMessageBytes: 64 << 10, MaxPending: 10_000, MaxPendingBytes: 16 << 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	o := signaling.Options{Bus: bus} // and the rest
	_ = o
}

// A topic is followed from a position: what came since is read from its
// stream. (No output: it needs a Redis.)
func ExampleBus_Subscribe() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer rdb.Close()
	bus, err := redisbus.New(rdb, redisbus.Options{
		MaxMessages: 1000, MaxMessageBytes: 64 << 10, MaxPending: 10_000, MaxPendingBytes: 16 << 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	at, err := bus.Publish(context.Background(), "room/1", []byte("hello"))
	if errors.Is(err, redisbus.ErrFull) {
		log.Fatal("Redis is away, and too much waits for it")
	}
	sub, err := bus.Subscribe(context.Background(), "room/1", at, func(e signaling.Event) {
		if e.Gap {
			fmt.Println("messages up to", e.Position, "are not there any more")
			return
		}
		fmt.Printf("%s\n", e.Data)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
}
