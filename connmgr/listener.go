package connmgr

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// A gate counts what Listener let in.
type gate struct {
	opt      AcceptOptions
	mu       sync.Mutex
	open     int
	addrs    counts[uint64]
	rate     rate
	tat      int64
	addrRate rates
	accepted uint64
	refused  [numLimits]uint64
}

func (g *gate) init(opt AcceptOptions, maxRateAddrs int) {
	g.opt = opt
	g.rate = newRate(opt.Rate, opt.Burst)
	g.addrRate = newRates(opt.RatePerAddr, opt.BurstPerAddr, maxRateAddrs)
}

// enter counts a connection from key and reserves its memory, or says what
// refuses it. Without hasKey only the limits over all addresses apply.
func (g *gate) enter(key uint64, hasKey bool, now int64) (addr uint32, what Limit, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if !ok {
			g.refused[what]++
		}
	}()
	if g.open >= g.opt.MaxConns {
		return 0, LimitConns, false
	}
	if hasKey {
		addr = g.addrs.find(key)
		if g.addrs.at(addr) >= g.opt.MaxPerAddr {
			return 0, LimitPerAddr, false
		}
		if g.addrRate.wait(key, now) > 0 {
			return 0, LimitRatePerAddr, false
		}
	}
	if g.rate.wait(g.tat, now) > 0 {
		return 0, LimitRate, false
	}
	if g.opt.Account != nil && g.opt.Account.Reserve(g.opt.BytesPerConn) != nil {
		return 0, LimitMemory, false
	}
	if g.rate.gap > 0 {
		g.tat = g.rate.take(g.tat, now)
	}
	if hasKey {
		g.addrRate.take(key, now)
		addr = g.addrs.inc(addr, key)
	}
	g.open++
	g.accepted++
	return addr, 0, true
}

// give gives back what enter reserved.
func (g *gate) give() {
	if g.opt.Account != nil {
		g.opt.Account.Release(g.opt.BytesPerConn)
	}
}

func (g *gate) leave(addr uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.addrs.dec(addr)
}

// Listener bounds what l accepts by Options.Accept, before a byte is read:
// the cheapest place to refuse. What is refused is reset, for the caller of
// Accept it never was. Networks in Options.TrustedProxies have no limit per
// address. Listener goes on accepting during a drain, so that health checks
// are answered.
//
// A *net.TCPConn that l accepts keeps all its methods, SyscallConn and
// ReadFrom included. The connection is counted until its Close, and its memory
// reserved until then or until ConnState says that it was hijacked.
func (m *Manager) Listener(l net.Listener) net.Listener {
	m.gate.mu.Lock()
	defer m.gate.mu.Unlock()
	if m.gate.addrs.buckets.heads == nil {
		m.gate.addrs = newCounts[uint64](m.gate.opt.MaxConns)
	}
	return &listener{Listener: l, m: m}
}

type listener struct {
	net.Listener
	m *Manager
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var key uint64
		hasKey := false
		if ra := c.RemoteAddr(); ra != nil {
			if a := addrOf(ra); a.IsValid() && !l.m.trusts(a) {
				key, hasKey = addrKey(a, l.m.opt.IPv6Prefix), true
			}
		}
		addr, _, ok := l.m.gate.enter(key, hasKey, l.m.now())
		tcp, isTCP := c.(*net.TCPConn)
		switch {
		case !ok:
			if isTCP {
				tcp.SetLinger(0) // a reset, and no TIME_WAIT here
			}
			c.Close()
		case isTCP:
			return &acceptedTCP{TCPConn: tcp, place: place{m: l.m, addr: addr}}, nil
		default:
			return &acceptedConn{Conn: c, place: place{m: l.m, addr: addr}}, nil
		}
	}
}

// ConnState is for http.Server.ConnState. A connection of Listener that is
// hijacked gives back what AcceptOptions.Account reserved for net/http: from
// there on it costs what Admit reserves.
func (m *Manager) ConnState(c net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	for {
		switch x := c.(type) {
		case interface{ hijacked() }:
			x.hijacked()
			return
		case interface{ NetConn() net.Conn }: // tls.Conn
			c = x.NetConn()
		default:
			return
		}
	}
}

// place is what an accepted connection counts.
type place struct {
	m     *Manager
	addr  uint32
	left  atomic.Bool
	given atomic.Bool // its memory
}

func (p *place) leave() {
	if !p.left.Swap(true) {
		p.hijacked()
		p.m.gate.leave(p.addr)
	}
}

func (p *place) hijacked() {
	if !p.given.Swap(true) {
		p.m.gate.give()
	}
}

type acceptedTCP struct {
	*net.TCPConn
	place
}

func (c *acceptedTCP) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

// NetConn returns the connection below, as tls.Conn's method does. Whoever
// closes that directly leaves c counted.
func (c *acceptedTCP) NetConn() net.Conn { return c.TCPConn }

type acceptedConn struct {
	net.Conn
	place
}

func (c *acceptedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

func (c *acceptedConn) NetConn() net.Conn { return c.Conn }
