// Package signalingtest has the conformance suite for implementations of
// signaling.Bus.
//
//	func TestBus(t *testing.T) {
//		signalingtest.TestBus(t, func(t *testing.T) signaling.Bus { return open(t) })
//	}
package signalingtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling"
)

// recorder collects events.
type recorder struct {
	mu     sync.Mutex
	events []signaling.Event
	busy   bool
	t      *testing.T
}

func (r *recorder) deliver(e signaling.Event) {
	r.mu.Lock()
	if r.busy {
		r.t.Error("deliver is called by two goroutines at once")
	}
	r.busy = true
	r.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy = false
	r.events = append(r.events, e)
}

func (r *recorder) all() []signaling.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]signaling.Event(nil), r.events...)
}

// wait waits for n events.
func (r *recorder) wait(n int) []signaling.Event {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if e := r.all(); len(e) >= n {
			return e
		} else if time.Now().After(end) {
			r.t.Fatalf("%d events after 20 s, want %d", len(e), n)
		}
	}
}

// TestBus runs the suite on buses that open makes; each is used by one test.
// The log of a topic must hold at least 100 messages of 100 bytes and at most
// 100,000.
func TestBus(t *testing.T, open func(t *testing.T) signaling.Bus) {
	ctx := context.Background()
	publish := func(t *testing.T, b signaling.Bus, topic, data string) signaling.Position {
		t.Helper()
		p, err := b.Publish(ctx, topic, []byte(data))
		if err != nil {
			t.Fatalf("Publish: %v", err)
		}
		return p
	}
	subscribe := func(t *testing.T, b signaling.Bus, topic string, after signaling.Position) (*recorder, signaling.Subscription) {
		t.Helper()
		r := &recorder{t: t}
		s, err := b.Subscribe(ctx, topic, after, r.deliver)
		if err != nil {
			t.Fatalf("Subscribe: %v", err)
		}
		return r, s
	}
	expect := func(t *testing.T, events []signaling.Event, from, to int) {
		t.Helper()
		if len(events) != to-from {
			t.Fatalf("%d events, want %d", len(events), to-from)
		}
		for i, e := range events {
			if want := fmt.Sprint(from + i); e.Gap || string(e.Data) != want {
				t.Fatalf("event %d is %q (gap %v), want %q", i, e.Data, e.Gap, want)
			}
		}
	}

	t.Run("a subscription is in effect when Subscribe returns", func(t *testing.T) {
		b := open(t)
		publish(t, b, "t", "before")
		r, s := subscribe(t, b, "t", signaling.Position{})
		defer s.Close()
		for i := range 100 {
			publish(t, b, "t", fmt.Sprint(i))
		}
		expect(t, r.wait(100), 0, 100)
	})
	t.Run("positions count within an epoch", func(t *testing.T) {
		b := open(t)
		r, s := subscribe(t, b, "t", signaling.Position{})
		defer s.Close()
		first := publish(t, b, "t", "0")
		for i := 1; i < 50; i++ {
			p := publish(t, b, "t", fmt.Sprint(i))
			if p.Epoch != first.Epoch || p.Offset != first.Offset+uint64(i) {
				t.Fatalf("message %d is at %+v, the first was at %+v", i, p, first)
			}
		}
		for i, e := range r.wait(50) {
			if e.Position.Offset != first.Offset+uint64(i) || e.Position.Epoch != first.Epoch {
				t.Fatalf("event %d has position %+v, the first was at %+v", i, e.Position, first)
			}
		}
		if p := s.Position(); p.Offset != first.Offset+49 {
			t.Fatalf("the subscription is at %+v", p)
		}
	})
	t.Run("resumes after a position", func(t *testing.T) {
		b := open(t)
		var at signaling.Position
		for i := range 80 {
			if p := publish(t, b, "t", fmt.Sprint(i)); i == 29 {
				at = p
			}
		}
		r, s := subscribe(t, b, "t", at)
		defer s.Close()
		for i := 80; i < 100; i++ {
			publish(t, b, "t", fmt.Sprint(i))
		}
		expect(t, r.wait(70), 30, 100)
	})
	t.Run("another epoch is a gap", func(t *testing.T) {
		b := open(t)
		p := publish(t, b, "t", "x")
		r, s := subscribe(t, b, "t", signaling.Position{Epoch: "another", Offset: p.Offset})
		defer s.Close()
		if e := r.wait(1)[0]; !e.Gap || e.Position != p {
			t.Fatalf("first event is %+v, want a gap up to %+v", e, p)
		}
		publish(t, b, "t", "0")
		expect(t, r.wait(2)[1:], 0, 1)
	})
	t.Run("what was trimmed is a gap", func(t *testing.T) {
		b := open(t)
		first := publish(t, b, "t", "first")
		const publishers = 50 // a bus may send together what is published together
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				for range 110_000 / publishers {
					if _, err := b.Publish(ctx, "t", []byte("x")); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		last := publish(t, b, "t", "last")
		r, s := subscribe(t, b, "t", first)
		defer s.Close()
		e := r.wait(1)[0]
		if !e.Gap || e.Position.Offset <= first.Offset || e.Position.Offset > last.Offset {
			t.Fatalf("first event is %+v, want a gap", e)
		}
		events := r.wait(int(last.Offset-e.Position.Offset) + 1)
		for i, f := range events[1:] {
			if f.Gap || f.Position.Offset != e.Position.Offset+uint64(i)+1 {
				t.Fatalf("after the gap event %d is %+v", i, f)
			}
		}
	})
	t.Run("topics are apart", func(t *testing.T) {
		b := open(t)
		r, s := subscribe(t, b, "a", signaling.Position{})
		defer s.Close()
		publish(t, b, "b", "x")
		publish(t, b, "a", "0")
		expect(t, r.wait(1), 0, 1)
	})
	t.Run("every subscriber hears all", func(t *testing.T) {
		b := open(t)
		r1, s1 := subscribe(t, b, "t", signaling.Position{})
		r2, s2 := subscribe(t, b, "t", signaling.Position{})
		defer s2.Close()
		publish(t, b, "t", "0")
		r1.wait(1)
		s1.Close()
		publish(t, b, "t", "1")
		expect(t, r2.wait(2), 0, 2)
		expect(t, r1.all(), 0, 1)
	})
	t.Run("Close within deliver", func(t *testing.T) {
		b := open(t)
		var s signaling.Subscription
		ready, closed := make(chan struct{}), make(chan struct{})
		n := 0
		s, err := b.Subscribe(ctx, "t", signaling.Position{}, func(signaling.Event) {
			<-ready
			if n++; n == 1 {
				s.Close()
				close(closed)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		close(ready)
		publish(t, b, "t", "0")
		publish(t, b, "t", "1")
		<-closed
		time.Sleep(10 * time.Millisecond)
		if n != 1 {
			t.Fatalf("%d events after Close", n-1)
		}
	})
	t.Run("many publishers", func(t *testing.T) {
		b := open(t)
		r, s := subscribe(t, b, "t", signaling.Position{})
		defer s.Close()
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 20 {
					if _, err := b.Publish(ctx, "t", fmt.Appendf(nil, "%d %d", w, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var next [4]int
		for i, e := range r.wait(80) {
			var w, n int
			fmt.Sscan(string(e.Data), &w, &n)
			if n != next[w] || i > 0 && e.Position.Offset != r.all()[i-1].Position.Offset+1 {
				t.Fatalf("event %d is %q at %+v", i, e.Data, e.Position)
			}
			next[w]++
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		b := open(t)
		done, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := b.Publish(done, "t", nil); err == nil {
			t.Error("Publish returned no error")
		}
		if _, err := b.Subscribe(done, "t", signaling.Position{}, func(signaling.Event) {}); err == nil {
			t.Error("Subscribe returned no error")
		}
	})
}
