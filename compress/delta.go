package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strconv"
	"sync"
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
	seed    maphash.Seed
	mu      sync.Mutex
	version uint64
	now     deltaRows // the state at version
	next    deltaRows // memory for the next one
	extra   []byte
	byKey   map[uint64]int32
	from    []int32 // for each new row, the old one it was, or -1
	held    int64
}

// deltaRows is an encoded list: the fields of all rows one after the other.
type deltaRows struct {
	n    int
	buf  []byte
	ends []int32 // in buf, for each field
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
	return &Delta[T]{schema: s, opts: o, seed: maphash.MakeSeed(), extra: []byte("null")}, nil
}

// Update takes the new state: the rows in order, and anything beside them,
// such as a total (nil for nothing), which travels as JSON. It returns the
// frame that takes receivers from the state before to this one, or nil when
// nothing changed. It keeps neither rows nor extra.
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
	if err := d.encodeLocked(rows); err != nil {
		return nil, err
	}
	reordered, changed := d.compareLocked()
	if !reordered && !changed && bytes.Equal(beside, d.extra) {
		return nil, nil
	}
	if err := d.reserveLocked(len(beside)); err != nil {
		return nil, err
	}
	d.version++
	frame = append(frame, `["D",`...)
	frame = strconv.AppendUint(frame, d.version, 10)
	frame = append(frame, ',')
	frame = d.appendOrderLocked(frame, reordered)
	frame = append(frame, ',')
	frame = d.appendChangesLocked(frame, changed)
	if !bytes.Equal(beside, d.extra) {
		frame = append(append(frame, ','), beside...)
	}
	d.now, d.next = d.next, d.now
	d.extra = beside
	return append(frame, ']'), nil
}

// Snapshot returns a frame with the whole state, which a receiver can take
// whatever it had before.
func (d *Delta[T]) Snapshot() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	frame := make([]byte, 0, 32+len(d.schema.header)+len(d.now.buf)+len(d.now.ends)+3*d.now.n+len(d.extra))
	frame = append(frame, `["S",`...)
	frame = strconv.AppendUint(frame, d.version, 10)
	frame = append(append(frame, ','), d.schema.header...)
	frame = append(frame, ",["...)
	for i := range d.now.n {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = d.now.appendRow(frame, i, len(d.schema.columns))
	}
	frame = append(append(frame, "],"...), d.extra...)
	return append(frame, ']')
}

// Version is that of the latest frame.
func (d *Delta[T]) Version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version
}

// Close forgets the state and gives its memory back.
func (d *Delta[T]) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now, d.next, d.byKey, d.from = deltaRows{}, deltaRows{}, nil, nil
	if d.opts.Account != nil && d.held > 0 {
		d.opts.Account.Release(d.held)
	}
	d.held = 0
}

func (d *Delta[T]) encodeLocked(rows []T) (err error) {
	next := &d.next
	next.n, next.buf, next.ends = len(rows), next.buf[:0], next.ends[:0]
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for j := range d.schema.columns {
			if next.buf, err = d.schema.columns[j].appendValue(next.buf, row); err != nil {
				return err
			}
			next.ends = append(next.ends, int32(len(next.buf)))
		}
		if len(next.buf) > d.opts.MaxBytes {
			next.buf = nil
			return fmt.Errorf("%w: over %d bytes", ErrStateTooLarge, d.opts.MaxBytes)
		}
	}
	return nil
}

// reserveLocked brings the reservation to what the state holds.
func (d *Delta[T]) reserveLocked(extra int) error {
	size := int64(cap(d.now.buf)+cap(d.next.buf)+4*(cap(d.now.ends)+cap(d.next.ends)+cap(d.from))) + int64(extra)
	if a := d.opts.Account; a != nil && size > d.held {
		if err := a.Reserve(size - d.held); err != nil {
			d.next = deltaRows{}
			return fmt.Errorf("%w: %w", ErrStateTooLarge, err)
		}
		d.held = size
	}
	return nil
}

// compareLocked finds the old row of each new one.
func (d *Delta[T]) compareLocked() (reordered, changed bool) {
	old, next, cols, key := &d.now, &d.next, len(d.schema.columns), d.schema.key
	d.from = slices.Grow(d.from[:0], next.n)[:next.n]
	same := 0
	for same < min(old.n, next.n) && bytes.Equal(old.field(same, key, cols), next.field(same, key, cols)) {
		d.from[same] = int32(same)
		same++
	}
	reordered = same < max(old.n, next.n)
	if reordered {
		if d.byKey == nil {
			d.byKey = make(map[uint64]int32)
		}
		clear(d.byKey)
		for i := same; i < old.n; i++ {
			d.byKey[maphash.Bytes(d.seed, old.field(i, key, cols))] = int32(i)
		}
		for i := same; i < next.n; i++ {
			k := next.field(i, key, cols)
			at, ok := d.byKey[maphash.Bytes(d.seed, k)]
			if !ok || !bytes.Equal(k, old.field(int(at), key, cols)) {
				at = -1
			}
			d.from[i] = at
		}
	}
	for i, at := range d.from {
		if at >= 0 && !bytes.Equal(old.row(int(at), cols), next.row(i, cols)) {
			changed = true
			break
		}
	}
	return reordered, changed
}

// appendOrderLocked appends the new list as runs of the old one (start and
// count) and new rows (arrays), or 0 when the rows are the same.
func (d *Delta[T]) appendOrderLocked(dst []byte, reordered bool) []byte {
	if !reordered {
		return append(dst, '0')
	}
	dst = append(dst, '[')
	for i := 0; i < len(d.from); {
		if i > 0 {
			dst = append(dst, ',')
		}
		start := d.from[i]
		if start < 0 {
			dst = d.next.appendRow(dst, i, len(d.schema.columns))
			i++
			continue
		}
		n := 1
		for i+n < len(d.from) && d.from[i+n] == start+int32(n) {
			n++
		}
		dst = strconv.AppendInt(dst, int64(start), 10)
		dst = strconv.AppendInt(append(dst, ','), int64(n), 10)
		i += n
	}
	return append(dst, ']')
}

// appendChangesLocked appends row, column and value of each field that
// changed in a row that stays, or 0.
func (d *Delta[T]) appendChangesLocked(dst []byte, changed bool) []byte {
	if !changed {
		return append(dst, '0')
	}
	cols := len(d.schema.columns)
	dst = append(dst, '[')
	for i, at := range d.from {
		if at < 0 || bytes.Equal(d.now.row(int(at), cols), d.next.row(i, cols)) {
			continue
		}
		for j := range cols {
			was, is := d.now.field(int(at), j, cols), d.next.field(i, j, cols)
			if bytes.Equal(was, is) {
				continue
			}
			if dst[len(dst)-1] != '[' {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, int64(i), 10)
			dst = strconv.AppendInt(append(dst, ','), int64(j), 10)
			dst = append(dst, ',')
			if n := sharedPrefix(was, is); n >= 6 && d.schema.columns[j].kind == reflect.String {
				dst = strconv.AppendInt(append(dst, '['), int64(n), 10)
				dst = append(append(dst, ',', '"'), is[1+n:]...)
				dst = append(dst, ']')
			} else {
				dst = append(dst, is...)
			}
		}
	}
	return append(dst, ']')
}

// sharedPrefix is the number of characters with which two JSON strings of
// plain ASCII begin alike, or 0.
func sharedPrefix(was, is []byte) int {
	if len(was) < 8 || len(is) < 8 || was[0] != '"' || is[0] != '"' {
		return 0
	}
	n := 1
	for n < min(len(was), len(is))-1 && was[n] == is[n] && was[n] < 0x80 && was[n] != '\\' {
		n++
	}
	return n - 1
}

func (r *deltaRows) field(i, j, cols int) []byte {
	at := i*cols + j
	start := int32(0)
	if at > 0 {
		start = r.ends[at-1]
	}
	return r.buf[start:r.ends[at]]
}

func (r *deltaRows) row(i, cols int) []byte {
	start := int32(0)
	if i > 0 {
		start = r.ends[i*cols-1]
	}
	return r.buf[start:r.ends[(i+1)*cols-1]]
}

func (r *deltaRows) appendRow(dst []byte, i, cols int) []byte {
	dst = append(dst, '[')
	for j := range cols {
		if j > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r.field(i, j, cols)...)
	}
	return append(dst, ']')
}
