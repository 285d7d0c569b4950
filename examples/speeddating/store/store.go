// Package store is dating.Store on SQL: SQLite for one machine with no set-up,
// PostgreSQL where several servers share one truth. Open selects; package
// storetest holds the suite that both pass.
//
// SQLite is one file in WAL mode, one writer that commits what waits in one
// transaction (group commit), a few connections that only read. PostgreSQL is
// a bounded pool; what must be one change is one statement or one transaction,
// and constraints, not good will, hold "one call a person".
//
// # Memory
//
// Options.Conns connections and, for SQLite, one writer, each with a page cache
// of 1 MiB; at most Options.Queue requests wait.
//
// # Concurrency
//
// All methods may be called by any goroutine. An SQLite store owns one
// goroutine, the writer; a PostgreSQL store those of its pool; both for the
// moment of a Ping another. Close ends them. A write that has begun is waited
// for, whatever its context says.
//
// # Overload
//
// A request that finds Options.Queue others waiting, or gets no turn within
// Options.Wait, is refused with ErrFull and counted. One that PostgreSQL does
// not answer within Options.Timeout fails. A store whose last write failed is
// not ready (Ping) until a write succeeds again.
//
// # Durability
//
// A method that returned nil has reached the disk and survives kill -9 and
// power loss: synchronous=FULL in SQLite, synchronous_commit=on in PostgreSQL.
// One that returned a fault has usually done nothing; when the connection was cut
// while PostgreSQL committed, nobody can know, and callers ask or repeat.
//
// # Errors
//
// The dating.Err… sentinels, ErrFull, ErrClosed, and the faults of the
// database.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Options of a store. Zero fields are defaults.
type Options struct {
	Conns   int           // connections: to PostgreSQL 8, for SQLite 4 that read
	Queue   int           // requests (of SQLite: writes) that may wait: 1024
	Wait    time.Duration // how long one may wait for its turn: 3 s
	Timeout time.Duration // how long PostgreSQL may take for one: 5 s
	Connect time.Duration // how long Open tries to reach PostgreSQL: 15 s
	Cache   int           // bytes of pages that each connection of SQLite keeps: 1 MiB
}

func (o Options) withDefaults(conns int) (Options, error) {
	if o.Conns < 0 || o.Queue < 0 || o.Wait < 0 || o.Timeout < 0 || o.Connect < 0 || o.Cache < 0 {
		return o, fmt.Errorf("store: Options %+v, want no negative field", o)
	}
	def(&o.Conns, conns)
	def(&o.Queue, 1024)
	def(&o.Wait, 3*time.Second)
	def(&o.Timeout, 5*time.Second)
	def(&o.Connect, 15*time.Second)
	def(&o.Cache, 1<<20)
	return o, nil
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Store is a dating.Store that must be closed.
type Store interface {
	dating.Store
	Close() error
}

// ErrFull is what a request gets that the database had no turn for.
var ErrFull = errors.New("store: too many requests wait")

// ErrClosed is what every method returns after Close.
var ErrClosed = errors.New("store: closed")

// IsPostgres reports whether db names a PostgreSQL and not a file.
func IsPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://")
}

// Open opens the database that db names: postgres://…, or a file of SQLite.
func Open(ctx context.Context, db string, o Options) (Store, error) {
	if IsPostgres(db) {
		return opened(OpenPostgres(ctx, db, o))
	}
	return opened(OpenSQLite(ctx, db, o))
}

// opened keeps a nil pointer from becoming a Store that is not nil.
func opened[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

type scanner interface{ Scan(into ...any) error }

// isAnswer tells the answers of a Store from its faults.
func isAnswer(err error) bool {
	return errors.Is(err, dating.ErrNotFound) || errors.Is(err, dating.ErrConflict) ||
		errors.Is(err, dating.ErrBusy) || errors.Is(err, dating.ErrNotTalked)
}

// changed turns "nothing was changed" into the answer it stands for.
func changed(n int, err, none error) error {
	if err == nil && n == 0 {
		return none
	}
	return err
}

// encode gives v as JSON, and empty for a nil map or slice.
func encode(v any, empty string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is no page: six bytes for a < would be waste
	if err := e.Encode(v); err != nil {
		return "", err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if text == "null" {
		return empty, nil
	}
	return text, nil
}

func decode(text string, into any) error { return json.Unmarshal([]byte(text), into) }

// scanJSON appends what a row of one column holds.
func scanJSON[T any](r scanner, list *[]T) error {
	var text string
	if err := r.Scan(&text); err != nil {
		return err
	}
	var v T
	if err := decode(text, &v); err != nil {
		return err
	}
	*list = append(*list, v)
	return nil
}
