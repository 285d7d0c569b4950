package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/live"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/web"
	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/presence"
)

// app is the platform: every part, wired. Parts start from top to bottom and
// stop from bottom to top.
type app struct {
	cfg config
	log *slog.Logger

	memory   *memmgr.Manager
	store    store.Store
	bus      dating.Bus
	shared   *shared // nil: one process
	presence *presence.Tracker
	conns    *connmgr.Manager
	sockets  *web.Sockets
	platform *dating.Platform
	compress *compress.Compressor
	live     *live.Board
	server   *http.Server
	listener net.Listener
	probes   *http.Server // nil without -probe-addr

	probeListener net.Listener

	running  sync.WaitGroup
	failed   chan error
	stopRun  context.CancelFunc // ends what runs by itself
	draining chan struct{}
	drainOne sync.Once
}

// newApp builds and starts the platform. When it returns, it serves. On an
// error nothing is left running.
func newApp(ctx context.Context, cfg config, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, failed: make(chan error, 4), draining: make(chan struct{})}
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stopRun = stop
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			err = errors.Join(err, a.Shutdown(stopCtx))
		}
	}()

	plan, err := planMemory(cfg)
	if err != nil {
		return nil, err
	}
	if a.memory, err = memmgr.New(plan.manager(log)); err != nil {
		return nil, err
	}
	if err = plan.tune(log); err != nil {
		return nil, err
	}
	if a.store, err = store.Open(ctx, cfg.db, plan.store()); err != nil {
		return nil, err
	}
	if a.shared, err = openShared(ctx, plan, log); err != nil {
		return nil, err
	}
	a.bus = a.shared.Bus()
	if a.presence, err = presence.New(a.shared.presence(plan.presence(a.memory, log))); err != nil {
		return nil, err
	}
	if a.conns, err = connmgr.New(a.shared.connections(plan.connections(a.memory, log))); err != nil {
		return nil, err
	}
	if a.sockets, err = web.NewSockets(plan.sockets(a.memory, log), cfg.savings.web(), plan.windows(a.memory), a.conns, log); err != nil {
		return nil, err
	}
	a.platform, err = dating.New(dating.Options{
		Rules: cfg.rules, Store: a.store, Bus: a.bus, Presence: a.presence, Deliver: a.sockets.Deliver, Node: a.shared.Node(),
		MaxSockets: plan.sockets(a.memory, log).MaxPeers,
		MaxUsers:   plan.users, MaxSessions: plan.users, MaxRelations: plan.users, MediaBytes: plan.media,
		CacheAccount: a.memory.Account("caches"), Account: a.memory.Account("people"), Watch: cfg.watch, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	a.sockets.Serve(a.platform)
	if a.compress, err = compress.New(plan.compress(a.memory)); err != nil {
		return nil, err
	}
	if err = a.reclaim(); err != nil {
		return nil, err
	}
	a.live, err = live.New(live.Options{
		Read: a.look, Figures: func() any { return web.Document(a.figures()) }, Origins: cfg.allowedOrigins, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	handler, probes, err := web.New(a.parts(plan))
	if err != nil {
		return nil, err
	}
	listen := net.ListenConfig{KeepAlive: -1}                // the hub pings, and no request may take long
	memmgr.BoundSockets(&listen, kernelBuffer, kernelBuffer) // a slow reader pins no more than this
	plain, err := listen.Listen(ctx, "tcp", cfg.addr)
	if err != nil {
		return nil, err
	}
	a.listener = a.conns.Listener(plain)
	a.server = a.httpServer(handler)
	a.server.ConnState = a.conns.ConnState
	if cfg.probeAddr != "" {
		// Outside of admission: when every place is taken, health checks still get in.
		if a.probeListener, err = listen.Listen(ctx, "tcp", cfg.probeAddr); err != nil {
			return nil, err
		}
		a.probes = a.httpServer(probes)
		a.run("probes", func() error { return a.probes.Serve(a.probeListener) })
	}

	a.run("memory", func() error { return a.memory.Run(runCtx) })
	a.run("platform", func() error { return a.platform.Run(runCtx) })
	a.run("live", func() error { return a.live.Run(runCtx) })
	a.settle(ctx)
	a.run("http", func() error { return a.server.Serve(a.listener) })
	return a, nil
}

// settle waits until the platform has finished the calls that an earlier
// process left open, so that the first to come is not turned away. A database
// that does not answer is no reason to wait for long: /readyz tells of it.
func (a *app) settle(ctx context.Context) {
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil && len(a.notReady()) > 0 {
		time.Sleep(5 * time.Millisecond)
	}
}

// httpServer gives nobody for long what others wait for.
func (a *app) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second, // a half-sent request holds a place no longer
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // faults of peers
	}
}

// run calls f on a goroutine of its own until Shutdown; an earlier end is a
// failure of the app.
func (a *app) run(part string, f func() error) {
	a.running.Go(func() {
		err := f()
		select {
		case <-a.draining:
		default:
			a.failed <- fmt.Errorf("%s: %w", part, err)
		}
	})
}

// Failed gives the error of a part that ended by itself.
func (a *app) Failed() <-chan error { return a.failed }

// URL is where the page is.
func (a *app) URL() string {
	addr := a.listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Shutdown stops in the reverse order of the start: admit nobody, tell the
// browsers, drain the sockets, then HTTP, whose own Shutdown does not wait for
// hijacked connections, then the rules, the bus and the store. When it returns
// no goroutine of the app is left.
func (a *app) Shutdown(ctx context.Context) error {
	a.drainOne.Do(func() { close(a.draining) })
	var errs []error
	if a.platform != nil {
		// A database that hangs may not use up the time of all the others.
		drain, cancel := context.WithTimeout(ctx, 8*time.Second)
		a.platform.Drain(drain)
		cancel()
	}
	if a.conns != nil {
		errs = append(errs, a.conns.Shutdown(ctx))
	}
	if a.sockets != nil {
		errs = append(errs, a.sockets.Hub().Shutdown(ctx))
	}
	if a.live != nil {
		errs = append(errs, a.live.Shutdown(ctx))
	}
	if a.server != nil {
		if err := a.server.Shutdown(ctx); err != nil {
			errs = append(errs, err, a.server.Close())
		}
	}
	if a.platform != nil {
		errs = append(errs, a.platform.Shutdown(ctx))
	}
	if a.presence != nil {
		errs = append(errs, a.presence.Shutdown(ctx))
	}
	if a.probes != nil {
		errs = append(errs, a.probes.Close())
	}
	if a.memory != nil {
		errs = append(errs, a.memory.Shutdown(ctx))
	}
	a.stopRun()
	a.running.Wait()
	if a.shared != nil {
		errs = append(errs, a.shared.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}
