package memmgr

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// ErrNoProgress is returned by Archive.Run when a whole batch was selected,
// archived and confirmed, and yet Delete removed nothing of it: the next
// Select would return the same records for ever.
var ErrNoProgress = errors.New("memmgr: archive makes no progress")

// Archive moves records of type R out of a live store, so that they are
// deleted there only after they have been read back from the archive. It is
// written once, here, in the only order that loses nothing:
//
//	Select a batch → Store it in the archive → Confirm by reading back → Delete what was confirmed
//
// Delete is given a Confirmed, which nothing but this package can fill: code
// that deletes what was not archived does not compile.
//
// K identifies one state of one record: an ID if records do not change after
// they have expired, else an ID and a version, so that a record that changed
// after it was selected is neither confirmed nor deleted.
//
// The process may be killed at any point. Records that were stored and not yet
// deleted are then selected again; because Store ignores keys that are in the
// archive already, they are in it once.
//
// An Archive holds no state between runs. Run may not be called concurrently
// with itself; as a Sweep's Run it is not.
type Archive[K comparable, R any] struct {
	o ArchiveOptions[K, R]
}

// ArchiveOptions are the steps and the bounds of an Archive.
type ArchiveOptions[K comparable, R any] struct {
	// Batch is how many records are moved at a time. Required, > 0.
	Batch int

	// MaxBatches bounds one Run. Default 1000. What is left is for the next.
	MaxBatches int

	// Key returns the key of a record. Required.
	Key func(R) K

	// Select returns at most limit records that may leave the live store,
	// oldest first. Required.
	Select func(ctx context.Context, limit int) ([]R, error)

	// Store writes the batch to the archive, and returns when it is as
	// durable as it is to be. A key that is there already is left as it is:
	// in SQL, INSERT … ON CONFLICT DO NOTHING. Required.
	Store func(ctx context.Context, batch []R) error

	// Confirm reads back which of the keys the archive holds. It must ask the
	// archive, not remember. Required.
	Confirm func(ctx context.Context, keys []K) ([]K, error)

	// Delete removes from the live store exactly the records of c, each only
	// if it still has this key, and returns how many it removed. Required.
	Delete func(ctx context.Context, c Confirmed[K]) (int, error)

	// Account, if set, is asked for Batch × BytesPerRecord before a batch is
	// selected: an archive has to work when memory is short, so give it an
	// account with a guaranteed minimum.
	Account interface {
		Reserve(bytes int64) error
		Release(bytes int64)
	}

	// BytesPerRecord is what one record costs while it is moved. Required
	// with Account.
	BytesPerRecord int64
}

// Confirmed is a batch of keys that the archive has been seen to hold. Only
// Archive makes one with keys in it.
type Confirmed[K comparable] struct {
	keys []K
}

// Len returns the number of keys.
func (c Confirmed[K]) Len() int { return len(c.keys) }

// All iterates over the keys, in the order in which they were selected.
func (c Confirmed[K]) All() iter.Seq[K] { return slices.Values(c.keys) }

// NewArchive returns an Archive, or an error that names every fault of o.
func NewArchive[K comparable, R any](o ArchiveOptions[K, R]) (*Archive[K, R], error) {
	var errs []error
	if o.Batch <= 0 {
		errs = append(errs, fmt.Errorf("memmgr: ArchiveOptions.Batch = %d, want > 0", o.Batch))
	}
	if o.MaxBatches == 0 {
		o.MaxBatches = 1000
	}
	if o.MaxBatches < 0 {
		errs = append(errs, fmt.Errorf("memmgr: ArchiveOptions.MaxBatches = %d, want > 0", o.MaxBatches))
	}
	for _, f := range []struct {
		name string
		nil  bool
	}{
		{"Key", o.Key == nil}, {"Select", o.Select == nil}, {"Store", o.Store == nil},
		{"Confirm", o.Confirm == nil}, {"Delete", o.Delete == nil},
	} {
		if f.nil {
			errs = append(errs, fmt.Errorf("memmgr: ArchiveOptions.%s is nil", f.name))
		}
	}
	if o.Account != nil && o.BytesPerRecord <= 0 {
		errs = append(errs, fmt.Errorf("memmgr: ArchiveOptions.BytesPerRecord = %d, want > 0 with an Account", o.BytesPerRecord))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Archive[K, R]{o: o}, nil
}

// Run moves batches until Select returns less than a whole one, MaxBatches are
// moved, ctx ends, or a step fails; what was moved until then is moved. It has
// the signature of Sweep.Run. Errors are those of the steps and of the
// account, wrapped, and ErrNoProgress.
func (a *Archive[K, R]) Run(ctx context.Context) (SweepResult, error) {
	var sum SweepResult
	for range a.o.MaxBatches {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := a.batch(ctx, &sum)
		if err != nil {
			return sum, err
		}
		if n < a.o.Batch {
			break
		}
	}
	return sum, nil
}

// batch moves one batch and returns how many records it selected.
func (a *Archive[K, R]) batch(ctx context.Context, sum *SweepResult) (int, error) {
	if a.o.Account != nil {
		bytes := int64(a.o.Batch) * a.o.BytesPerRecord
		if err := a.o.Account.Reserve(bytes); err != nil {
			return 0, fmt.Errorf("archive: reserve: %w", err)
		}
		defer a.o.Account.Release(bytes)
	}
	records, err := a.o.Select(ctx, a.o.Batch)
	if err != nil {
		return 0, fmt.Errorf("archive: select: %w", err)
	}
	if len(records) == 0 {
		return 0, nil
	}
	if len(records) > a.o.Batch {
		return 0, fmt.Errorf("archive: select: %d records, asked for %d", len(records), a.o.Batch)
	}
	sum.Examined += int64(len(records))
	// The keys are taken now: Store may not change which records are meant.
	keys := make([]K, 0, len(records))
	for _, r := range records {
		keys = append(keys, a.o.Key(r))
	}
	if err := a.o.Store(ctx, records); err != nil {
		return 0, fmt.Errorf("archive: store: %w", err)
	}
	found, err := a.o.Confirm(ctx, slices.Clone(keys))
	if err != nil {
		return 0, fmt.Errorf("archive: confirm: %w", err)
	}
	held := make(map[K]bool, len(found))
	for _, k := range found {
		held[k] = true
	}
	// Only what was both stored now and found; what Confirm returned beyond
	// that is not ours to delete.
	confirmed := slices.DeleteFunc(keys, func(k K) bool { return !held[k] })
	missing := len(records) - len(confirmed)
	sum.Archived += int64(len(confirmed))
	deleted := 0
	if len(confirmed) > 0 {
		deleted, err = a.o.Delete(ctx, Confirmed[K]{confirmed})
		sum.Deleted += int64(max(0, deleted))
		if err != nil {
			return 0, fmt.Errorf("archive: delete: %w", err)
		}
	}
	if missing > 0 {
		return 0, fmt.Errorf("archive: confirm: %d of %d records are not in the archive", missing, len(records))
	}
	if deleted <= 0 && len(records) == a.o.Batch {
		return 0, ErrNoProgress
	}
	return len(records), nil
}
