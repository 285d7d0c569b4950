package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	pingWithin = time.Second // a database that takes longer does not answer
	pingFor    = time.Second // how long an answer is good for
)

// ping is the last look at the database, and the one under way.
type ping struct {
	mu    sync.Mutex
	began time.Time
	ended time.Time
	err   error
	done  chan struct{} // closed when the one under way has ended; nil: none is
}

// Ping reports whether the database can be read and written: its file is
// still the one that was opened, and a transaction of the writer begins, reads
// and ends, all within a second. One look serves all who ask within a second.
func (s *SQLite) Ping(ctx context.Context) error {
	p := &s.ping
	p.mu.Lock()
	if p.done == nil {
		if !p.ended.IsZero() && time.Since(p.ended) < pingFor {
			defer p.mu.Unlock()
			return p.err
		}
		// A look that hangs is not repeated; the end of the store ends it.
		done := make(chan struct{})
		p.began, p.done = time.Now(), done
		go func() {
			err := s.look()
			p.mu.Lock()
			p.ended, p.err, p.done = time.Now(), err, nil
			p.mu.Unlock()
			close(done)
		}()
	}
	done, left := p.done, pingWithin-time.Since(p.began)
	p.mu.Unlock()
	late := time.NewTimer(left)
	defer late.Stop()
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-late.C:
		return fmt.Errorf("store: no answer within %v", pingWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *SQLite) look() error {
	if err := s.sameFile(); err != nil {
		return s.fault(err)
	}
	return s.do(context.Background(), func(t *tx) error {
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
