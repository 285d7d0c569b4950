package presencetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
)

// ErrCut is what every call returns while a node is cut off.
var ErrCut = errors.New("presencetest: cut off")

// Chaos is a Store whose events are dropped, doubled, delayed and reordered,
// and that can be cut off from single nodes. The calls that the Store
// interface promises to be reliable stay so.
type Chaos struct {
	store presence.Store

	mu      sync.Mutex
	rnd     *rand.Rand
	drop    float64
	double  float64
	delay   float64
	longest time.Duration
	cut     map[string]bool
}

// NewChaos wraps store. A tenth of the events is lost, a tenth comes twice, a
// quarter comes up to longest late and so out of order.
func NewChaos(store presence.Store, seed uint64, longest time.Duration) *Chaos {
	return &Chaos{
		store: store, rnd: rand.New(rand.NewPCG(seed, 1)),
		drop: .1, double: .1, delay: .25, longest: longest,
		cut: make(map[string]bool),
	}
}

// Cut cuts node off from the store, or ends that.
func (c *Chaos) Cut(node string, off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[node] = off
}

func (c *Chaos) reach(node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut[node] {
		return ErrCut
	}
	return nil
}

// Open implements presence.Store.
func (c *Chaos) Open(ctx context.Context, node string, lease time.Duration, events func(presence.Event)) (presence.Session, error) {
	if err := c.reach(node); err != nil {
		return nil, err
	}
	var one sync.Mutex
	deliver := func(e presence.Event) {
		if c.reach(node) == nil {
			one.Lock()
			defer one.Unlock()
			events(e)
		}
	}
	s, err := c.store.Open(ctx, node, lease, func(e presence.Event) {
		c.mu.Lock()
		drop, times := c.rnd.Float64() < c.drop, 1
		if c.rnd.Float64() < c.double {
			times = 2
		}
		late := time.Duration(0)
		if c.rnd.Float64() < c.delay {
			late = time.Duration(c.rnd.Int64N(int64(c.longest)))
		}
		c.mu.Unlock()
		if drop {
			return
		}
		for range times {
			if late > 0 {
				time.AfterFunc(late, func() { deliver(e) })
			} else {
				deliver(e)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &chaosSession{c, node, s}, nil
}

type chaosSession struct {
	c    *Chaos
	node string
	s    presence.Session
}

func (x *chaosSession) Incarnation() string { return x.s.Incarnation() }

func (x *chaosSession) Renew(ctx context.Context) ([]string, error) {
	if err := x.c.reach(x.node); err != nil {
		return nil, err
	}
	return x.s.Renew(ctx)
}

func (x *chaosSession) Subscribe(ctx context.Context, topic string) error {
	if err := x.c.reach(x.node); err != nil {
		return err
	}
	return x.s.Subscribe(ctx, topic)
}

func (x *chaosSession) Unsubscribe(ctx context.Context, topic string) error {
	if err := x.c.reach(x.node); err != nil {
		return err
	}
	return x.s.Unsubscribe(ctx, topic)
}

func (x *chaosSession) Apply(ctx context.Context, ops []presence.Op) error {
	if err := x.c.reach(x.node); err != nil {
		return err
	}
	return x.s.Apply(ctx, ops)
}

func (x *chaosSession) Read(ctx context.Context, topic string, from presence.Position) (presence.Update, error) {
	if err := x.c.reach(x.node); err != nil {
		return presence.Update{}, err
	}
	return x.s.Read(ctx, topic, from)
}

func (x *chaosSession) Positions(ctx context.Context, topics []string) ([]presence.Position, error) {
	if err := x.c.reach(x.node); err != nil {
		return nil, err
	}
	return x.s.Positions(ctx, topics)
}

func (x *chaosSession) Reap(ctx context.Context, age time.Duration) (int, error) {
	if err := x.c.reach(x.node); err != nil {
		return 0, err
	}
	return x.s.Reap(ctx, age)
}

func (x *chaosSession) Close(ctx context.Context) error {
	if err := x.c.reach(x.node); err != nil {
		return err
	}
	return x.s.Close(ctx)
}
