package compress

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strconv"
	"unsafe"
)

// A comparison finds out what became of an old list in a new one. It is
// memory that is used again.
type comparison struct {
	from      []int32 // for each new row, the old one it was, or -1
	changed   []int32 // the new rows that were one with other fields
	reordered bool

	key     []byte // of a row that is not encoded yet
	scanned int    // how often old was looked through from end to end
	seed    maphash.Seed
	byKey   map[uint64]int32
}

// begin is for a new list of n rows at most.
func (c *comparison) begin(n int) {
	c.from, c.changed, c.scanned = slices.Grow(c.from[:0], n)[:n], c.changed[:0], 0
}

// end looks whether the rows are still the old ones in the old order.
func (c *comparison) end(old int) {
	c.reordered = len(c.from) != old
	for i, at := range c.from {
		c.reordered = c.reordered || int(at) != i
	}
}

// lists compares two lists that are both encoded.
func (c *comparison) lists(s *schema, old, next *deltaRows) {
	cols, at := len(s.columns), 0
	c.begin(next.n)
	for i := range c.from {
		j := c.find(old, next.field(i, s.key, cols), at, cols, s.key)
		c.from[i] = int32(j)
		if j < 0 {
			continue
		}
		if !bytes.Equal(old.row(j, cols), next.row(i, cols)) {
			c.changed = append(c.changed, int32(i))
		}
		at = j + 1
	}
	c.end(old.n)
}

// encode makes next the n structs at rows, and compares them with old. If s is
// flat, was are the structs that old was made of: what is the same in memory
// is not encoded again.
func (c *comparison) encode(s *schema, old, next *deltaRows, was, rows unsafe.Pointer, n, most int) error {
	next.n, next.buf, next.ends = 0, next.buf[:0], next.ends[:0]
	c.begin(n)
	cols, at := len(s.columns), 0
	for i := 0; i < n; {
		same := 0
		if s.flat {
			for i+same < n && at+same < old.n && sameMemory(s.at(rows, i+same), s.at(was, at+same), s.size) {
				c.from[i+same] = int32(at + same)
				same++
			}
		}
		if same > 0 {
			next.addRows(old, at, at+same, cols)
			i, at = i+same, at+same
		} else {
			j, err := c.one(s, old, next, was, s.at(rows, i), at)
			if err != nil {
				return err
			}
			c.from[i] = int32(j)
			if j >= 0 {
				if !bytes.Equal(old.row(j, cols), next.row(i, cols)) {
					c.changed = append(c.changed, int32(i))
				}
				at = j + 1
			}
			i++
		}
		if len(next.buf) > most {
			next.buf = nil
			return tooLarge(most)
		}
	}
	c.end(old.n)
	return nil
}

// one encodes one row behind the others of next and returns which old one it
// was, at the likely one, or -1.
func (c *comparison) one(s *schema, old, next *deltaRows, was, row unsafe.Pointer, at int) (int, error) {
	var err error
	if c.key, err = s.columns[s.key].appendValue(c.key[:0], row); err != nil {
		return 0, err
	}
	cols := len(s.columns)
	at = c.find(old, c.key, at, cols, s.key)
	next.n++
	if at < 0 || !s.flat {
		return at, next.add(s, row)
	}
	before := s.at(was, at)
	for j := range s.columns {
		if col := &s.columns[j]; col.same(before, row) {
			next.buf = append(next.buf, old.field(at, j, cols)...)
		} else if next.buf, err = col.appendValue(next.buf, row); err != nil {
			return 0, err
		}
		next.ends = append(next.ends, int32(len(next.buf)))
	}
	return at, nil
}

// find returns the row of old with a key, most likely that at at, or -1. A few
// times it looks at all rows, which for a few costs less than to enter them
// into a map; then it does that.
func (c *comparison) find(old *deltaRows, key []byte, at, cols, column int) int {
	const few = 4
	if at < old.n && bytes.Equal(old.field(at, column, cols), key) {
		return at
	}
	if c.scanned++; c.scanned <= few {
		for range old.n {
			if at++; at >= old.n {
				at = 0
			}
			if bytes.Equal(old.field(at, column, cols), key) {
				return at
			}
		}
		return -1
	}
	if c.scanned == few+1 {
		if c.byKey == nil {
			c.byKey, c.seed = make(map[uint64]int32), maphash.MakeSeed()
		}
		clear(c.byKey)
		for i := range old.n {
			c.byKey[maphash.Bytes(c.seed, old.field(i, column, cols))] = int32(i)
		}
	}
	i, ok := c.byKey[maphash.Bytes(c.seed, key)]
	if !ok || !bytes.Equal(key, old.field(int(i), column, cols)) {
		return -1
	}
	return int(i)
}

// appendFrame appends the frame that leads from old to next, which were
// compared, or nothing when they and what is beside them are the same.
func (c *comparison) appendFrame(frame []byte, version uint64, s *schema, old, next *deltaRows, extra, beside []byte) []byte {
	same := bytes.Equal(beside, extra)
	if !c.reordered && len(c.changed) == 0 && same {
		return frame
	}
	frame = append(frame, `["D",`...)
	frame = strconv.AppendUint(frame, version, 10)
	frame = append(frame, ',')
	frame = c.appendOrder(frame, next, len(s.columns))
	frame = append(frame, ',')
	frame = c.appendChanges(frame, s, old, next)
	if !same {
		frame = append(append(frame, ','), beside...)
	}
	return append(frame, ']')
}

// appendOrder appends the new list as runs of the old one (start and count)
// and new rows (arrays), or 0 when the rows are the same.
func (c *comparison) appendOrder(dst []byte, next *deltaRows, cols int) []byte {
	if !c.reordered {
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
func (c *comparison) appendChanges(dst []byte, s *schema, old, next *deltaRows) []byte {
	if len(c.changed) == 0 {
		return append(dst, '0')
	}
	cols := len(s.columns)
	dst = append(dst, '[')
	for _, i := range c.changed {
		for j := range cols {
			was, is := old.field(int(c.from[i]), j, cols), next.field(int(i), j, cols)
			if !bytes.Equal(was, is) {
				dst = s.columns[j].appendChange(dst, int(i), j, was, is)
			}
		}
	}
	return append(dst, ']')
}
