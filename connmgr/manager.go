package connmgr

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// A Conn is a connection that a [Manager] may end.
type Conn interface {
	// Close asks the connection to end with a WebSocket close code and a
	// reason of at most 123 bytes. It must not block: at most it queues the
	// close frame. The connection must then end in bounded time, whatever its
	// peer does, and its owner must call Ticket.Release when it has.
	//
	// If a Conn also has CloseNow() error, Shutdown uses it to cut what did
	// not end in time; it must not block either.
	Close(code int, reason string) error
}

// closer cuts a connection without a close frame.
type closer interface{ CloseNow() error }

// A Request is one connection that asks to be admitted.
type Request struct {
	// User is whom the connection belongs to; empty: nobody yet, then it
	// counts in the share of the unauthenticated until Ticket.Authenticate.
	User string
	// Addr is where it comes from, see Manager.ClientAddr. The zero Addr is
	// not counted.
	Addr netip.Addr
	// Key is anything else that shall be limited, such as a tenant or a room.
	// Empty: not counted.
	Key string
}

// A Manager decides who may connect, and ends connections: by eviction, by
// deadline and by draining.
//
// All its methods may be called concurrently. It owns no goroutine, but for a
// timer while somebody is unauthenticated, and two for Options.Shared, which
// end in Shutdown. Conn, Account and Logger are called on the goroutine that
// caused the call, with no lock held.
type Manager struct {
	opt    Options
	start  time.Time
	idle   chan struct{} // closed when draining and no slot is left
	gate   gate          // what Listener let in
	shared *shared       // nil without Options.Shared

	expiring sync.WaitGroup // calls of expire

	mu        sync.Mutex
	slots     slots
	addrs     counts[uint64]
	keys      counts[string]
	rate      rate
	tat       int64 // of rate
	addrRate  rates
	unauth    uint32 // ring of the unauthenticated, oldest first
	nunauth   int    // those, and the expired that are not released
	closing   int    // evicted and not released
	attached  int
	refusing  int
	lastBorn  int64
	authTimer *time.Timer // armed while unauth != 0
	armed     bool
	draining  bool
	closed    bool
	totals    totals
}

// New returns a Manager, or an error that names every fault of opt.
func New(opt Options) (*Manager, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		opt:      opt,
		start:    time.Now(),
		idle:     make(chan struct{}),
		slots:    slots{users: newBuckets(opt.MaxConns)},
		addrs:    newCounts[uint64](opt.MaxConns),
		rate:     newRate(opt.Rate, opt.Burst),
		addrRate: newRates(opt.RatePerAddr, opt.BurstPerAddr, opt.MaxRateAddrs),
	}
	m.gate.init(opt.Accept, opt.MaxRateAddrs)
	if opt.MaxPerKey > 0 {
		m.keys = newCounts[string](opt.MaxConns)
	}
	if opt.Shared != nil {
		m.shared = startShared(m, *opt.Shared)
	}
	return m, nil
}

// now returns the nanoseconds since New.
func (m *Manager) now() int64 { return int64(time.Since(m.start)) }

// Admit counts a connection under every limit at once, or returns a
// *LimitError and counts nothing. Call it before the upgrade, and Release
// when the connection has ended, also when the upgrade failed.
//
// With [EvictOldest] a user at the limit loses the oldest connection, which
// is told 4001 before Admit returns, and for which nothing is counted any
// more except Options.MaxClosing.
//
// Admit never waits, except for Options.Shared, see AdmitContext.
func (m *Manager) Admit(req Request) (Ticket, error) {
	return m.AdmitContext(context.Background(), req)
}

// AdmitContext is Admit with a context for the call to Options.Shared.
func (m *Manager) AdmitContext(ctx context.Context, req Request) (Ticket, error) {
	if req.Key != "" && m.opt.MaxPerKey == 0 {
		return Ticket{}, errors.New("connmgr: Request.Key is set, but Options.MaxPerKey is 0")
	}
	if err := m.reserve(); err != nil {
		m.mu.Lock()
		refusal := m.refusalLocked(LimitMemory, 0, 0, err)
		m.mu.Unlock()
		return Ticket{}, m.refused(refusal, req)
	}
	m.mu.Lock()
	t, evicted, refusal := m.admitLocked(req)
	m.mu.Unlock()
	if refusal != nil {
		m.unreserve()
		return Ticket{}, m.refused(refusal, req)
	}
	m.closeEvicted(evicted, req.User)
	if m.shared != nil {
		if err := m.shared.acquire(ctx, t, m.shared.claims(req)); err != nil {
			t.Release()
			return Ticket{}, m.refused(m.sharedRefusal(err), req)
		}
	}
	return t, nil
}

// admitLocked returns the ticket and the connection that it evicted, if any.
func (m *Manager) admitLocked(req Request) (Ticket, Conn, *LimitError) {
	var (
		refuse = func(what Limit, limit int, wait time.Duration) (Ticket, Conn, *LimitError) {
			return Ticket{}, nil, m.refusalLocked(what, limit, wait, nil)
		}
		old       uint32
		addr, key uint32
		addrK     uint64
	)
	if m.draining {
		return Ticket{}, nil, m.refusalLocked(LimitDraining, 0, 0, ErrDraining)
	}
	if req.User == "" {
		if m.nunauth >= m.opt.MaxUnauthenticated {
			return refuse(LimitUnauthenticated, m.opt.MaxUnauthenticated, 0)
		}
	} else {
		var what Limit
		if old, what = m.roomLocked(req.User); what == LimitPerUser {
			return refuse(what, m.opt.MaxPerUser, 0)
		} else if what == LimitClosing {
			return refuse(what, m.opt.MaxClosing, 0)
		}
	}
	// What the evicted connection counts becomes free.
	same := func(entry uint32, field func(*slot) uint32) int {
		if old != 0 && entry != 0 && field(m.slots.at(old)) == entry {
			return 1
		}
		return 0
	}
	if req.Key != "" {
		key = m.keys.find(req.Key)
		if m.keys.at(key)-same(key, func(s *slot) uint32 { return s.key }) >= m.opt.MaxPerKey {
			return refuse(LimitPerKey, m.opt.MaxPerKey, 0)
		}
	}
	if req.Addr.IsValid() {
		addrK = addrKey(req.Addr, m.opt.IPv6Prefix)
		addr = m.addrs.find(addrK)
		if m.addrs.at(addr)-same(addr, func(s *slot) uint32 { return s.addr }) >= m.opt.MaxPerAddr {
			return refuse(LimitPerAddr, m.opt.MaxPerAddr, 0)
		}
	}
	if old == 0 && m.slots.live-m.closing >= m.opt.MaxConns {
		return refuse(LimitConns, m.opt.MaxConns, 0)
	}
	now := m.now()
	if req.Addr.IsValid() {
		if wait := m.addrRate.wait(addrK, now); wait > 0 {
			return refuse(LimitRatePerAddr, m.opt.BurstPerAddr, wait)
		}
	}
	if wait := m.rate.wait(m.tat, now); wait > 0 {
		return refuse(LimitRate, m.opt.Burst, wait)
	}

	// Nothing refuses any more.
	if m.rate.gap > 0 {
		m.tat = m.rate.take(m.tat, now)
	}
	if req.Addr.IsValid() {
		m.addrRate.take(addrK, now)
		addr = m.addrs.inc(addr, addrK)
	}
	if req.Key != "" {
		key = m.keys.inc(key, req.Key)
	}
	var evicted Conn
	if old != 0 {
		evicted = m.evictLocked(old)
	}
	i := m.slots.alloc()
	m.lastBorn = max(now, m.lastBorn+1)
	p := m.slots.at(i)
	p.born, p.addr, p.key = m.lastBorn, addr, key
	if req.User != "" {
		m.slots.join(i, req.User)
	} else {
		m.slots.push(&m.unauth, i)
		m.nunauth++
		m.armLocked(now)
	}
	m.totals.admitted++
	return Ticket{m: m, born: p.born, i: i}, evicted, nil
}

// roomLocked says whether user may have one more connection, and which one
// must go for it. It returns LimitDraining, which cannot happen, for yes.
func (m *Manager) roomLocked(user string) (old uint32, what Limit) {
	first := m.slots.oldest(user)
	if first == 0 || int(m.slots.at(first).n) < m.opt.MaxPerUser {
		return 0, LimitDraining
	}
	if m.opt.PerUser == Refuse {
		return 0, LimitPerUser
	}
	if m.closing >= m.opt.MaxClosing {
		return 0, LimitClosing
	}
	return first, LimitDraining
}

// evictLocked takes everything that i counts from it. The caller closes the
// connection it returns, which is nil if i is not attached yet: then Attach
// closes it.
func (m *Manager) evictLocked(i uint32) Conn {
	p := m.slots.at(i)
	m.slots.leave(i)
	m.addrs.dec(p.addr)
	m.keys.dec(p.key)
	p.addr, p.key = 0, 0
	told := p.state&stateTold != 0
	if p.state&stateOusted == 0 {
		m.totals.evicted++
	}
	if p.state&stateShared != 0 {
		m.shared.release(Ticket{m: m, born: p.born, i: i})
	}
	p.state = p.state&^stateShared | stateEvicted | stateTold
	m.closing++
	if told {
		return nil
	}
	return p.conn
}

func (m *Manager) closeEvicted(conn Conn, user string) {
	if conn != nil {
		conn.Close(CloseEvicted, "a newer connection took the place")
		m.opt.Logger.Debug("connmgr: evicted", slog.String("user", user))
	}
}

// armLocked makes the timer fire when the oldest unauthenticated connection
// is due.
func (m *Manager) armLocked(now int64) {
	if m.armed || m.unauth == 0 || m.closed {
		return
	}
	m.armed = true
	in := time.Duration(m.slots.at(m.unauth).born - now + int64(m.opt.AuthDeadline))
	if m.authTimer == nil {
		m.authTimer = time.AfterFunc(in, m.expire)
	} else {
		m.authTimer.Reset(in)
	}
}

// expire closes who did not authenticate in time. They stay counted until
// they are released.
func (m *Manager) expire() {
	var due []Conn
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.expiring.Add(1)
	defer m.expiring.Done()
	m.armed = false
	now := m.now()
	for m.unauth != 0 {
		i := m.unauth
		p := m.slots.at(i)
		if p.born+int64(m.opt.AuthDeadline) > now {
			break
		}
		m.slots.unlink(&m.unauth, i)
		if p.conn != nil && p.state&stateTold == 0 {
			due = append(due, p.conn)
		}
		p.state |= stateExpired | stateTold
		m.totals.authExpired++
	}
	m.armLocked(now)
	m.mu.Unlock()
	for _, c := range due {
		c.Close(ClosePolicy, "not authenticated in time")
	}
}

// refusalLocked counts a refusal and returns its error.
func (m *Manager) refusalLocked(what Limit, limit int, wait time.Duration, err error) *LimitError {
	m.totals.refused[what]++
	return &LimitError{What: what, Max: limit, RetryAfter: wait + m.jitter(), Err: err}
}

func (m *Manager) refused(e *LimitError, req Request) error {
	if m.opt.Logger.Enabled(context.Background(), slog.LevelDebug) {
		m.opt.Logger.Debug("connmgr: refused",
			slog.String("limit", e.What.String()), slog.String("user", req.User), slog.Any("addr", req.Addr))
	}
	return e
}

// jitter returns a random time around Options.RetryAfter.
func (m *Manager) jitter() time.Duration {
	return m.opt.RetryAfter/2 + rand.N(m.opt.RetryAfter)
}

func (m *Manager) reserve() error {
	if m.opt.Account == nil {
		return nil
	}
	return m.opt.Account.Reserve(m.opt.BytesPerConn)
}

func (m *Manager) unreserve() {
	if m.opt.Account != nil {
		m.opt.Account.Release(m.opt.BytesPerConn)
	}
}
