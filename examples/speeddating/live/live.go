// Package live shows whoever runs the platform what holds its memory, what
// its people do and what happened when it was tight: at a glance, while it
// happens. Behind it is a hub of its own, of package signaling: the figures
// arrive over the same kind of socket as everything else on the platform.
//
// # Memory
//
// An hour in steps of ten seconds, two minutes in steps of a second, the last
// 200 events: about 120 KiB. At most MaxViewers look on; what waits for them
// is bounded by the hub, and each second's figures replace those that a slow
// one has not read yet.
//
// # Concurrency
//
// A Board owns one goroutine, that of Run. Its methods may be called from any.
package live

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// MaxViewers bounds the open pages.
const MaxViewers = 8

// viewer is the user that all pages belong to.
const viewer = "admin"

// Reading is one look at the node.
type Reading struct {
	Memory memmgr.Stats
	Online int // people here, on all nodes
	Free   int // of them
	Calls  int // in progress, on all nodes

	Sockets    int    // of this node
	Refused    uint64 // connections refused, since the start
	Sent       uint64 // bytes sent to sockets, since the start
	Statements uint64 // of the database, since the start
}

// Options of a Board. All are required but Origins and Logger.
type Options struct {
	Read    func() Reading // called once a second
	Figures func() any     // the document of /health; once a second while somebody looks on
	Origins []string       // other origins whose pages may connect
	Account signaling.Account
	Logger  *slog.Logger
}

// Board keeps the last hour and shows it.
type Board struct {
	read    func() Reading
	figures func() any
	hub     *signaling.Hub

	mu     sync.Mutex
	begun  time.Time // of what is kept
	last   Reading
	hour   ring // steps of ten seconds
	recent ring // of one
	events []Event
}

// New builds a Board; Run makes it look.
func New(o Options) (*Board, error) {
	if o.Read == nil || o.Figures == nil {
		return nil, errors.New("live: Options.Read and Options.Figures are required")
	}
	b := &Board{
		read: o.Read, figures: o.Figures,
		hour:   ring{step: 10 * time.Second, max: 360},
		recent: ring{step: time.Second, max: 120},
	}
	var err error
	b.hub, err = signaling.New(signaling.Options{
		Origins: o.Origins, MaxPeers: MaxViewers, QueueBytes: 512 << 10, TotalQueueBytes: MaxViewers * 512 << 10,
		ResumeFor: -1, ResumeBytes: 1, Compress: true, Account: o.Account, Logger: o.Logger, // a lost page begins anew
		OnMessage: func(p *signaling.Peer, m signaling.Message) {
			_ = p.ReplyError(m.ID, "unknown_type", "this socket only tells") // who asked may have left
		},
		OnOpen: b.greet,
	})
	return b, err
}

// Accept upgrades a request of somebody who has shown that they may look on.
// It answers the request, whatever happens.
func (b *Board) Accept(w http.ResponseWriter, r *http.Request) error {
	_, err := b.hub.Accept(w, r, signaling.AcceptOptions{User: viewer})
	return err
}

// Run looks once a second and tells, until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	b.look(time.Now())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			b.tell(b.look(now))
		}
	}
}

// Shutdown sends all viewers away. Run is ended by its context.
func (b *Board) Shutdown(ctx context.Context) error { return b.hub.Shutdown(ctx) }

// now is what viewers are told every second.
type now struct {
	Point   Point   `json:"point"`
	Events  []Event `json:"events,omitempty"` // all that are kept, if any is new
	Figures any     `json:"figures"`
}

// look takes a reading and keeps it.
func (b *Board) look(at time.Time) now {
	r := b.read()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun.IsZero() {
		b.begun, b.last = at, r
	}
	var events []Event
	if fresh := compare(at, &b.last, &r); len(fresh) > 0 {
		for _, e := range fresh {
			b.keep(e)
		}
		events = append(events, b.events...)
	}
	p := pointOf(at, &b.last, &r)
	b.hour.add(p)
	b.recent.add(p)
	b.last = r
	return now{Point: p, Events: events}
}

// tell sends what is new to all viewers, encoded once.
func (b *Board) tell(n now) {
	if len(b.hub.Peers(viewer)) == 0 {
		return
	}
	n.Figures = b.figures()
	frame, err := signaling.NewFrame(signaling.Data, "live:now", n)
	if err != nil {
		return // a figure that is no JSON: the next second may be
	}
	if len(n.Events) == 0 {
		frame.Latest("now")
	}
	b.hub.SendUser(viewer, frame)
}

// history is what a viewer is told first.
type history struct {
	Accounts []string  `json:"accounts"` // names, in the order of Point.Used
	Levels   []string  `json:"levels"`   // names, from the lowest
	Begins   []float64 `json:"begins"`   // where each begins, as a fraction of the budget
	Budget   int64     `json:"budget"`
	Limit    int64     `json:"limit"`
	Hour     []Point   `json:"hour"`
	Recent   []Point   `json:"recent"`
	Events   []Event   `json:"events"`
	Figures  any       `json:"figures"`
}

func (b *Board) greet(p *signaling.Peer) {
	figures := b.figures()
	b.mu.Lock()
	m := &b.last.Memory
	h := history{
		Begins: append([]float64{}, m.Begins[:]...), Budget: m.Budget, Limit: m.Limit,
		Hour: b.hour.all(), Recent: b.recent.all(), Events: append([]Event{}, b.events...), Figures: figures,
	}
	for _, a := range m.Accounts {
		h.Accounts = append(h.Accounts, a.Name)
	}
	for lv := range len(m.Begins) {
		h.Levels = append(h.Levels, memmgr.Level(lv).String())
	}
	b.mu.Unlock()
	_ = p.Send(signaling.Control, "live:history", h) // slow or gone: the hub has dealt with it
}
