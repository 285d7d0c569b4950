package connmgr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Ledger counts connections over all servers. An implementation must pass
// the suite in connmgrtest. Its methods may be called concurrently, and
// return when ctx ends.
//
// A server's holds carry a lease. When it ends without Renew, as after a
// crash, they count no more.
type Ledger interface {
	// Acquire counts hold once under every claim, or returns a *LedgerError
	// and counts nothing. It may be called again with the same hold to add
	// claims; a claim that the hold has already is not counted twice. Where
	// a full claim says Evict, the hold that has it longest is removed with
	// all its claims, and told to its server by Evictions.
	Acquire(ctx context.Context, hold Hold, lease time.Duration, claims []Claim) error

	// Renew makes the leases of these holds end lease from now. Holds that
	// are not there any more are ignored.
	Renew(ctx context.Context, server string, lease time.Duration, ids []string) error

	// Release removes holds with all their claims. Unknown ones are ignored.
	Release(ctx context.Context, server string, ids []string) error

	// Evictions calls evicted, one call at a time, with the id of each hold of
	// server that Acquire evicted, also those of the time shortly before the
	// call. It returns when ctx ends, or earlier with an error, and is then
	// called again.
	Evictions(ctx context.Context, server string, evicted func(id string)) error
}

// A Hold is one connection in a Ledger.
type Hold struct {
	Server string // unique among the servers
	ID     string // unique for this server
}

// A Claim wants one of Max places under Key.
type Claim struct {
	Key   string
	Max   int
	Evict bool
}

// A LedgerError says which claim had no place.
type LedgerError struct {
	Key string
	Max int
}

// Error returns the claim's key and limit.
func (e *LedgerError) Error() string {
	return fmt.Sprintf("connmgr: ledger: limit of %d for %q", e.Max, e.Key)
}

// SharedOptions holds limits across servers, on top of each server's own,
// which still come first: a refusal by them costs no call.
type SharedOptions struct {
	// Ledger counts. Required.
	Ledger Ledger
	// Server is this server's name, unique among all. Required.
	Server string

	// MaxConns, MaxPerUser, MaxPerAddr and MaxPerKey are limits over all
	// servers; 0 leaves one to each server's own limit. At least one is
	// required. Options.PerUser holds for MaxPerUser too.
	MaxConns   int
	MaxPerUser int
	MaxPerAddr int
	MaxPerKey  int

	// Lease is how long a crashed server's connections count on. It is
	// renewed three times as often. Default 15 s.
	Lease time.Duration
	// Timeout bounds one call of Ledger. Default 1 s.
	Timeout time.Duration
	// Required refuses connections while Ledger fails. Default false: then
	// each server goes on with its own limits.
	Required bool
}

func (o SharedOptions) withDefaults() (SharedOptions, error) {
	if o.Lease == 0 {
		o.Lease = 15 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	var errs []error
	if o.Ledger == nil {
		errs = append(errs, errors.New("connmgr: Options.Shared.Ledger = nil, want a Ledger"))
	}
	if o.Server == "" {
		errs = append(errs, errors.New(`connmgr: Options.Shared.Server = "", want a unique name`))
	}
	for _, n := range []int{o.MaxConns, o.MaxPerUser, o.MaxPerAddr, o.MaxPerKey} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("connmgr: Options.Shared has a limit of %d, want >= 0", n))
		}
	}
	if o.MaxConns+o.MaxPerUser+o.MaxPerAddr+o.MaxPerKey == 0 {
		errs = append(errs, errors.New("connmgr: Options.Shared has no limit, want at least one > 0"))
	}
	if o.Lease < 0 || o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("connmgr: Options.Shared.Lease = %v, Timeout = %v, want > 0", o.Lease, o.Timeout))
	}
	return o, errors.Join(errs...)
}

// SharedStats counts what happened across servers.
type SharedStats struct {
	Errors  uint64 // total calls of Ledger that failed, refusals excluded
	Evicted uint64 // total connections that another server's took the place of
	Dropped uint64 // total releases left to the lease, the queue being full
}

// maxReleases bounds the releases that wait for the Ledger. What does not fit
// ends with its lease.
const maxReleases = 4096

// shared talks to the Ledger. Its goroutines end in stop.
type shared struct {
	m      *Manager
	opt    SharedOptions
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{}

	mu       sync.Mutex // may be taken with Manager.mu held, never the other way
	releases []string
	counts   SharedStats
}

func startShared(m *Manager, opt SharedOptions) *shared {
	ctx, cancel := context.WithCancel(context.Background())
	s := &shared{m: m, opt: opt, cancel: cancel, wake: make(chan struct{}, 1)}
	s.wg.Go(func() { s.maintain(ctx) })
	s.wg.Go(func() { s.follow(ctx) })
	return s
}

func (s *shared) stop() {
	s.cancel()
	s.wg.Wait()
}

// claims returns what a request wants across servers.
func (s *shared) claims(req Request) []Claim {
	var claims []Claim
	if s.opt.MaxConns > 0 {
		claims = append(claims, Claim{Key: "conns", Max: s.opt.MaxConns})
	}
	if s.opt.MaxPerAddr > 0 && req.Addr.IsValid() {
		key := strconv.FormatUint(addrKey(req.Addr, s.m.opt.IPv6Prefix), 16)
		claims = append(claims, Claim{Key: "addr:" + key, Max: s.opt.MaxPerAddr})
	}
	if s.opt.MaxPerKey > 0 && req.Key != "" {
		claims = append(claims, Claim{Key: "key:" + req.Key, Max: s.opt.MaxPerKey})
	}
	return append(claims, s.userClaims(req.User)...)
}

func (s *shared) userClaims(user string) []Claim {
	if s.opt.MaxPerUser == 0 || user == "" {
		return nil
	}
	return []Claim{{Key: "user:" + user, Max: s.opt.MaxPerUser, Evict: s.m.opt.PerUser == EvictOldest}}
}

func (t Ticket) id() string {
	return strconv.FormatUint(uint64(t.i), 36) + "." + strconv.FormatInt(t.born, 36)
}

func (m *Manager) ticketOf(id string) Ticket {
	slot, born, _ := strings.Cut(id, ".")
	i, _ := strconv.ParseUint(slot, 36, 32)
	b, _ := strconv.ParseInt(born, 36, 64)
	return Ticket{m: m, i: uint32(i), born: b}
}

// acquire counts t's connection in the Ledger. An error refuses it.
func (s *shared) acquire(ctx context.Context, t Ticket, claims []Claim) error {
	if len(claims) == 0 {
		return nil
	}
	s.flush(ctx)
	err := s.call(ctx, func(ctx context.Context) error {
		return s.opt.Ledger.Acquire(ctx, Hold{Server: s.opt.Server, ID: t.id()}, s.opt.Lease, claims)
	})
	if err != nil {
		if _, full := errors.AsType[*LedgerError](err); full || s.opt.Required {
			return err
		}
		return nil // each server's own limits go on
	}
	s.m.mu.Lock()
	p := t.slotLocked()
	alive := p != nil && p.state&stateEvicted == 0
	if alive {
		p.state |= stateShared
	}
	s.m.mu.Unlock()
	if !alive {
		s.release(t)
	}
	return nil
}

// authenticate adds the user's claim to t's hold.
func (s *shared) authenticate(t Ticket, user string) error {
	err := s.acquire(context.Background(), t, s.userClaims(user))
	if err == nil {
		return nil
	}
	m := s.m
	m.mu.Lock()
	if p := t.slotLocked(); p != nil && p.state&stateEvicted == 0 && p.user == user {
		// Unauthenticated again, and without time: the caller closes it.
		m.slots.leave(t.i)
		m.nunauth++
		p.state |= stateExpired
	}
	m.mu.Unlock()
	return m.refused(m.sharedRefusal(err), Request{User: user})
}

func (m *Manager) sharedRefusal(err error) *LimitError {
	limit := 0
	if e, ok := errors.AsType[*LedgerError](err); ok {
		limit = e.Max
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refusalLocked(LimitShared, limit, 0, err)
}

// call runs one call of the Ledger in its time.
func (s *shared) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	err := f(ctx)
	if _, full := errors.AsType[*LedgerError](err); err != nil && !full {
		s.mu.Lock()
		s.counts.Errors++
		s.mu.Unlock()
		s.m.opt.Logger.Warn("connmgr: ledger", slog.Any("err", err))
	}
	return err
}

// release removes t's hold soon. It never blocks, and may be called with
// Manager.mu held.
func (s *shared) release(t Ticket) {
	s.mu.Lock()
	if len(s.releases) < maxReleases {
		s.releases = append(s.releases, t.id())
	} else {
		s.counts.Dropped++
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shared) flush(ctx context.Context) {
	s.mu.Lock()
	ids := s.releases
	s.releases = nil
	s.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	err := s.call(ctx, func(ctx context.Context) error {
		return s.opt.Ledger.Release(ctx, s.opt.Server, ids)
	})
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := min(len(ids), maxReleases-len(s.releases))
	s.releases = append(s.releases, ids[:keep]...)
	s.counts.Dropped += uint64(len(ids) - keep)
}

// maintain renews the leases and sends the releases until ctx ends, and then
// what is left of these.
func (s *shared) maintain(ctx context.Context) {
	tick := time.NewTicker(max(s.opt.Lease/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flush(context.WithoutCancel(ctx))
			return
		case <-s.wake:
			s.flush(ctx)
		case <-tick.C:
			s.flush(ctx)
			for from := uint32(1); from != 0 && ctx.Err() == nil; {
				var ids []string
				if ids, from = s.holds(from); len(ids) > 0 {
					s.call(ctx, func(ctx context.Context) error {
						return s.opt.Ledger.Renew(ctx, s.opt.Server, s.opt.Lease, ids)
					})
				}
			}
		}
	}
}

// holds returns the holds of one chunk of slots, and where to go on.
func (s *shared) holds(from uint32) (ids []string, next uint32) {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for next = from; next < from+chunkLen; next++ {
		if next > m.slots.high {
			return ids, 0
		}
		if p := m.slots.at(next); p.state&stateShared != 0 {
			ids = append(ids, Ticket{m: m, born: p.born, i: next}.id())
		}
	}
	return ids, next
}

// follow closes what other servers evict, until ctx ends.
func (s *shared) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.opt.Ledger.Evictions(ctx, s.opt.Server, func(id string) {
			s.m.evictShared(s.m.ticketOf(id))
		})
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		s.counts.Errors++
		s.mu.Unlock()
		s.m.opt.Logger.Warn("connmgr: ledger evictions", slog.Any("err", err))
		select {
		case <-ctx.Done():
		case <-time.After(s.opt.Timeout):
		}
	}
}

// evictShared closes the connection of t, whose place in the Ledger is gone.
// Its place here stays counted until Release, as nobody else takes it.
func (m *Manager) evictShared(t Ticket) {
	var conn Conn
	m.mu.Lock()
	p := t.slotLocked()
	if p == nil || p.state&(stateEvicted|stateExpired|stateOusted) != 0 {
		m.mu.Unlock()
		return
	}
	if p.state&stateTold == 0 {
		conn = p.conn
	}
	user := p.user
	p.state = p.state&^stateShared | stateOusted | stateTold
	m.totals.evicted++
	m.mu.Unlock()
	m.shared.mu.Lock()
	m.shared.counts.Evicted++
	m.shared.mu.Unlock()
	m.closeEvicted(conn, user)
}

func (s *shared) stats() SharedStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}
