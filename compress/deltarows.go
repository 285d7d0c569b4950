package compress

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strconv"
	"unsafe"
)

// deltaRows is an encoded list: the fields of all rows one after the other.
type deltaRows struct {
	n    int
	buf  []byte
	ends []int32 // in buf, for each field
}

// encode makes r the rows, in the memory that it has.
func (r *deltaRows) encode(s *schema, rows any, most int) error {
	list := reflect.ValueOf(rows)
	r.n, r.buf, r.ends = list.Len(), r.buf[:0], r.ends[:0]
	for i := range r.n {
		if err := r.add(s, unsafe.Add(list.UnsafePointer(), uintptr(i)*s.size)); err != nil {
			return err
		}
		if len(r.buf) > most {
			r.buf = nil
			return tooLarge(most)
		}
	}
	return nil
}

// add encodes the fields of the struct at row behind the others.
func (r *deltaRows) add(s *schema, row unsafe.Pointer) error {
	for j := range s.columns {
		var err error
		if r.buf, err = s.columns[j].appendValue(r.buf, row); err != nil {
			return err
		}
		r.ends = append(r.ends, int32(len(r.buf)))
	}
	return nil
}

func tooLarge(most int) error { return fmt.Errorf("%w: over %d bytes", ErrStateTooLarge, most) }

func (r *deltaRows) clone() deltaRows {
	return deltaRows{r.n, bytes.Clone(r.buf), slices.Clone(r.ends)}
}

func (r *deltaRows) equal(o *deltaRows) bool {
	return r.n == o.n && bytes.Equal(r.buf, o.buf) && slices.Equal(r.ends, o.ends)
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

// appendSnapshot appends the frame with a whole state.
func appendSnapshot(frame []byte, version uint64, s *schema, now *deltaRows, extra []byte) []byte {
	frame = slices.Grow(frame, 32+len(s.header)+len(now.buf)+len(now.ends)+3*now.n+len(extra))
	frame = append(frame, `["S",`...)
	frame = strconv.AppendUint(frame, version, 10)
	frame = append(append(frame, ','), s.header...)
	frame = append(frame, ",["...)
	for i := range now.n {
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = now.appendRow(frame, i, len(s.columns))
	}
	frame = append(append(frame, "],"...), extra...)
	return append(frame, ']')
}

// comparison is the memory for comparing two lists.
type comparison struct {
	seed  maphash.Seed
	byKey map[uint64]int32
	from  []int32 // for each new row, the old one it was, or -1
}

// appendFrame appends the frame that leads from old to next, or nothing when
// they and what is beside them are the same.
func (c *comparison) appendFrame(frame []byte, version uint64, s *schema, old, next *deltaRows, extra, beside []byte) []byte {
	cols := len(s.columns)
	reordered, changed := c.compare(old, next, cols, s.key)
	same := bytes.Equal(beside, extra)
	if !reordered && !changed && same {
		return frame
	}
	frame = append(frame, `["D",`...)
	frame = strconv.AppendUint(frame, version, 10)
	frame = append(frame, ',')
	frame = c.appendOrder(frame, next, cols, reordered)
	frame = append(frame, ',')
	frame = c.appendChanges(frame, s, old, next, changed)
	if !same {
		frame = append(append(frame, ','), beside...)
	}
	return append(frame, ']')
}

// compare finds the old row of each new one.
func (c *comparison) compare(old, next *deltaRows, cols, key int) (reordered, changed bool) {
	c.from = slices.Grow(c.from[:0], next.n)[:next.n]
	same := 0
	for same < min(old.n, next.n) && bytes.Equal(old.field(same, key, cols), next.field(same, key, cols)) {
		c.from[same] = int32(same)
		same++
	}
	reordered = same < max(old.n, next.n)
	if reordered {
		if c.byKey == nil {
			c.byKey, c.seed = make(map[uint64]int32), maphash.MakeSeed()
		}
		clear(c.byKey)
		for i := same; i < old.n; i++ {
			c.byKey[maphash.Bytes(c.seed, old.field(i, key, cols))] = int32(i)
		}
		for i := same; i < next.n; i++ {
			k := next.field(i, key, cols)
			at, ok := c.byKey[maphash.Bytes(c.seed, k)]
			if !ok || !bytes.Equal(k, old.field(int(at), key, cols)) {
				at = -1
			}
			c.from[i] = at
		}
	}
	for i, at := range c.from {
		if at >= 0 && !bytes.Equal(old.row(int(at), cols), next.row(i, cols)) {
			changed = true
			break
		}
	}
	return reordered, changed
}

// appendOrder appends the new list as runs of the old one (start and count)
// and new rows (arrays), or 0 when the rows are the same.
func (c *comparison) appendOrder(dst []byte, next *deltaRows, cols int, reordered bool) []byte {
	if !reordered {
		return append(dst, '0')
	}
	dst = append(dst, '[')
	for i := 0; i < len(c.from); {
		if i > 0 {
			dst = append(dst, ',')
		}
		start := c.from[i]
		if start < 0 {
			dst = next.appendRow(dst, i, cols)
			i++
			continue
		}
		n := 1
		for i+n < len(c.from) && c.from[i+n] == start+int32(n) {
			n++
		}
		dst = strconv.AppendInt(dst, int64(start), 10)
		dst = strconv.AppendInt(append(dst, ','), int64(n), 10)
		i += n
	}
	return append(dst, ']')
}

// appendChanges appends row, column and value of each field that changed in a
// row that stays, or 0.
func (c *comparison) appendChanges(dst []byte, s *schema, old, next *deltaRows, changed bool) []byte {
	if !changed {
		return append(dst, '0')
	}
	cols := len(s.columns)
	dst = append(dst, '[')
	for i, at := range c.from {
		if at < 0 || bytes.Equal(old.row(int(at), cols), next.row(i, cols)) {
			continue
		}
		for j := range cols {
			was, is := old.field(int(at), j, cols), next.field(i, j, cols)
			if bytes.Equal(was, is) {
				continue
			}
			dst = s.columns[j].appendChange(dst, i, j, was, is)
		}
	}
	return append(dst, ']')
}

// appendChange appends row, column and value: of a text that begins as it did
// before only the number of characters that it shares, and the rest.
func (c *column) appendChange(dst []byte, i, j int, was, is []byte) []byte {
	if dst[len(dst)-1] != '[' {
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(dst, int64(i), 10)
	dst = strconv.AppendInt(append(dst, ','), int64(j), 10)
	dst = append(dst, ',')
	if n := sharedPrefix(was, is); n >= 6 && c.kind == reflect.String {
		dst = strconv.AppendInt(append(dst, '['), int64(n), 10)
		dst = append(append(dst, ',', '"'), is[1+n:]...)
		return append(dst, ']')
	}
	return append(dst, is...)
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
