package compress

import (
	"container/list"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// DeduplicatorOptions configures a Deduplicator.
type DeduplicatorOptions struct {
	// MaxKeys bounds the keys remembered; the one whose content is oldest
	// goes first. Required, > 0.
	MaxKeys int
	// MaxAge is how long a content counts as known. Required, > 0.
	MaxAge time.Duration
	// Account, if set, is asked for the memory of each key. Without room a
	// message counts as new and is not remembered.
	Account Account
}

// A Deduplicator tells messages that say something new from those that
// repeat what was last said under the same key. It keeps a 128-bit hash of
// the content, with a seed of its own, and no content. It may be used from
// any goroutine and owns none.
type Deduplicator struct {
	opts  DeduplicatorOptions
	seeds [2]maphash.Seed

	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent list.List // of *seenKey, the latest first
	stats  DeduplicatorStats
}

type seenKey struct {
	key  string
	hash [2]uint64
	at   time.Time
}

// seenKeyBytes is what one key takes besides its own bytes.
const seenKeyBytes = 200

// DeduplicatorStats counts what a Deduplicator has done.
type DeduplicatorStats struct {
	// New and Repeated count the messages by verdict; RepeatedBytes are the
	// bytes that need not be sent.
	New, Repeated, RepeatedBytes uint64
	// Evicted counts keys forgotten for MaxKeys; NotKept those the Account
	// had no room for.
	Evicted, NotKept uint64
	// Keys is the number of keys remembered now.
	Keys int
}

// NewDeduplicator returns a Deduplicator, or an error that names each bad
// option.
func NewDeduplicator(o DeduplicatorOptions) (*Deduplicator, error) {
	var errs []error
	if o.MaxKeys <= 0 {
		errs = append(errs, fmt.Errorf("compress: DeduplicatorOptions.MaxKeys = %d, want > 0", o.MaxKeys))
	}
	if o.MaxAge <= 0 {
		errs = append(errs, fmt.Errorf("compress: DeduplicatorOptions.MaxAge = %v, want > 0", o.MaxAge))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Deduplicator{opts: o, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, byKey: make(map[string]*list.Element)}, nil
}

// New reports whether content differs from what was last seen under key, or
// that was longer ago than MaxAge, and remembers it.
func (d *Deduplicator) New(key string, content []byte) bool {
	hash := [2]uint64{maphash.Bytes(d.seeds[0], content), maphash.Bytes(d.seeds[1], content)}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expireLocked(now)
	e := d.byKey[key]
	if e == nil {
		d.stats.New++
		d.keepLocked(key, hash, now)
		return true
	}
	seen := e.Value.(*seenKey)
	if seen.hash == hash {
		d.stats.Repeated++
		d.stats.RepeatedBytes += uint64(len(content))
		return false
	}
	d.stats.New++
	seen.hash, seen.at = hash, now
	d.recent.MoveToFront(e)
	return true
}

// Forget drops a key, so that the next message under it is new.
func (d *Deduplicator) Forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.byKey[key]; e != nil {
		d.dropLocked(e)
	}
}

// Close forgets all keys and gives their memory back. The Deduplicator can
// still be used.
func (d *Deduplicator) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for e := d.recent.Back(); e != nil; e = d.recent.Back() {
		d.dropLocked(e)
	}
}

// Stats returns the counts so far.
func (d *Deduplicator) Stats() DeduplicatorStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Keys = len(d.byKey)
	return s
}

// expireLocked drops what is too old. The list is in the order of seenKey.at.
func (d *Deduplicator) expireLocked(now time.Time) {
	for e := d.recent.Back(); e != nil; e = d.recent.Back() {
		if now.Sub(e.Value.(*seenKey).at) < d.opts.MaxAge {
			return
		}
		d.dropLocked(e)
	}
}

func (d *Deduplicator) keepLocked(key string, hash [2]uint64, now time.Time) {
	if len(d.byKey) >= d.opts.MaxKeys {
		d.dropLocked(d.recent.Back())
		d.stats.Evicted++
	}
	if a := d.opts.Account; a != nil && a.Reserve(int64(len(key))+seenKeyBytes) != nil {
		d.stats.NotKept++
		return
	}
	d.byKey[key] = d.recent.PushFront(&seenKey{key, hash, now})
}

func (d *Deduplicator) dropLocked(e *list.Element) {
	seen := d.recent.Remove(e).(*seenKey)
	delete(d.byKey, seen.key)
	if d.opts.Account != nil {
		d.opts.Account.Release(int64(len(seen.key)) + seenKeyBytes)
	}
}
