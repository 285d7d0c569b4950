// Package bots simulates people who take part in the speed-dating platform,
// so that one person alone can try everything: they sign up with a drawn
// portrait, wait in the queue, accept and make invitations, show a moving
// test pattern in video calls, chat, and now and then share a handle.
//
// A bot uses the public HTTP and WebSocket interface and nothing else. Bots
// know each other, because they run in one process: among themselves they
// play a recorded negotiation and send no pictures, so that many of them cost
// little.
package bots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configures Run.
type Options struct {
	// BaseURL is the platform's address, such as http://localhost:8080.
	// Required.
	BaseURL string
	// N is how many bots there are. Required, 1 to 10,000.
	N int
	// Logger receives sign-ups and calls at Debug, and trouble at Warn.
	// Default silent.
	Logger *slog.Logger

	// Busy is the share of the bots that may be in calls with each other at
	// the same time, the rest stays free for people. Default 0.4, below 0
	// for none.
	Busy float64
	// Patience is how long a person waits in the queue before a bot invites
	// them. Default 20 s.
	Patience time.Duration
	// Manners is how long the bots then leave a person alone; after a person
	// declined or did not answer it is ten times as long. Default 90 s.
	Manners time.Duration
	// Hesitation is about how long a bot takes for everything it does: to
	// answer an invitation, to write a line. Default 1.5 s.
	Hesitation time.Duration
	// Wish is how long a call every bot asks for, in whole seconds. Default
	// three to seven minutes, chosen anew each time.
	Wish time.Duration
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if u, err := url.Parse(o.BaseURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("bots: Options.BaseURL = %q, want one like http://localhost:8080", o.BaseURL))
	}
	o.BaseURL = strings.TrimSuffix(o.BaseURL, "/")
	if o.N < 1 || o.N > 10_000 {
		errs = append(errs, fmt.Errorf("bots: Options.N = %d, want 1 to 10000", o.N))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Busy == 0 {
		o.Busy = 0.4
	}
	def := func(name string, d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
		if *d < 0 {
			errs = append(errs, fmt.Errorf("bots: Options.%s = %v, want > 0", name, *d))
		}
	}
	def("Patience", &o.Patience, 20*time.Second)
	def("Manners", &o.Manners, 90*time.Second)
	def("Hesitation", &o.Hesitation, 1500*time.Millisecond)
	def("Wish", &o.Wish, 0)
	return o, errors.Join(errs...)
}

// Run lets N bots live until ctx ends. A bot that loses its connection or its
// session comes back; only a fault in Options or of the media is an error.
// No goroutine and no connection is left when Run returns.
func Run(ctx context.Context, opt Options) error {
	opt, err := opt.withDefaults()
	if err != nil {
		return err
	}
	studio, err := newStudio(opt.Logger)
	if err != nil {
		return err
	}
	c := &crowd{
		opt: opt, api: newAPI(opt.BaseURL), studio: studio,
		bots: map[string]*person{}, free: map[string]*person{}, people: map[string]*stranger{},
		signUps: make(chan struct{}, 4),
	}
	defer c.api.http.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range opt.N {
		p := &person{
			crowd: c,
			name:  botName(i),
			rnd:   rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))),
			tasks: make(chan func(), 32),
		}
		wg.Go(func() { p.run(ctx, time.Duration(i)*30*time.Millisecond) })
	}
	wg.Go(func() { c.match(ctx) })
	wg.Wait()
	return nil
}

// botName returns a name that says what it is.
func botName(i int) string {
	name := names[i%len(names)]
	if round := i / len(names); round > 0 {
		name = fmt.Sprintf("%s %d", name, round+1)
	}
	return name + " (bot)"
}

// A crowd is what the bots know together.
type crowd struct {
	opt     Options
	api     *api
	studio  *studio
	signUps chan struct{} // bounds the sign-ups at a time

	mu     sync.Mutex
	bots   map[string]*person // by user id
	free   map[string]*person // those in the queue and not invited
	people map[string]*stranger
}

// A stranger is somebody in the queue who is no bot.
type stranger struct {
	since time.Time // in the queue without a call, as far as we have seen
	seen  time.Time
	next  time.Time // not to be invited before
}

func (c *crowd) isBot(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bots[id] != nil
}

func (c *crowd) setFree(p *person, free bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if free && p.id != "" {
		c.free[p.id] = p
	} else {
		delete(c.free, p.id)
	}
}

// leaveAlone keeps all bots from inviting a person for a time.
func (c *crowd) leaveAlone(id string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.people[id]; s != nil {
		s.next = time.Now().Add(d)
		s.since = time.Now()
	}
}

// match looks at the queue every few seconds and lets free bots invite.
func (c *crowd) match(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2*time.Second + rand.N(2*time.Second)):
		}
		scout := c.someFree()
		if scout == nil {
			continue
		}
		cards, err := c.api.queue(ctx, scout.session())
		if err != nil {
			if ctx.Err() == nil {
				c.opt.Logger.Debug("bots: queue", slog.Any("err", err))
			}
			continue
		}
		for _, i := range c.invitations(cards, time.Now()) {
			i.by.tryPost(func() { i.by.invite(i.to) })
		}
	}
}

func (c *crowd) someFree() *person {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.free {
		return p
	}
	return nil
}

type invitation struct {
	by *person
	to string
}

// invitations lets at most one bot invite a person, and one another bot.
func (c *crowd) invitations(cards []card, now time.Time) (out []invitation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := make([]string, 0, len(cards))
	for _, card := range cards {
		if c.bots[card.UserID] != nil {
			continue
		}
		s := c.people[card.UserID]
		if s == nil {
			s = &stranger{since: now}
			c.people[card.UserID] = s
		}
		if now.Sub(s.seen) > 15*time.Second { // was away or in a call
			s.since = now
		}
		s.seen = now
		if now.Sub(s.since) >= c.opt.Patience && now.After(s.next) {
			waiting = append(waiting, card.UserID)
		}
	}
	for id, s := range c.people {
		if now.Sub(s.seen) > time.Hour {
			delete(c.people, id)
		}
	}
	free := make([]*person, 0, len(c.free))
	for _, p := range c.free {
		free = append(free, p)
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	if len(waiting) > 0 && len(free) > 0 {
		id := waiting[rand.IntN(len(waiting))]
		if i := slices.IndexFunc(free, func(p *person) bool { return p.mayMeet(id) }); i >= 0 {
			c.people[id].next = now.Add(c.opt.Manners)
			out = append(out, invitation{free[i], id})
			free = slices.Delete(free, i, i+1)
		}
	}
	// Two bots a call: keep the rest free.
	if busy := len(c.bots) - len(c.free); len(free) >= 2 && float64(busy+2) <= c.opt.Busy*float64(len(c.bots)) {
		caller := free[0]
		for _, callee := range free[1:] {
			if id := callee.id; caller.mayMeet(id) {
				out = append(out, invitation{caller, id})
				break
			}
		}
	}
	return out
}
