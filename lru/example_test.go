package lru_test

import (
	"context"
	"fmt"
	"time"

	"github.com/plimsoll-go/plimsoll/lru"
)

func Example() {
	cache, err := lru.New(lru.Options[string, int]{MaxEntries: 1000, TTL: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache.Set("apples", 3)
	n, ok := cache.Get("apples")
	fmt.Println(n, ok)
	_, ok = cache.Get("pears")
	fmt.Println(ok)
	// Output:
	// 3 true
	// false
}

// Cache-aside in front of a store: callers that ask at once share one load,
// and a key that does not exist is remembered too.
func ExampleCache_GetOrLoad() {
	users, err := lru.New(lru.Options[int, string]{
		MaxEntries:  1000,
		TTL:         time.Minute,
		NegativeTTL: time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	query := func(_ context.Context, id int) (string, error) {
		fmt.Println("query", id)
		if id == 7 {
			return "Ada", nil
		}
		return "", lru.ErrNotFound
	}
	for _, id := range []int{7, 7, 8, 8} {
		name, err := users.GetOrLoad(context.Background(), id, query)
		fmt.Printf("%q %v\n", name, err)
	}
	// Output:
	// query 7
	// "Ada" <nil>
	// "Ada" <nil>
	// query 8
	// "" lru: not found
	// "" lru: not found
}

// One query for all keys that are missing.
func ExampleCache_GetOrLoadMany() {
	cache, err := lru.New(lru.Options[int, string]{MaxEntries: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache.Set(1, "one")
	names, err := cache.GetOrLoadMany(context.Background(), []int{1, 2, 3},
		func(_ context.Context, missing []int) (map[int]string, error) {
			fmt.Println("query", missing)
			return map[int]string{2: "two"}, nil
		})
	fmt.Println(names, err)
	// Output:
	// query [2 3]
	// map[1:one 2:two] <nil>
}

func ExampleCache_Compute() {
	cache, err := lru.New(lru.Options[string, int]{MaxEntries: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	add := func(old int, ok bool) (int, lru.Op) { return old + 1, lru.OpSet }
	cache.Compute("visits", add)
	n, _ := cache.Compute("visits", add)
	fmt.Println(n)
	// Output: 2
}

// A bound in bytes, and a callback for what has to go.
func ExampleOptions_bytes() {
	cache, err := lru.New(lru.Options[string, []byte]{
		MaxEntries: 1000,
		MaxBytes:   10,
		Size:       func(_ string, v []byte) int64 { return int64(len(v)) },
		OnEvict:    func(k string, _ []byte, why lru.Reason) { fmt.Println(k, "left:", why) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache.Set("a", make([]byte, 6))
	cache.Set("b", make([]byte, 6))
	fmt.Println(cache.Set("too large", make([]byte, 11)), cache.Bytes())
	// Output:
	// a left: bytes
	// false 6
}

// Trim gives memory back, for instance when the process nears its limit.
func ExampleCache_Trim() {
	cache, err := lru.New(lru.Options[int, int]{MaxEntries: 1000, Policy: lru.Strict})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 1000 {
		cache.Set(i, i)
	}
	fmt.Println(cache.Trim(0.25) > 0, cache.Len())
	// Output: true 750
}
