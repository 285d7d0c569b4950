// Package load lets thousands of simulated people use the speed-dating
// platform from one process, measures what they wait for, and checks that
// nothing of what they say to each other is lost, doubled or reordered.
//
// Each person signs up, opens a WebSocket, joins the queue, reads GET
// /room/queue every 15 s while not in a call, and has about one call a minute
// with somebody new: invite, accept, an offer and an answer of 5.9 kB, 8
// candidates and 5 lines of chat each, 20 s, end, and back to the queue. That
// is the load under which the service that the platform replaces was measured.
// Only the public HTTP and WebSocket interface is used.
//
// # Memory
//
// A person costs a socket, a goroutine and about 20 KiB. Latencies are counted
// in histograms of a fixed size; pairs that have met are remembered, 8 bytes a
// call.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Options configures Run. Zero durations and counts take the defaults.
type Options struct {
	// URL is the platform's address, such as http://localhost:8080. Required.
	URL string
	// More are further servers of the same platform: connections go to those
	// that are ready, in turn, as behind a load balancer.
	More []string
	// Faults says that servers may die or stop meanwhile. What the platform
	// tells of that (a new session, a refusal, the end of a call) is then no
	// error but announced, and calls go on after it where the platform says so.
	// Silence stays an error.
	Faults bool
	// Users is how many people take part. Required, 1 to 100,000. Mind the
	// limit of open files: each needs one.
	Users int

	Ramp       time.Duration // over which they arrive; default 1 s for each 25, at least 1 s
	Duration   time.Duration // of the window that is measured; default 2 min
	Pace       time.Duration // from one call of a person to the next; default 1 min
	Call       time.Duration // how long a call lasts; default 20 s
	QueueEvery time.Duration // between two reads of the queue; default 15 s, < 0 for none
	Patience   time.Duration // how long anything may take before it counts as an error; default 20 s

	ChatLines  int // each side writes in a call; default 5, < 0 for none
	Candidates int // each side sends in a call; default 8, < 0 for none

	// SourceAddresses spreads the connections over that many loopback
	// addresses, 127.0.0.2 on: for a server on this machine that limits
	// connections by address, and for more of them than there are ports.
	// Default 0: the system chooses.
	SourceAddresses int

	// OwnHTTP gives everybody an HTTP connection of their own that stays
	// open, as browsers have. Default: at most 64 are shared.
	OwnHTTP bool

	// Cuts is how many sockets are cut a minute, per 100 people, without a
	// close frame. They come back and resume; what was said meanwhile is
	// checked too. Default 0.
	Cuts float64

	// PID, if > 0, is the server's process on this machine, whose memory and
	// CPU time are measured (Linux). FindServer may know it.
	PID int

	// During, if set, is called when everybody has arrived, beside the load. The
	// window lasts until it returns, at least Duration.
	During func(context.Context, Live)

	// Progress, if set, is called every few seconds with a line to show.
	Progress func(string)
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if u, err := url.Parse(o.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("load: Options.URL = %q, want one like http://localhost:8080", o.URL))
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	for i, s := range o.More {
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme == "https" {
			errs = append(errs, fmt.Errorf("load: Options.More[%d] = %q, want one like http://localhost:8081", i, s))
		}
	}
	if o.Users < 1 || o.Users > 100_000 {
		errs = append(errs, fmt.Errorf("load: Options.Users = %d, want 1 to 100000", o.Users))
	}
	if o.SourceAddresses < 0 || o.SourceAddresses > 200 {
		errs = append(errs, fmt.Errorf("load: Options.SourceAddresses = %d, want 0 to 200", o.SourceAddresses))
	}
	def := func(name string, d *time.Duration, v time.Duration, mayBeNegative bool) {
		if *d == 0 {
			*d = v
		}
		if *d < 0 && !mayBeNegative {
			errs = append(errs, fmt.Errorf("load: Options.%s = %v, want > 0", name, *d))
		}
	}
	def("Ramp", &o.Ramp, max(time.Duration(o.Users)*40*time.Millisecond, time.Second), false)
	def("Duration", &o.Duration, 2*time.Minute, false)
	def("Pace", &o.Pace, time.Minute, false)
	def("Call", &o.Call, 20*time.Second, false)
	def("QueueEvery", &o.QueueEvery, 15*time.Second, true)
	def("Patience", &o.Patience, 20*time.Second, false)
	number := func(name string, n *int, v, limit int) {
		if *n == 0 {
			*n = v
		}
		if *n = max(*n, 0); *n > limit {
			errs = append(errs, fmt.Errorf("load: Options.%s = %d, want at most %d", name, *n, limit))
		}
	}
	number("ChatLines", &o.ChatLines, 5, 100)
	number("Candidates", &o.Candidates, 8, 60)
	if o.Cuts < 0 {
		errs = append(errs, fmt.Errorf("load: Options.Cuts = %v, want >= 0", o.Cuts))
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o, errors.Join(errs...)
}

// A runner is one Run.
type runner struct {
	opt     Options
	http    *http.Client // shared, nil with OwnHTTP
	servers *balancer    // nil: one server
	workers chan struct{}
	people  []*person
	traffic traffic
	writers sync.Pool
	calls   sync.WaitGroup
	serial  atomic.Int64 // of calls
	met     map[uint64]struct{}
	ready   chan *person // who wants a call
	figures figures
	series  series
	kinds   kinds
}

// Run runs the load and returns its report. The error is of opt, or that of
// ctx if it ended before the window did; the report is valid then, too, if it
// is not nil. Everybody has left when Run returns.
func Run(ctx context.Context, opt Options) (*Report, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &runner{
		opt: opt, met: map[uint64]struct{}{}, ready: make(chan *person, opt.Users),
		workers: make(chan struct{}, 256),
	}
	r.figures.faults = opt.Faults
	if !opt.OwnHTTP {
		r.http = r.newHTTP(64, 0)
		defer r.http.CloseIdleConnections()
	}
	background, stop := context.WithCancel(ctx)
	defer stop()
	if len(opt.More) > 0 {
		r.servers = newBalancer(opt.URL, opt.More)
		go r.servers.watch(background)
	}
	server := watch(background, opt.PID)
	go r.progress(background)
	go r.follow(background, server)

	// Calls begin while people still arrive: those who came first would else
	// all call at once.
	matched := make(chan struct{})
	go func() {
		defer close(matched)
		r.match(background)
	}()
	r.arrive(ctx)
	cuts := make(chan struct{})
	go func() {
		defer close(cuts)
		r.cut(background)
	}()

	before := r.askHealth(ctx)
	r.figures.open(&r.traffic)
	server.start()
	var during sync.WaitGroup
	if opt.During != nil {
		during.Go(func() { opt.During(ctx, Live{r}) })
	}
	wait(ctx, opt.Duration)
	during.Wait()
	r.figures.close(&r.traffic)
	usage := server.stop()
	after := r.askHealth(ctx)
	ended := ctx.Err()

	stop()
	<-matched
	<-cuts
	if (opt.Cuts > 0 || opt.Faults) && ctx.Err() == nil { // those cut last are on their way back
		for end := time.Now().Add(opt.Patience); r.figures.connected.Load() < int64(opt.Users) && time.Now().Before(end); {
			wait(ctx, 50*time.Millisecond)
		}
		r.figures.connectedAtEnd = r.figures.connected.Load()
	}
	r.calls.Wait()
	report := r.report(usage)
	report.Health = before.over(after, r.figures.took.Minutes())
	r.leave()
	return report, ended
}

// Live are the figures of a Run while it goes on.
type Live struct{ r *runner }

// Connected is how many have a socket.
func (l Live) Connected() int64 { return l.r.figures.connected.Load() }

// Delivered is how many messages people have received, but those of the queue.
func (l Live) Delivered() int64 { return l.r.figures.messages.Load() - l.r.figures.presence.Load() }

// Messages is how many messages people have received.
func (l Live) Messages() int64 { return l.r.figures.messages.Load() }

// Line says in a line how it goes.
func (l Live) Line() string { return l.r.figures.line() }

// wait reports whether d has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// arrive lets everybody sign up and connect, spread over the ramp, 64 at a time.
func (r *runner) arrive(ctx context.Context) {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 64)
	start := time.Now()
	for i := range r.opt.Users {
		p := &person{r: r, index: i}
		r.people = append(r.people, p)
		if due := r.opt.Ramp * time.Duration(i) / time.Duration(r.opt.Users); !wait(ctx, time.Until(start.Add(due))) {
			break
		}
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			p.arrive(ctx)
		})
	}
	wg.Wait()
}

// leave says goodbye for everybody.
func (r *runner) leave() {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 64)
	for _, p := range r.people {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			p.leave()
		})
	}
	wg.Wait()
}

// match brings those together who are ready and have not met.
func (r *runner) match(ctx context.Context) {
	var waiting []*person
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-r.ready:
			i := 0
			for i < len(waiting) && r.haveMet(waiting[i], p) {
				i++
			}
			if i == len(waiting) {
				waiting = append(waiting, p)
				continue
			}
			other := waiting[i]
			waiting = append(waiting[:i], waiting[i+1:]...)
			r.met[pair(p, other)] = struct{}{}
			r.calls.Go(func() { newCall(r, other, p).run(ctx) })
		}
	}
}

func pair(a, b *person) uint64 {
	return uint64(min(a.index, b.index))<<32 | uint64(max(a.index, b.index))
}

func (r *runner) haveMet(a, b *person) bool {
	_, ok := r.met[pair(a, b)]
	return ok
}

// cut cuts sockets at random.
func (r *runner) cut(ctx context.Context) {
	if r.opt.Cuts == 0 {
		return
	}
	every := time.Duration(float64(time.Minute) * 100 / r.opt.Cuts / float64(r.opt.Users))
	for wait(ctx, max(every, time.Millisecond)) {
		if p := r.people[rand.IntN(len(r.people))]; p.drop() {
			r.figures.cuts.Add(1)
		}
	}
}

func (r *runner) progress(ctx context.Context) {
	for wait(ctx, 5*time.Second) {
		r.opt.Progress(r.figures.line())
	}
}

// source returns the address that person i connects from.
func (r *runner) source(i int) net.Addr {
	if r.opt.SourceAddresses == 0 {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%r.opt.SourceAddresses))}
}

// dialer opens counted connections for person i.
func (r *runner) dialer(i int, count *flow) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: r.opt.Patience, LocalAddr: r.source(i), KeepAlive: -1}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if d.LocalAddr != nil {
			network = "tcp4"
		}
		if r.servers != nil {
			addr = r.servers.host()
		}
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: c, flow: count}, nil
	}
}

func (r *runner) newHTTP(conns, i int) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext:         r.dialer(i, &r.traffic.http),
			MaxConnsPerHost:     conns,
			MaxIdleConnsPerHost: conns,
			IdleConnTimeout:     time.Minute,
			ReadBufferSize:      2048,
			WriteBufferSize:     1024,
		},
	}
}

func (r *runner) websocket(i int) *websocket.Dialer {
	return &websocket.Dialer{
		NetDialContext:    r.dialer(i, &r.traffic.ws),
		EnableCompression: true,
		HandshakeTimeout:  r.opt.Patience,
		ReadBufferSize:    1024,
		WriteBufferSize:   1024,
		WriteBufferPool:   &r.writers,
	}
}

// traffic counts bytes.
type traffic struct{ ws, http flow }

type flow struct{ in, out atomic.Int64 }

type countedConn struct {
	net.Conn
	flow *flow
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.flow.in.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.flow.out.Add(int64(n))
	return n, err
}
