package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrationLock is the advisory lock that servers which start at once queue
// for. Its number only has to be ours.
const migrationLock = 0x706c696d736f6c6c // "plimsoll"

// migratePostgres brings the database to the newest schema: forward only, all
// of it in one transaction, one server at a time. It tries until ctx ends to
// reach the database, which may be starting too.
func migratePostgres(ctx context.Context, config *pgx.ConnConfig) error {
	config = config.Copy()
	// Waiting for another server's migration is no slow statement.
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	for {
		err := migrateOnce(ctx, config)
		_, unreachable := errors.AsType[*pgconn.ConnectError](err)
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code[:2] != "57" { // not "starting up" or "shutting down"
			unreachable = false // it answers: no such database, wrong password
		}
		if !unreachable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func migrateOnce(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if err := migrateLocked(ctx, tx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return tx.Commit(ctx)
}

func migrateLocked(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	var encoding string
	var version int
	if err := tx.QueryRow(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s, want UTF8", encoding)
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM migrations`).Scan(&version); err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "migrations/postgres/*.sql") // in lexical order
	if err != nil {
		return err
	}
	if version > len(files) {
		return newer(version, len(files))
	}
	for i, name := range files[version:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO migrations (version) VALUES ($1)`, version+i+1); err != nil {
			return err
		}
	}
	return nil
}

func newer(has, knows int) error {
	return fmt.Errorf("the database has schema %d, this program knows %d: it was written by a newer one", has, knows)
}
