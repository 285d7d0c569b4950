package compress

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strconv"
	"unsafe"
)

// Set changes the row that has the key of this one to it, or appends it where
// there is none, and returns the frame that says so, or nil when nothing
// changed. It is for lists of which one row changes at a time, such as who is
// online: it costs what the row costs, and some nanoseconds for each row
// behind it. Keys are unique for it, and rows go away by Update.
func (d *Delta[T]) Set(row *T) (frame []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.one.n, d.one.buf, d.one.ends = 1, d.one.buf[:0], d.one.ends[:0]
	if err := d.one.add(d.schema, unsafe.Pointer(row)); err != nil {
		return nil, err
	}
	cols := len(d.schema.columns)
	key := d.one.field(0, d.schema.key, cols)
	i := d.index.find(&d.now, key, cols, d.schema.key)
	frame = strconv.AppendUint(append(make([]byte, 0, 48), `["D",`...), d.wireVersion(d.version+1), 10)
	if i < 0 {
		frame = append(frame, ",["...)
		if d.now.n > 0 {
			frame = strconv.AppendInt(append(frame, "0,"...), int64(d.now.n), 10)
			frame = append(frame, ',')
		}
		frame = append(d.one.appendRow(frame, 0, cols), "],0]"...)
		if err := d.insertLocked(key); err != nil {
			return nil, err
		}
	} else {
		frame = append(frame, ",0,["...)
		none := len(frame)
		for j := range cols {
			if was, is := d.now.field(i, j, cols), d.one.field(0, j, cols); !bytes.Equal(was, is) {
				frame = d.schema.columns[j].appendChange(frame, i, j, was, is)
			}
		}
		if len(frame) == none {
			return nil, nil
		}
		frame = append(frame, "]]"...)
		if err := d.replaceLocked(i); err != nil {
			return nil, err
		}
	}
	if d.schema.flat {
		if i < 0 {
			d.rows = append(d.rows, *row)
		} else {
			d.rows[i] = *row
		}
	}
	d.version++
	return frame, nil
}

// insertLocked appends d.one to the state.
func (d *Delta[T]) insertLocked(key []byte) error {
	now := &d.now
	size, fields := len(now.buf), len(now.ends)
	if size+len(d.one.buf) > d.opts.MaxBytes {
		return tooLarge(d.opts.MaxBytes)
	}
	now.buf = append(now.buf, d.one.buf...)
	for _, end := range d.one.ends {
		now.ends = append(now.ends, int32(size)+end)
	}
	d.index.put(key, int32(now.n))
	now.n++
	if err := d.reserveLocked(len(d.extra), d.now.n); err != nil {
		now.buf, now.ends = now.buf[:size], now.ends[:fields]
		now.n--
		d.index.stale = true
		return err
	}
	return nil
}

// replaceLocked makes row i of the state that in d.one.
func (d *Delta[T]) replaceLocked(i int) error {
	now, cols := &d.now, len(d.schema.columns)
	start := 0
	if i > 0 {
		start = int(now.ends[i*cols-1])
	}
	end := int(now.ends[(i+1)*cols-1])
	longer := len(d.one.buf) - (end - start)
	if len(now.buf)+longer > d.opts.MaxBytes {
		return tooLarge(d.opts.MaxBytes)
	}
	if len(now.buf)+longer > cap(now.buf) {
		was := now.buf
		now.buf = append(make([]byte, 0, len(was)+len(was)/4+longer), was...)
		if err := d.reserveLocked(len(d.extra), d.now.n); err != nil {
			now.buf = was
			return err
		}
	}
	now.buf = slices.Replace(now.buf, start, end, d.one.buf...)
	for j, e := range d.one.ends {
		now.ends[i*cols+j] = int32(start) + e
	}
	if longer != 0 {
		behind := now.ends[(i+1)*cols:]
		for j := range behind {
			behind[j] += int32(longer)
		}
	}
	return nil
}

// keyIndex finds rows by their keys. It is made anew when it is used after the
// list as a whole has changed.
type keyIndex struct {
	seed  maphash.Seed
	rows  map[uint64]int32
	stale bool
}

// indexedRowBytes is what a row takes in a keyIndex.
const indexedRowBytes = 40

func (x *keyIndex) find(in *deltaRows, key []byte, cols, column int) int {
	if x.rows == nil || x.stale {
		if x.rows == nil {
			x.rows, x.seed = make(map[uint64]int32), maphash.MakeSeed()
		}
		clear(x.rows)
		for i := range in.n {
			x.put(in.field(i, column, cols), int32(i))
		}
		x.stale = false
	}
	i, ok := x.rows[maphash.Bytes(x.seed, key)]
	if !ok {
		return -1
	}
	if bytes.Equal(in.field(int(i), column, cols), key) {
		return int(i)
	}
	for i := range in.n { // two keys of one hash
		if bytes.Equal(in.field(i, column, cols), key) {
			return i
		}
	}
	return -1
}

func (x *keyIndex) put(key []byte, i int32) { x.rows[maphash.Bytes(x.seed, key)] = i }
