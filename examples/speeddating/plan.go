package main

import (
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/store"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/web"
	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// plan is how one limit becomes the bounds of every part. All shares are
// here, and nowhere else.
type plan struct {
	cfg    config
	limit  int64 // bytes for the process
	budget int64 // of them, what is handed out before it is used

	conns int   // sockets
	users int   // entries of each cache
	media int64 // bytes of the cache of pictures
}

const (
	defaultLimit = 512 << 20
	leastLimit   = 48 << 20 // the runtime, SQLite and the page need about half of this

	// connBytes is what one socket costs beside its queue: hub, admission,
	// presence, rules, and the headers of its upgrade.
	connBytes = 12 << 10

	// openBytes is what an accepted connection costs until it is a socket:
	// net/http's goroutine and buffers, and a header of middling size. Whoever
	// sends nothing, or half a request, makes us hold it.
	openBytes = 20 << 10
	maxHeader = 8 << 10

	kernelBuffer = 16 << 10 // of a socket, each way; Linux takes twice this

	uploadsShare = 30 // percent of the budget
)

var errLimit = errors.New("-memory-limit: want at least 48MiB")

func planMemory(cfg config) (plan, error) {
	p := plan{cfg: cfg, limit: cfg.memoryLimit}
	if p.limit == 0 {
		limit, err := memmgr.CgroupLimit()
		if err != nil {
			limit = defaultLimit
		}
		p.limit = limit
	}
	if p.limit < leastLimit {
		return p, errLimit
	}
	p.budget = (p.limit - 20<<20) / 2
	p.conns = min(cfg.maxConnections, int(p.share(40)/connBytes))
	p.users = min(4096, max(256, int(p.share(10)/1024)))
	p.media = min(p.share(5), 64<<20)
	return p, nil
}

// store keeps SQLite's page caches, which are outside Go, in proportion: five
// connections have a sixty-fourth of the limit. The kernel's cache is behind them.
func (p plan) store() store.Options {
	return store.Options{Cache: int(min(1<<20, p.limit/320))}
}

// share is a percentage of the budget.
func (p plan) share(percent int64) int64 { return p.budget / 100 * percent }

// tune tells the Go runtime the limit too.
func (p plan) tune(log *slog.Logger) error {
	tuned, err := memmgr.Tune(memmgr.TuneOptions{Limit: p.limit, Logger: log})
	if err == nil {
		log.Info("memory", "limit", p.limit, "budget", p.budget, "sockets", p.conns, "gomemlimit", tuned.GoLimit)
	}
	return err
}

// manager divides the budget. The minima keep one account from starving
// another; calls in progress are on "people" and "queues", which freeze last.
func (p plan) manager(log *slog.Logger) memmgr.Options {
	return memmgr.Options{
		Limit: p.limit, Budget: p.budget, GiveUpAfter: p.cfg.giveUpAfter, Logger: log,
		Accounts: []memmgr.AccountOptions{
			{Name: "accepted", Min: p.share(10), Max: p.share(30), FreezeAt: memmgr.Critical},
			{Name: "connections", Min: p.share(10), Max: p.share(40), FreezeAt: memmgr.High},
			{Name: "people", Min: p.share(10), Max: p.share(40), FreezeAt: memmgr.Never},
			{Name: "queues", Min: p.share(10), Max: p.share(40), FreezeAt: memmgr.Never},
			{Name: "presence", Min: p.share(5), Max: p.share(25), FreezeAt: memmgr.Critical},
			{Name: "requests", Min: p.share(5), Max: p.share(30), FreezeAt: memmgr.Critical},
			{Name: "uploads", Max: p.share(uploadsShare), FreezeAt: memmgr.Elevated},
			{Name: "encoders", Max: p.share(20), FreezeAt: memmgr.Elevated},
			{Name: "caches", Max: p.share(25), FreezeAt: memmgr.Elevated},
		},
	}
}

func (p plan) connections(m *memmgr.Manager, log *slog.Logger) connmgr.Options {
	return connmgr.Options{
		MaxConns: p.conns, MaxPerUser: p.cfg.maxPerUser, PerUser: connmgr.EvictOldest,
		MaxPerAddr: p.cfg.maxPerAddr, TrustedProxies: p.cfg.trustedProxies,
		Accept: connmgr.AcceptOptions{
			MaxConns: 2*p.conns + 64, // sockets too; for how many others there is memory, the account says
			Account:  m.Account("accepted"), BytesPerConn: openBytes,
		},
		DrainOver: p.cfg.drain, Account: m.Account("connections"), BytesPerConn: connBytes, Logger: log,
	}
}

// peers bounds the sessions of the hub: every admitted socket, those that are
// being closed, and those in the grace after a cut.
func (p plan) peers() int { return 2*p.conns + 64 }

func (p plan) sockets(m *memmgr.Manager, log *slog.Logger) signaling.Options {
	flush := time.Duration(0)
	if !p.cfg.savings.batch {
		flush = -1
	}
	return signaling.Options{
		Origins: p.cfg.allowedOrigins, MaxPeers: p.peers(), MaxRooms: p.peers(),
		QueueBytes: 32 << 10, ResumeBytes: 32 << 10, TotalQueueBytes: min(p.share(30), 512<<20),
		SendBuffer: kernelBuffer, ReceiveBuffer: kernelBuffer,
		Compress: p.cfg.savings.socket, CompressPrivate: 1 << 10, FlushEvery: flush, Account: m.Account("queues"), Logger: log,
	}
}

// queueTick is how often a viewer of a busy queue is told what changed in it.
// The first change after a quiet tick is told at once.
const queueTick = time.Second

func (p plan) presence(m *memmgr.Manager, log *slog.Logger) presence.Options {
	tick := queueTick
	if !p.cfg.savings.batch {
		tick = 0 // the package's own
	}
	return presence.Options{
		MaxUsers: 2 * p.peers(), MaxSockets: p.peers(), MaxTopics: 64, MaxWatchers: p.peers(), MaxMeta: 1 << 10,
		Tick:    tick,
		Grace:   time.Second, // the hub's own grace has passed when it learns of a cut
		Account: m.Account("presence"), Logger: log,
	}
}

// windows bounds what is kept of the queue's windows: 15 KB each, and most
// people see the same.
func (p plan) windows(m *memmgr.Manager) compress.DeltaOptions {
	return compress.DeltaOptions{MaxBytes: int(min(p.share(5), 32<<20)), Account: m.Account("presence")}
}

func (p plan) compress(m *memmgr.Manager) compress.Options {
	return compress.Options{
		MaxEncoders: runtime.GOMAXPROCS(0), MaxBufferedBytes: min(p.share(15), 256<<20), DictionaryBytes: min(p.share(2), 16<<20),
		Refuse: web.RefuseEncoding, Account: m.Account("encoders"),
	}
}
