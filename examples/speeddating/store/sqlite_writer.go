package store

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"
)

// batch is how many writes one commit may carry.
const batch = 64

// op is one write on its way through the queue.
type op struct {
	run   func(*tx) error // may run twice: it only writes results of its own
	taken atomic.Bool     // by the writer, or by a caller who gave up
	err   error
	done  chan struct{}
}

// tx is what an op writes with.
type tx struct {
	s *SQLite
	// stmts are prepared on the writer's connection; only the writer uses them.
	stmts map[string]*sql.Stmt
}

// do runs a write and waits until it is on disk. Once the writer has begun
// with it, the answer is waited for, whatever ctx says; it has to begin within
// s.wait.
func (s *SQLite) do(ctx context.Context, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{run: run, done: make(chan struct{})}
	select {
	case <-s.stop:
		return ErrClosed
	case s.queue <- o:
	default:
		s.stats.refused.Add(1)
		return ErrFull
	}
	late := time.NewTimer(s.wait)
	defer late.Stop()
	select {
	case <-o.done:
		return o.err
	case <-late.C:
		if o.taken.CompareAndSwap(false, true) {
			s.stats.refused.Add(1)
			return ErrFull
		}
		<-o.done
		return o.err
	case <-ctx.Done():
		if o.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		<-o.done
		return o.err
	case <-s.gone:
		// The writer takes what was queued before it ends; what slipped in
		// afterwards is ours to give up.
		if o.taken.CompareAndSwap(false, true) {
			return ErrClosed
		}
		<-o.done
		return o.err
	}
}

// writer is the only goroutine that writes. It commits all that waits at once.
func (s *SQLite) writer() {
	defer close(s.gone)
	t := &tx{s: s, stmts: make(map[string]*sql.Stmt)}
	defer func() {
		for _, st := range t.stmts {
			st.Close()
		}
	}()
	for {
		select {
		case o := <-s.queue:
			s.commit(t, s.collect(o))
			continue
		default:
		}
		select {
		case o := <-s.queue:
			s.commit(t, s.collect(o))
		case <-s.stop:
			select {
			case o := <-s.queue:
				s.commit(t, s.collect(o))
			default:
				return
			}
		}
	}
}

func (s *SQLite) collect(first *op) []*op {
	ops := []*op{first}
	for len(ops) < batch {
		select {
		case o := <-s.queue:
			ops = append(ops, o)
		default:
			return ops
		}
	}
	return ops
}

// commit runs ops in one transaction. An op that answers (busy, conflict) is
// undone alone; a fault of the database undoes all, and then each is tried by
// itself so that it hits only the one whose fault it is. When not even a
// transaction begins, none is tried again: each would wait for as long.
func (s *SQLite) commit(t *tx, ops []*op) {
	live := ops[:0]
	for _, o := range ops {
		if o.taken.CompareAndSwap(false, true) {
			live = append(live, o)
		}
	}
	if len(live) == 0 {
		return
	}
	begun, err := s.transaction(t, live)
	for _, o := range live {
		if err != nil && begun && len(live) > 1 {
			_, err := s.transaction(t, []*op{o})
			s.wrote(o, err)
		} else {
			s.wrote(o, err)
		}
		close(o.done)
	}
}

// wrote gives an op its fault, if its transaction had one.
func (s *SQLite) wrote(o *op, err error) {
	s.ping.wrote(err)
	if err != nil {
		o.err = s.fault(err)
	}
}

// transaction gives the fault that undid it all, or nil; answers are in each
// op. begun: it was not the first step that failed.
func (s *SQLite) transaction(t *tx, ops []*op) (begun bool, err error) {
	if err := t.raw("BEGIN IMMEDIATE"); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			t.raw("ROLLBACK") // the database may have done so itself
		}
	}()
	for _, o := range ops {
		o.err = nil
		if err := t.raw("SAVEPOINT op"); err != nil {
			return true, err
		}
		if o.err = o.run(t); o.err != nil {
			if !isAnswer(o.err) {
				return true, o.err
			}
			if err := t.raw("ROLLBACK TO op"); err != nil {
				return true, err
			}
		}
		if err := t.raw("RELEASE op"); err != nil {
			return true, err
		}
	}
	if err := t.raw("COMMIT"); err != nil {
		return true, err
	}
	s.stats.transactions.Add(1)
	return true, nil
}

func (t *tx) stmt(text string) (*sql.Stmt, error) {
	if st := t.stmts[text]; st != nil {
		return st, nil
	}
	st, err := t.s.conn.PrepareContext(context.Background(), text)
	if err == nil {
		t.stmts[text] = st
	}
	return st, err
}

// raw runs what is not counted: the frame of a transaction.
func (t *tx) raw(text string) error {
	st, err := t.stmt(text)
	if err == nil {
		_, err = st.Exec()
	}
	return err
}

// exec runs a statement and gives the number of rows it changed.
func (t *tx) exec(text string, args ...any) (int, error) {
	st, err := t.stmt(text)
	if err != nil {
		return 0, err
	}
	t.s.stats.statement()
	res, err := st.Exec(args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// rows runs a query, or a statement that returns rows.
func (t *tx) rows(text string, args []any, scan func(scanner) error) error {
	st, err := t.stmt(text)
	if err != nil {
		return err
	}
	t.s.stats.statement()
	rows, err := st.Query(args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}
