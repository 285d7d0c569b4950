package compress

import (
	"bytes"
	"fmt"
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
		if err := r.add(s, s.at(list.UnsafePointer(), i)); err != nil {
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

// addRows appends rows [from, to) of o as they are.
func (r *deltaRows) addRows(o *deltaRows, from, to, cols int) {
	start := o.start(from * cols)
	moved := int32(len(r.buf)) - start
	r.buf = append(r.buf, o.buf[start:o.ends[to*cols-1]]...)
	for _, end := range o.ends[from*cols : to*cols] {
		r.ends = append(r.ends, end+moved)
	}
	r.n += to - from
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
	return r.buf[r.start(at):r.ends[at]]
}

// start is where a field starts, all rows' fields counted.
func (r *deltaRows) start(field int) int32 {
	if field == 0 {
		return 0
	}
	return r.ends[field-1]
}

func (r *deltaRows) row(i, cols int) []byte {
	return r.buf[r.start(i*cols):r.ends[(i+1)*cols-1]]
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
