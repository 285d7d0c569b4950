package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// SQLite is a dating.Store in one file.
type SQLite struct {
	reads *sql.DB
	write *sql.DB
	conn  *sql.Conn // the writer's
	path  string
	wait  time.Duration
	disk  *os.File // to look at only; see open
	stats counters
	ping  ping

	queue chan *op
	stop  chan struct{}
	once  sync.Once
	gone  chan struct{} // closed when the writer has ended

	mu       sync.Mutex
	prepared map[string]*sql.Stmt // for reading, one per text
}

var _ dating.Store = (*SQLite)(nil)

// OpenSQLite opens or creates the file, brings its schema up to date and
// starts the writer.
func OpenSQLite(ctx context.Context, path string, o Options) (*SQLite, error) {
	if path == "" {
		return nil, errors.New("store: no file given")
	}
	o, err := o.withDefaults(4)
	if err != nil {
		return nil, err
	}
	s := &SQLite{path: path, wait: o.Wait, queue: make(chan *op, o.Queue), stop: make(chan struct{}), gone: make(chan struct{}), prepared: make(map[string]*sql.Stmt)}
	if err := s.open(ctx, path, o); err != nil {
		s.closeDB()
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	go s.writer()
	return s, nil
}

func (s *SQLite) open(ctx context.Context, path string, o Options) (err error) {
	if s.write, err = sql.Open("sqlite", dsn(path, o, false)); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if err := migrate(ctx, s.write); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if s.conn, err = s.write.Conn(ctx); err != nil {
		return err
	}
	// Held open as long as the database is: closing any descriptor of a file
	// drops the locks that the process has on it.
	if s.disk, err = os.Open(path); err != nil {
		return err
	}
	if s.reads, err = sql.Open("sqlite", dsn(path, o, true)); err != nil {
		return err
	}
	s.reads.SetMaxOpenConns(o.Conns)
	s.reads.SetMaxIdleConns(o.Conns)
	return s.reads.PingContext(ctx)
}

func dsn(path string, o Options, readOnly bool) string {
	q := url.Values{}
	for _, p := range []string{
		fmt.Sprintf("busy_timeout(%d)", o.Wait.Milliseconds()),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", fmt.Sprintf("cache_size(-%d)", max(o.Cache>>10, 64)), "temp_store(MEMORY)",
	} {
		q.Add("_pragma", p)
	}
	if readOnly {
		q.Add("_pragma", "query_only(ON)")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// Stats gives the figures since the start.
func (s *SQLite) Stats() dating.StoreStats {
	st := s.stats.stats()
	r := s.reads.Stats()
	st.Waits, st.WaitSeconds = uint64(r.WaitCount), r.WaitDuration.Seconds()
	st.Conns, st.MaxConns = r.OpenConnections+1, r.MaxOpenConnections+1
	return st
}

// Close lets the writes that wait finish and closes the file.
func (s *SQLite) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.gone
	return s.closeDB()
}

func (s *SQLite) closeDB() error {
	var errs []error
	s.mu.Lock()
	for _, st := range s.prepared {
		errs = append(errs, st.Close())
	}
	clear(s.prepared)
	s.mu.Unlock()
	if s.reads != nil {
		errs = append(errs, s.reads.Close())
	}
	if s.conn != nil {
		if err := s.conn.Close(); !errors.Is(err, sql.ErrConnDone) {
			errs = append(errs, err)
		}
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.disk != nil {
		if err := s.disk.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// stmt gives the prepared form of text. The texts are the constants of this
// package, so that the map is bounded by the program.
func (s *SQLite) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	st := s.prepared[text]
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := s.reads.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.prepared[text]; other != nil {
		st.Close()
		return other, nil
	}
	s.prepared[text] = st
	return st, nil
}

// rows runs a query and calls scan for every row.
func (s *SQLite) rows(ctx context.Context, text string, args []any, scan func(scanner) error) error {
	st, err := s.stmt(ctx, text)
	if err != nil {
		return s.fault(err)
	}
	s.stats.statement()
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return s.fault(err)
	}
	return s.fault(each(rows, scan))
}

// row runs a query for one row. dating.ErrNotFound when there is none.
func (s *SQLite) row(ctx context.Context, text string, args []any, into ...any) error {
	found := false
	err := s.rows(ctx, text, args, func(r scanner) error { found = true; return r.Scan(into...) })
	if err == nil && !found {
		return dating.ErrNotFound
	}
	return err
}

func each(rows *sql.Rows, scan func(scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fault counts a fault of the database and says where it is from.
func (s *SQLite) fault(err error) error {
	if err == nil || isAnswer(err) || errors.Is(err, context.Canceled) {
		return err
	}
	s.stats.errors.Add(1)
	return fmt.Errorf("store: %w", err)
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
