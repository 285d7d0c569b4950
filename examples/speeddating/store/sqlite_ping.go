package store

import (
	"context"
	"errors"
	"io"
	"os"
)

// Ping reports whether the database can be read and written: its file is
// still the one that was opened, and a transaction of the writer begins, reads
// and ends, all within a second; after a write that failed it writes, too. One
// look serves all who ask within a second.
func (s *SQLite) Ping(ctx context.Context) error { return s.ping.ask(ctx, s.look) }

func (s *SQLite) look() error {
	if err := s.sameFile(); err != nil {
		return s.fault(err)
	}
	return s.do(context.Background(), func(t *tx) error {
		if s.ping.failing.Load() {
			_, err := t.exec(`INSERT INTO probe (id, noise) VALUES (1, ?) ON CONFLICT DO UPDATE SET noise = excluded.noise`, probe())
			return err
		}
		return t.rows(`SELECT node FROM nodes LIMIT 1`, nil, func(r scanner) error {
			var node string
			return r.Scan(&node)
		})
	})
}

// magic begins every file of SQLite.
const magic = "SQLite format 3\x00"

// sameFile looks at the disk, which the database itself need not do for what
// it has in memory.
func (s *SQLite) sameFile() error {
	now, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	opened, err := s.disk.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, opened) {
		return errors.New("the file is not the one that was opened")
	}
	head := make([]byte, len(magic))
	if _, err := s.disk.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(head) != magic {
		return errors.New("the file is not a database any more")
	}
	return nil
}
