package compress

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"unsafe"
)

// DeltaOptions configures a Delta or a JSONDelta.
type DeltaOptions struct {
	// MaxBytes bounds the encoded state that is kept. Required, > 0.
	MaxBytes int
	// Fields, if set, names the fields to send, by their JSON names, besides
	// the key: the projection of T to what a viewer needs. Delta only.
	Fields []string
	// Keys names the members that tell the objects of an array apart, the
	// best first. Default "id", "userId", "key". JSONDelta only.
	Keys []string
	// Ordered says that the transport loses nothing and keeps order, as one
	// WebSocket does, and leaves the version out of the frames. Delta only.
	Ordered bool
	// Account, if set, is asked for the memory of the kept state.
	Account Account
}

// ErrStateTooLarge is returned by Update for a state beyond
// DeltaOptions.MaxBytes, or for which the Account has no room. The state
// stays as it was.
var ErrStateTooLarge = errors.New("compress: state too large")

// A Delta turns a list of structs that changes into frames that hold only
// what changed. A frame is encoded once and suits every receiver: one that
// joins gets a Snapshot, and each frame after it in order. A receiver that
// misses one sees it by the version and asks for a Snapshot again.
//
// Receivers are [Replica] in Go and the class Delta of [DeltaJS] in browsers.
// A Delta may be used from any goroutine.
type Delta[T any] struct {
	schema  *schema
	opts    DeltaOptions
	mu      sync.Mutex
	version uint64
	now     deltaRows // the state at version
	next    deltaRows // memory for the next one
	extra   []byte
	work    comparison
	rows    []T       // what now was made of, if they are flat
	one     deltaRows // memory for a row of Set
	index   keyIndex
	held    int64
}

// NewDelta returns a Delta for lists of T, a struct. Its fields travel as
// their json tags say; a delta tag adds options, separated by commas:
//
//	delta:"key"                       tells rows apart (default: the field named id)
//	delta:"-"                         is not sent
//	delta:"prefix=https://…,suffix=…" is not repeated in each value
//
// With omitempty or omitzero an empty value is absent. NewDelta returns an
// error that names each fault of T and of o.
func NewDelta[T any](o DeltaOptions) (*Delta[T], error) {
	s, err := schemaOf(reflect.TypeFor[T](), o.Fields)
	if o.MaxBytes <= 0 {
		err = errors.Join(err, fmt.Errorf("compress: DeltaOptions.MaxBytes = %d, want > 0", o.MaxBytes))
	}
	if err != nil {
		return nil, err
	}
	return &Delta[T]{schema: s, opts: o, extra: []byte("null")}, nil
}

// Update takes the new state: the rows in order, and anything beside them,
// such as a total (nil for nothing), which travels as JSON. It returns the
// frame that takes receivers from the state before to this one, or nil when
// nothing changed. It keeps neither rows nor extra, but strings of them.
func (d *Delta[T]) Update(rows []T, extra any) (frame []byte, err error) {
	beside := []byte("null")
	if extra != nil {
		if n, ok := extra.(int); ok {
			beside = strconv.AppendInt(nil, int64(n), 10)
		} else if beside, err = json.Marshal(extra); err != nil {
			return nil, fmt.Errorf("compress: delta extra: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.work.encode(d.schema, &d.now, &d.next, first(d.rows), first(rows), len(rows), d.opts.MaxBytes); err != nil {
		return nil, err
	}
	frame = d.work.appendFrame(nil, d.wireVersion(d.version+1), d.schema, &d.now, &d.next, d.extra, beside)
	if frame == nil {
		return nil, nil
	}
	if err := d.reserveLocked(len(beside), len(rows)); err != nil {
		return nil, err
	}
	if d.schema.flat {
		clear(d.rows[min(len(rows), len(d.rows)):])
		d.rows = append(d.rows[:0], rows...)
	}
	d.version++
	d.now, d.next = d.next, d.now
	d.index.stale = true
	d.extra = beside
	return frame, nil
}

// Snapshot returns a frame with the whole state, which a receiver can take
// whatever it had before.
func (d *Delta[T]) Snapshot() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return appendSnapshot(nil, d.wireVersion(d.version), d.schema, &d.now, d.extra)
}

// wireVersion is what frames say: receivers take a 0 after anything.
func (d *Delta[T]) wireVersion(v uint64) uint64 {
	if d.opts.Ordered {
		return 0
	}
	return v
}

// Version is that of the latest frame, which Ordered ones leave out.
func (d *Delta[T]) Version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version
}

// Close forgets the state and gives its memory back.
func (d *Delta[T]) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now, d.next, d.one, d.work, d.index = deltaRows{}, deltaRows{}, deltaRows{}, comparison{}, keyIndex{}
	d.rows = nil
	if d.opts.Account != nil && d.held > 0 {
		d.opts.Account.Release(d.held)
	}
	d.held = 0
}

// reserveLocked brings the reservation to what the state holds, with these
// many bytes beside it and of so many rows.
func (d *Delta[T]) reserveLocked(extra, rows int) error {
	size := int64(cap(d.now.buf)+cap(d.next.buf)+4*(cap(d.now.ends)+cap(d.next.ends)+cap(d.work.from)+cap(d.work.changed))) + int64(extra) + int64(len(d.index.rows))*indexedRowBytes
	if d.schema.flat { // the structs, and their strings as if nobody else had them
		size += int64(max(cap(d.rows), rows))*int64(d.schema.size) + int64(rows)*int64(d.schema.affixes) + int64(max(len(d.now.buf), len(d.next.buf)))
	}
	if a := d.opts.Account; a != nil && size > d.held {
		if err := a.Reserve(size - d.held); err != nil {
			d.next = deltaRows{}
			return fmt.Errorf("%w: %w", ErrStateTooLarge, err)
		}
		d.held = size
	}
	return nil
}

// first is where the rows of a slice are.
func first[T any](rows []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(rows)) }
