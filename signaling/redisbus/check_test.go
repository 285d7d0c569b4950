package redisbus_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/redisbus"
	"github.com/stretchr/testify/require"
)

// checker numbers the messages of some topics and sees what arrives.
type checker struct {
	t       *testing.T
	topics  []*checked
	stop    context.CancelFunc
	wg      sync.WaitGroup
	arrived atomic.Int64
}

type checked struct {
	name string
	sent []int // numbers that Redis took, or may have
	sure map[int]bool

	mu     sync.Mutex
	events []signaling.Event
}

// check publishes numbered messages by one bus, every pause in each topic, and
// hears them by another, until verdict.
func check(t *testing.T, from, to *redisbus.Bus, topics int, pause time.Duration) *checker {
	t.Helper()
	c := &checker{t: t}
	run, stop := context.WithCancel(ctx)
	c.stop = stop
	for i := range topics {
		k := &checked{name: fmt.Sprint("topic", i), sure: map[int]bool{}}
		c.topics = append(c.topics, k)
		_, err := to.Subscribe(ctx, k.name, signaling.Position{}, func(e signaling.Event) {
			k.mu.Lock()
			k.events = append(k.events, e)
			k.mu.Unlock()
			c.arrived.Add(1)
		})
		require.NoError(t, err)
	}
	for _, k := range c.topics {
		c.wg.Go(func() {
			for n := 1; run.Err() == nil; n++ {
				call, done := context.WithTimeout(ctx, 20*time.Second)
				_, err := from.Publish(call, k.name, []byte(strconv.Itoa(n)))
				done()
				k.sent = append(k.sent, n)
				k.sure[n] = err == nil
				time.Sleep(pause)
			}
		})
	}
	return c
}

type verdict struct{ sent, delivered, gaps, silent, doubled, unordered int }

// verdict ends the stream and judges what arrived: every number that Redis
// took arrives once and in order, or a gap stands where it would be.
func (c *checker) verdict() (v verdict) {
	c.t.Helper()
	c.stop()
	c.wg.Wait()
	for _, k := range c.topics {
		last := k.sent[len(k.sent)-1]
		require.Eventually(c.t, func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.events) > 0 && string(k.events[len(k.events)-1].Data) == strconv.Itoa(last)
		}, 20*time.Second, 5*time.Millisecond, "the last message, %d of %s, has not come", last, k.name)
		k.mu.Lock()
		next, seen, gap := 1, map[int]bool{}, false
		for _, e := range k.events {
			if e.Gap {
				v.gaps++
				gap = true
				continue
			}
			n, err := strconv.Atoi(string(e.Data))
			require.NoError(c.t, err)
			v.delivered++
			switch {
			case seen[n] && !gap:
				v.doubled++
			case n < next && !gap:
				v.unordered++
			}
			for ; next < n; next++ {
				if k.sure[next] && !gap {
					v.silent++
				}
			}
			next, gap, seen[n] = max(next, n+1), false, true
		}
		k.mu.Unlock()
		v.sent += len(k.sent)
	}
	return v
}

// back returns how long after now the next message arrives.
func (c *checker) back() time.Duration {
	start, n := time.Now(), c.arrived.Load()
	for c.arrived.Load() == n && time.Since(start) < 20*time.Second {
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}
