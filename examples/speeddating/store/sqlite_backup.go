package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Backup writes a copy of an SQLite file to a new file, as it is at one moment,
// while servers go on using it. The copy is a database like any other. What
// PostgreSQL holds is copied by its own pg_dump.
func Backup(ctx context.Context, db, copy string) error {
	if IsPostgres(db) {
		return errors.New("store: a PostgreSQL is copied by pg_dump")
	}
	if _, err := os.Stat(db); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if _, err := os.Stat(copy); err == nil {
		return fmt.Errorf("store: backup: %s is there already", copy)
	}
	o, err := Options{}.withDefaults(1)
	if err != nil {
		return err
	}
	from, err := sql.Open("sqlite", dsn(db, o, false))
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer from.Close()
	if _, err := from.ExecContext(ctx, `VACUUM INTO ?`, copy); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	f, err := os.Open(copy) // VACUUM INTO leaves it to others to bring it to the disk
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer f.Close()
	return f.Sync()
}
