package main

import (
	"context"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/live"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/web"
	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// figures is what /health shows, and metrics.go for Prometheus: the Stats of every part.
type figures struct {
	Ready       bool
	Memory      memmgr.Stats
	Connections connmgr.Stats
	Sockets     signaling.Stats
	Presence    presence.Stats
	Platform    dating.Stats
	Compress    compress.Stats
	Queue       web.QueueStats
	Savings     savingsFigures
}

func (a *app) figures() any {
	sockets, queue, encoded := a.sockets.Hub().Stats(), a.sockets.Queue(), a.compress.Stats()
	return figures{
		Ready: len(a.notReady()) == 0, Memory: a.memory.Stats(), Connections: a.conns.Stats(), Sockets: sockets,
		Presence: a.presence.Stats(), Platform: a.platform.Stats(), Compress: encoded, Queue: queue,
		Savings: a.savingsFigures(encoded, sockets, queue),
	}
}

// notReady tells why people should be sent elsewhere.
func (a *app) notReady() []string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := a.platform.Ready(ctx); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// parts is what the HTTP side is made of.
func (a *app) parts(p plan) web.Parts {
	return web.Parts{
		Platform: a.platform, Sockets: a.sockets, Conns: a.conns, Compress: a.compress, Savings: a.cfg.savings.web(),
		Requests: a.memory.Account("requests"), Uploads: a.memory.Account("uploads"), UploadsMax: p.share(uploadsShare), Admit: a.memory.Admit,
		Health: a.figures, Metrics: a.metrics, Live: a.live, Ready: a.notReady, Log: a.log,
		Origins: a.cfg.allowedOrigins, Proxies: a.cfg.trustedProxies, AdminToken: a.cfg.adminToken,
		TURN: signaling.TURN{URLs: a.cfg.turnURLs, Secrets: a.cfg.turnSecrets},
	}
}

// look is what the dashboard keeps an hour of.
func (a *app) look() live.Reading {
	p, c, s := a.platform.Stats(), a.conns.Stats(), a.sockets.Hub().Stats()
	return live.Reading{
		Memory: a.memory.Stats(), Online: p.Live.OnlineUsers, Free: p.Live.AvailableUsers, Calls: p.Live.ActiveCalls,
		Sockets: s.Sockets, Refused: c.Refused.Total() + c.AcceptRefused.Total(),
		Sent: uint64(s.BytesOut), Statements: p.Store.Statements,
	}
}
