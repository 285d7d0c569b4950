package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// retries is how often what PostgreSQL undid for the sake of others is tried
// again.
const retries = 5

// conn gives a connection when it is our turn, which must be soon.
func (s *Postgres) conn(ctx context.Context) (_ *pgxpool.Conn, release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	if s.stop.Err() != nil {
		s.mu.Unlock()
		return nil, nil, ErrClosed
	}
	s.busy.Add(1)
	s.mu.Unlock()
	select {
	case s.waiting <- struct{}{}:
	default:
		s.busy.Done()
		s.stats.refused.Add(1)
		return nil, nil, ErrFull
	}
	leave := func() { <-s.waiting; s.busy.Done() }
	wait, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	c, err := s.pool.Acquire(wait)
	if err == nil {
		return c, func() { c.Release(); leave() }, nil
	}
	leave()
	switch {
	case s.stop.Err() != nil:
		err = ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	case wait.Err() != nil:
		s.stats.refused.Add(1)
		err = fmt.Errorf("%w: no connection within %v", ErrFull, s.o.Wait)
	}
	return nil, nil, err
}

// attempt is one try on one connection.
type attempt struct {
	began bool // a row was handed out
	sent  bool // what cannot be undone any more was sent
	cut   bool // the connection broke
}

// use runs f on a connection, and again when that is known to do no harm: what
// PostgreSQL undid (a deadlock, a serialisation conflict), and what was neither
// sent nor seen before the connection broke. f has Options.Timeout and a little
// more, in which the server's own timeout is heard of; it does not depend on ctx.
func (s *Postgres) use(ctx context.Context, f func(context.Context, *pgx.Conn, *attempt) error) error {
	once := func(a *attempt) error {
		c, release, err := s.conn(ctx)
		if err != nil {
			return err
		}
		defer release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Timeout+500*time.Millisecond)
		defer cancel()
		err = f(ctx, c.Conn(), a)
		if a.cut = err != nil && ctx.Err() == nil && c.Conn().IsClosed(); a.cut {
			s.pool.Reset() // the idle ones were probably cut as well
		}
		return err
	}
	for try := 0; ; try++ {
		var a attempt
		err := once(&a)
		undone := false
		if e, ok := errors.AsType[*pgconn.PgError](err); ok {
			undone = e.Code == "40001" || e.Code == "40P01"
		}
		again := undone || a.cut && !a.began && (!a.sent || pgconn.SafeToRetry(err))
		if err == nil || !again || try == retries {
			return err
		}
		s.stats.retries.Add(1)
		select {
		case <-ctx.Done():
			return err
		case <-s.stop.Done():
			return err
		case <-time.After(rand.N(time.Millisecond << (2 * try))): // up to a quarter of a second
		}
	}
}

// run runs one statement, calls scan for each row if it is not nil, and gives how
// many rows were changed or read.
func (s *Postgres) run(ctx context.Context, c *pgx.Conn, text string, args []any, scan func(scanner) error) (int, error) {
	if s.seen != nil {
		s.seen(text, args)
	}
	s.stats.statement()
	rows, err := c.Query(ctx, text, plain(args)...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if scan == nil {
			continue
		}
		if err := scan(rows); err != nil {
			return 0, err
		}
	}
	rows.Close()
	return int(rows.CommandTag().RowsAffected()), rows.Err()
}

// rows runs a query and calls scan for every row.
func (s *Postgres) rows(ctx context.Context, text string, args []any, scan func(scanner) error) error {
	return s.fault(s.use(ctx, func(ctx context.Context, c *pgx.Conn, a *attempt) error {
		_, err := s.run(ctx, c, text, args, func(r scanner) error { a.began = true; return scan(r) })
		return err
	}))
}

// row runs a query for one row. dating.ErrNotFound when there is none.
func (s *Postgres) row(ctx context.Context, text string, args []any, into ...any) error {
	found := false
	err := s.rows(ctx, text, args, func(r scanner) error { found = true; return r.Scan(into...) })
	if err == nil && !found {
		return dating.ErrNotFound
	}
	return err
}

// change runs one statement that writes, which is a transaction, and gives how
// many rows it changed or returned.
func (s *Postgres) change(ctx context.Context, text string, args []any, scan func(scanner) error) (n int, err error) {
	err = s.use(ctx, func(ctx context.Context, c *pgx.Conn, a *attempt) (err error) {
		a.sent = true
		n, err = s.run(ctx, c, text, args, scan)
		return err
	})
	return n, s.wrote(err)
}

// exec is change without rows.
func (s *Postgres) exec(ctx context.Context, text string, args ...any) (int, error) {
	return s.change(ctx, text, args, nil)
}

// pgTx is a transaction of several statements.
type pgTx struct {
	s    *Postgres
	ctx  context.Context
	conn *pgx.Conn
}

// do runs f in a transaction. f may run more than once: it only writes results
// of its own.
func (s *Postgres) do(ctx context.Context, f func(*pgTx) error) error {
	return s.wrote(s.use(ctx, func(ctx context.Context, c *pgx.Conn, a *attempt) error {
		frame, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		if err := f(&pgTx{s, ctx, c}); err != nil {
			_ = frame.Rollback(ctx) // if it cannot, the connection ends and the server does
			return err
		}
		a.sent = true
		return frame.Commit(ctx)
	}))
}

// wrote notes how a write ended.
func (s *Postgres) wrote(err error) error {
	switch {
	case err == nil:
		s.stats.transactions.Add(1)
		s.ping.wrote(nil)
	case !isAnswer(err) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled):
		s.ping.wrote(err)
	}
	return s.fault(err)
}

// exec runs a statement and gives the number of rows it changed.
func (t *pgTx) exec(text string, args ...any) (int, error) {
	return t.s.run(t.ctx, t.conn, text, args, nil)
}

// rows runs a query, or a statement that returns rows.
func (t *pgTx) rows(text string, args []any, scan func(scanner) error) error {
	_, err := t.s.run(t.ctx, t.conn, text, args, scan)
	return err
}

// violates reports whether err is that a constraint does not hold.
func violates(err error, constraint string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505" && e.ConstraintName == constraint
}

// plain gives arguments that PostgreSQL can take: its text has no NUL and is
// UTF-8. What people send to look something up may be neither; it finds nothing.
func plain(args []any) []any {
	for i, a := range args {
		switch v := a.(type) {
		case string:
			args[i] = plainText(v)
		case dating.UserID:
			args[i] = plainText(string(v))
		case []dating.UserID:
			list := make([]string, len(v))
			for j, id := range v {
				list[j] = plainText(string(id))
			}
			args[i] = list
		}
	}
	return args
}

func plainText(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
