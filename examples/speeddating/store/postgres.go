package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Postgres is a dating.Store in a PostgreSQL that several servers may share.
type Postgres struct {
	pool    *pgxpool.Pool
	o       Options
	waiting chan struct{} // a token for each request that waits or runs
	stats   counters
	ping    ping
	seen    func(text string, args []any) // for tests: every statement

	// What is asked when somebody connects.
	sessions  gather[dating.TokenHash, dating.Session]
	users     gather[dating.UserID, dating.User]
	relations gather[viewer, []relative]

	stop context.Context // ended by Close
	end  context.CancelFunc
	busy sync.WaitGroup
	mu   sync.Mutex // orders Close after the last busy.Add
}

var _ dating.Store = (*Postgres)(nil)

// OpenPostgres connects to the database, brings its schema up to date, and
// starts a pool. While the database cannot be reached it tries, for
// Options.Connect. What a connection's URL may say besides is pgx's: sslmode,
// search_path, pool_max_conns and so on.
func OpenPostgres(ctx context.Context, url string, o Options) (*Postgres, error) {
	o, err := o.withDefaults(8)
	if err != nil {
		return nil, err
	}
	config, err := pgConfig(url, &o)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	first, cancel := context.WithTimeout(ctx, o.Connect)
	defer cancel()
	if err := migratePostgres(first, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", redacted(url), err)
	}
	s := &Postgres{o: o, waiting: make(chan struct{}, o.Queue+o.Conns)}
	s.sessions = gather[dating.TokenHash, dating.Session]{fetch: s.sessionsOf, most: gatherWaits * o.Queue, full: &s.stats.refused}
	s.users = gather[dating.UserID, dating.User]{fetch: s.usersOf, most: gatherWaits * o.Queue, full: &s.stats.refused}
	s.relations = gather[viewer, []relative]{fetch: s.relationsOf, most: gatherWaits * o.Queue, full: &s.stats.refused}
	s.stop, s.end = context.WithCancel(context.Background())
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		s.end()
		return nil, fmt.Errorf("store: open %s: %w", redacted(url), err)
	}
	return s, nil
}

// pgConfig reads the URL and adds our bounds.
func pgConfig(text string, o *Options) (*pgxpool.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read") // it may hold a password
	}
	c, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, err
	}
	if u.Query().Has("pool_max_conns") {
		o.Conns = int(c.MaxConns)
	}
	c.MaxConns = int32(o.Conns)
	if !u.Query().Has("connect_timeout") {
		c.ConnConfig.ConnectTimeout = 3 * time.Second
	}
	// The server's own bounds, for when it does not learn that we have given up.
	for name, d := range map[string]time.Duration{
		"statement_timeout": o.Timeout, "idle_in_transaction_session_timeout": 2 * o.Timeout,
	} {
		if _, given := c.ConnConfig.RuntimeParams[name]; !given {
			c.ConnConfig.RuntimeParams[name] = fmt.Sprint(d.Milliseconds())
		}
	}
	if _, given := c.ConnConfig.RuntimeParams["application_name"]; !given {
		c.ConnConfig.RuntimeParams["application_name"] = "speeddating"
	}
	return c, nil
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the database"
	}
	u.RawQuery = "" // a password may be there as well
	return u.Redacted()
}

// Stats gives the figures since the start.
func (s *Postgres) Stats() dating.StoreStats {
	st, p := s.stats.stats(), s.pool.Stat()
	st.Waits = uint64(p.EmptyAcquireCount())
	st.WaitSeconds = p.EmptyAcquireWaitTime().Seconds()
	st.Conns, st.MaxConns = int(p.TotalConns()), int(p.MaxConns())
	return st
}

// Close waits for what runs, refuses what waits, and ends the pool.
func (s *Postgres) Close() error {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.busy.Wait()
	s.pool.Close()
	return nil
}

// Ping reports whether the database can be read and written: it answers and is
// no standby; after a write that failed, a write is tried. One look serves all who
// ask within a second.
func (s *Postgres) Ping(ctx context.Context) error { return s.ping.ask(ctx, s.look) }

func (s *Postgres) look() error {
	ctx, cancel := context.WithTimeout(s.stop, pingWithin)
	defer cancel()
	c, release, err := s.conn(ctx)
	if err != nil {
		return s.fault(err)
	}
	defer release()
	if s.ping.failing.Load() {
		_, err = s.run(ctx, c.Conn(), `INSERT INTO probe (id, noise) VALUES (1, $1)
			ON CONFLICT (id) DO UPDATE SET noise = excluded.noise`, []any{probe()}, nil)
		if err == nil {
			s.ping.wrote(nil)
		}
		return s.fault(err)
	}
	readOnly := false
	_, err = s.run(ctx, c.Conn(), `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean`, nil,
		func(r scanner) error { return r.Scan(&readOnly) })
	if err == nil && readOnly {
		err = errors.New("the database only reads")
	}
	return s.fault(err)
}

// fault counts a fault of the database and says where it is from.
func (s *Postgres) fault(err error) error {
	if err == nil || isAnswer(err) || errors.Is(err, context.Canceled) || errors.Is(err, ErrFull) || errors.Is(err, ErrClosed) {
		return err
	}
	s.stats.errors.Add(1)
	return fmt.Errorf("store: %w", err)
}
