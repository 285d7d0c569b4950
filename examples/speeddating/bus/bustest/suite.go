// Package bustest is the suite that every dating.Bus passes.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// soon is how long a message may take.
const soon = 10 * time.Second

// Run tests the bus that connect gives: each test calls it once for a new bus,
// and may use the views of it that two processes would have. An implementation
// in one process gives the same value twice.
func Run(t *testing.T, connect func(*testing.T) (a, b dating.Bus)) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, dating.Bus, dating.Bus)
	}{
		{"Publish", publish}, {"Order", order}, {"Broadcast", broadcast}, {"Request", request},
		{"Claims", claims}, {"ClaimRace", claimRace}, {"ClaimExpires", claimExpires}, {"Leave", leave}, {"Left", left}, {"Reentrant", reentrant},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := connect(t)
			test.f(t, a, b)
		})
	}
}

// inbox is a node that keeps what it hears.
type inbox struct {
	mu   sync.Mutex
	got  []string
	hook func(from, s string)
}

func (n *inbox) message(from string, b []byte) {
	n.mu.Lock()
	n.got = append(n.got, from+":"+string(b))
	hook := n.hook
	n.mu.Unlock()
	if hook != nil {
		hook(from, string(b))
	}
}

func (n *inbox) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{}, n.got...)
}

func (n *inbox) hears(t *testing.T, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(n.all()) >= len(want) }, soon, time.Millisecond, "want %v", want)
	require.Equal(t, want, n.all())
}

func join(t *testing.T, b dating.Bus, name string) *inbox {
	t.Helper()
	n := &inbox{}
	leave, err := b.Join(t.Context(), name, dating.Handler{
		Message: n.message,
		Request: func(_ context.Context, from string, p []byte) ([]byte, error) {
			if string(p) == "fail" {
				return nil, errors.New("asked to fail")
			}
			return []byte(name + " answers " + from + " " + string(p)), nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(leave)
	return n
}

func publish(t *testing.T, a, b dating.Bus) {
	one, two := join(t, a, "n1"), join(t, b, "n2")
	ctx := t.Context()
	require.NoError(t, a.Subscribe(ctx, "n1", "ann"))
	require.NoError(t, b.Subscribe(ctx, "n2", "ann"))
	require.NoError(t, b.Subscribe(ctx, "n2", "ann")) // twice is once
	require.NoError(t, b.Subscribe(ctx, "n2", "bob"))
	a.Publish("n1", "ann", []byte("1"))
	a.Publish("n1", "bob", []byte("2"))
	a.Publish("n1", "nobody", []byte("3"))
	two.hears(t, "n1:1", "n1:2")
	b.Publish("n2", "ann", []byte("4"))
	one.hears(t, "n2:4")
	b.Unsubscribe("n2", "ann")
	b.Unsubscribe("n2", "nobody")
	a.Publish("n1", "ann", []byte("5"))
	a.Publish("n1", "bob", []byte("6"))
	two.hears(t, "n1:1", "n1:2", "n1:6")
	one.hears(t, "n2:4")
	require.ErrorIs(t, a.Subscribe(ctx, "n3", "ann"), dating.ErrNoNode)
}

func order(t *testing.T, a, b dating.Bus) {
	two := join(t, b, "n2")
	join(t, a, "n1")
	require.NoError(t, b.Subscribe(t.Context(), "n2", "ann"))
	var want []string
	for i := range 1000 {
		a.Publish("n1", "ann", fmt.Appendf(nil, "%04d", i))
		want = append(want, fmt.Sprintf("n1:%04d", i))
	}
	two.hears(t, want...)
}

func broadcast(t *testing.T, a, b dating.Bus) {
	one, two, three := join(t, a, "n1"), join(t, b, "n2"), join(t, b, "n3")
	a.Broadcast("n1", []byte("x"))
	two.hears(t, "n1:x")
	three.hears(t, "n1:x")
	b.Broadcast("n3", []byte("y"))
	one.hears(t, "n3:y")
	two.hears(t, "n1:x", "n3:y")
}

func request(t *testing.T, a, b dating.Bus) {
	join(t, a, "n1")
	join(t, b, "n2")
	got, err := a.Request(t.Context(), "n1", "n2", "key", []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "n2 answers n1 hello", string(got))
	_, err = a.Request(t.Context(), "n1", "n2", "key", []byte("fail"))
	require.Error(t, err)
	_, err = a.Request(t.Context(), "n1", "n9", "key", []byte("hello"))
	require.ErrorIs(t, err, dating.ErrNoNode)
}

func claims(t *testing.T, a, b dating.Bus) {
	ctx := t.Context()
	claim := func(bus dating.Bus, want bool, owner string, keys ...string) {
		t.Helper()
		ok, err := bus.Claim(ctx, owner, time.Minute, keys...)
		require.NoError(t, err)
		require.Equal(t, want, ok)
	}
	holder := func(want, key string) {
		t.Helper()
		for _, bus := range []dating.Bus{a, b} {
			got, err := bus.Holder(ctx, key)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	claim(a, true, "x", "ann", "bob")
	claim(b, false, "y", "bob", "cat")
	holder("", "cat") // all or none
	claim(b, true, "x", "ann", "bob", "cat")
	holder("x", "cat")
	require.NoError(t, b.Release(ctx, "y", "ann"))
	holder("x", "ann") // another's stays
	require.NoError(t, a.Release(ctx, "x", "ann", "nothing"))
	holder("", "ann")
	claim(b, true, "y", "ann")
	holder("y", "ann")
}

func claimRace(t *testing.T, a, b dating.Bus) {
	var mu sync.Mutex
	held := map[string]string{}
	var wg sync.WaitGroup
	for i := range 200 {
		bus := a
		if i%2 == 1 {
			bus = b
		}
		owner, keys := fmt.Sprint("o", i), []string{fmt.Sprint("k", i%7), fmt.Sprint("k", (i+1+i/7%5)%7)}
		wg.Go(func() {
			ok, err := bus.Claim(context.Background(), owner, time.Minute, keys...)
			if err != nil {
				t.Errorf("claim: %v", err)
			}
			if !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, k := range keys {
				if held[k] != "" && held[k] != owner {
					t.Errorf("%s belongs to %s and to %s", k, held[k], owner)
				}
				held[k] = owner
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, held)
}

func claimExpires(t *testing.T, a, b dating.Bus) {
	ok, err := a.Claim(t.Context(), "x", 50*time.Millisecond, "ann")
	require.NoError(t, err)
	require.True(t, ok)
	require.Eventually(t, func() bool {
		ok, err := b.Claim(t.Context(), "y", time.Minute, "ann")
		return err == nil && ok
	}, soon, 5*time.Millisecond)
	require.NoError(t, a.Release(t.Context(), "x", "ann"))
	got, err := a.Holder(t.Context(), "ann")
	require.NoError(t, err)
	require.Equal(t, "y", got, "who is late takes nothing away")
}

func leave(t *testing.T, a, b dating.Bus) {
	join(t, a, "n1")
	n := &inbox{}
	h := dating.Handler{Message: n.message, Request: func(context.Context, string, []byte) ([]byte, error) { return nil, nil }}
	leave, err := b.Join(t.Context(), "n2", h)
	require.NoError(t, err)
	_, err = b.Join(t.Context(), "n2", h)
	require.Error(t, err, "one node of a name")
	require.NoError(t, b.Subscribe(t.Context(), "n2", "ann"))
	leave()
	leave()
	a.Publish("n1", "ann", []byte("1"))
	a.Broadcast("n1", []byte("2"))
	_, err = a.Request(t.Context(), "n1", "n2", "key", nil)
	require.ErrorIs(t, err, dating.ErrNoNode)
	leave, err = b.Join(t.Context(), "n2", h)
	require.NoError(t, err)
	defer leave()
	a.Publish("n1", "ann", []byte("3")) // the new one has subscribed to nothing
	a.Broadcast("n1", []byte("4"))
	n.hears(t, "n1:4")
}

// Who stays is told who left, once, after all that the leaver said.
func left(t *testing.T, a, b dating.Bus) {
	require.NoError(t, a.Ping(t.Context()))
	n := &inbox{}
	quit, err := a.Join(t.Context(), "n1", dating.Handler{Message: n.message, Left: func(node string) { n.message(node, []byte("left")) }})
	require.NoError(t, err)
	defer quit()
	require.Empty(t, a.Peers("n1"))
	leave, err := b.Join(t.Context(), "n2", dating.Handler{Message: n.message})
	require.NoError(t, err)
	require.Equal(t, []string{"n2"}, a.Peers("n1"))
	require.Equal(t, []string{"n1"}, b.Peers("n2"))
	b.Broadcast("n2", []byte("bye"))
	leave()
	n.hears(t, "n2:bye", "n2:left")
	require.Empty(t, a.Peers("n1"))
}

// A handler may use the bus, also to answer who it hears.
func reentrant(t *testing.T, a, b dating.Bus) {
	one, two := join(t, a, "n1"), join(t, b, "n2")
	two.hook = func(from, s string) { b.Broadcast("n2", []byte("re "+s)) }
	one.hook = func(from, s string) {
		if len(s) < 20 {
			a.Broadcast("n1", []byte("re "+s))
		}
	}
	a.Broadcast("n1", []byte("x"))
	require.Eventually(t, func() bool { return len(one.all()) >= 4 }, soon, time.Millisecond)
}
