package main

import (
	"slices"
	"strings"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/dgraph-io/ristretto/v2"
	golanglru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/plimsoll-go/plimsoll/lru"
)

// record is the value that all caches hold a pointer to.
type record struct{ _, _ uint64 }

type key interface {
	~string | ~int
	theineKey
}

type theineKey interface{ comparable }

// cache is what the comparison needs of each of them.
type cache[K key] struct {
	get   func(K) (*record, bool)
	set   func(K, *record)
	drain func() // finishes what the cache does in the background
	close func()
}

type candidate[K key] struct {
	name string
	make func(capacity int) cache[K]
}

const ttl = time.Hour

func nothing() {}

// candidates lists them all, with statistics and a time to live where they
// have such; "otter plain" is the only one with neither.
func candidates[K key]() []candidate[K] {
	all := []candidate[K]{
		{"plimsoll", func(n int) cache[K] { return ours[K](n, lru.Adaptive) }},
		{"plimsoll strict", func(n int) cache[K] { return ours[K](n, lru.Strict) }},
		{"otter plain", func(n int) cache[K] {
			return otterOf(&otter.Options[K, *record]{MaximumSize: n})
		}},
		{"otter", func(n int) cache[K] {
			return otterOf(&otter.Options[K, *record]{
				MaximumSize: n, StatsRecorder: stats.NewCounter(),
				ExpiryCalculator: otter.ExpiryWriting[K, *record](ttl),
			})
		}},
		{"otter coarse", func(n int) cache[K] {
			return otterOf(&otter.Options[K, *record]{
				MaximumSize: n, StatsRecorder: stats.NewCounter(),
				ExpiryCalculator: otter.ExpiryWriting[K, *record](ttl),
				Clock:            otter.NewCoarseClock(16 * time.Millisecond),
			})
		}},
		{"theine", func(n int) cache[K] {
			c, err := theine.NewBuilder[K, *record](int64(n)).Build()
			check(err)
			return cache[K]{c.Get, func(k K, v *record) { c.SetWithTTL(k, v, 1, ttl) }, c.Wait, c.Close}
		}},
		{"ristretto", newRistretto[K]},
		{"golang-lru", func(n int) cache[K] {
			c, err := golanglru.New[K, *record](n)
			check(err)
			return cache[K]{c.Get, func(k K, v *record) { c.Add(k, v) }, nothing, nothing}
		}},
		{"expirable", func(n int) cache[K] {
			c := expirable.NewLRU[K, *record](n, nil, ttl)
			return cache[K]{c.Get, func(k K, v *record) { c.Add(k, v) }, nothing, nothing}
		}},
		{"ttlcache", func(n int) cache[K] {
			c := ttlcache.New(ttlcache.WithCapacity[K, *record](uint64(n)), ttlcache.WithTTL[K, *record](ttl),
				ttlcache.WithDisableTouchOnHit[K, *record]())
			get := func(k K) (*record, bool) {
				item := c.Get(k)
				if item == nil {
					return nil, false
				}
				return item.Value(), true
			}
			return cache[K]{get, func(k K, v *record) { c.Set(k, v, ttlcache.DefaultTTL) }, nothing, nothing}
		}},
	}
	if *peers != "" {
		all = slices.DeleteFunc(all, func(c candidate[K]) bool {
			return !slices.Contains(strings.Split(*peers, ","), c.name)
		})
	}
	return all
}

func ours[K key](n int, p lru.Policy) cache[K] {
	c, err := lru.New(lru.Options[K, *record]{MaxEntries: n, TTL: ttl, Policy: p})
	check(err)
	return cache[K]{c.Get, func(k K, v *record) { c.Set(k, v) }, nothing, c.Close}
}

func otterOf[K key](o *otter.Options[K, *record]) cache[K] {
	c := otter.Must(o)
	return cache[K]{c.GetIfPresent, func(k K, v *record) { c.Set(k, v) }, c.CleanUp, func() { c.StopAllGoroutines() }}
}

// newRistretto is written for both kinds of keys: its Key constraint does not
// admit a union of ours.
func newRistretto[K key](n int) cache[K] {
	var zero K
	switch any(zero).(type) {
	case string:
		return any(ristrettoOf[string](n)).(cache[K])
	default:
		return any(ristrettoOf[int](n)).(cache[K])
	}
}

func ristrettoOf[K interface {
	key
	ristretto.Key
}](n int) cache[K] {
	c, err := ristretto.NewCache(&ristretto.Config[K, *record]{
		NumCounters: 10 * int64(n), MaxCost: int64(n), BufferItems: 64, Metrics: true, IgnoreInternalCost: true,
	})
	check(err)
	return cache[K]{c.Get, func(k K, v *record) { c.SetWithTTL(k, v, 1, ttl) }, c.Wait, c.Close}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
