package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"unicode/utf8"
)

// A JSONDelta is a Delta for any JSON document, without a struct behind it.
// Objects are compared member by member. The objects of an array are told
// apart by the member that DeltaOptions.Keys names, other elements by what
// they are. A JSONDelta may be used from any goroutine.
type JSONDelta struct {
	opts    DeltaOptions
	mu      sync.Mutex
	version uint64
	doc     []byte
	now     *node
	held    int64
}

// NewJSONDelta returns a JSONDelta whose document is null.
func NewJSONDelta(o DeltaOptions) (*JSONDelta, error) {
	if o.MaxBytes <= 0 {
		return nil, fmt.Errorf("compress: DeltaOptions.MaxBytes = %d, want > 0", o.MaxBytes)
	}
	if len(o.Fields) > 0 {
		return nil, errors.New("compress: DeltaOptions.Fields is for structs")
	}
	if o.Keys == nil {
		o.Keys = []string{"id", "userId", "key"}
	}
	d := &JSONDelta{opts: o, doc: []byte("null")}
	d.now, _ = parseNode(d.doc)
	return d, nil
}

// Update takes the new document and returns the frame that takes receivers
// to it from the one before, or nil when they are equal. It copies doc.
func (d *JSONDelta) Update(doc []byte) (frame []byte, err error) {
	if len(doc) > d.opts.MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, over %d", ErrStateTooLarge, len(doc), d.opts.MaxBytes)
	}
	if !utf8.Valid(doc) {
		return nil, errors.New("compress: delta document: not UTF-8")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, doc); err != nil {
		return nil, fmt.Errorf("compress: delta document: %w", err)
	}
	next, err := parseNode(compact.Bytes())
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	op := appendOp(nil, d.now, next, d.opts.Keys)
	if op == nil {
		return nil, nil
	}
	if a := d.opts.Account; a != nil {
		size := int64(compact.Cap()) + next.size()
		if size > d.held {
			if err := a.Reserve(size - d.held); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrStateTooLarge, err)
			}
		} else {
			a.Release(d.held - size)
		}
		d.held = size
	}
	d.version++
	d.doc, d.now = compact.Bytes(), next
	frame = strconv.AppendUint([]byte(`["J",`), d.version, 10)
	frame = append(append(frame, ','), op...)
	return append(frame, ']'), nil
}

// Snapshot returns a frame with the whole document.
func (d *JSONDelta) Snapshot() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	frame := strconv.AppendUint([]byte(`["J",`), d.version, 10)
	frame = append(append(frame, ",["...), d.doc...)
	return append(frame, "]]"...)
}

// Close forgets the document and gives its memory back.
func (d *JSONDelta) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opts.Account != nil {
		d.opts.Account.Release(d.held)
	}
	d.held, d.doc = 0, []byte("null")
	d.now, _ = parseNode(d.doc)
}

// An operation on a value is one of
//
//	[v]             the value is v now
//	0               the member is gone
//	{"k":op,…}      operations on members of an object
//	[order,{i:op}]  the elements of an array: runs of the old ones (start,
//	                count) and new ones ([v]), or 0 for the same; then
//	                operations on elements where they are now
//
// appendOp appends the one that makes next of old; nothing if they are equal.
func appendOp(dst []byte, old, next *node, keys []string) []byte {
	if bytes.Equal(old.raw, next.raw) {
		return dst
	}
	start := len(dst)
	switch {
	case old.kind == '{' && next.kind == '{':
		dst = appendObjectOp(dst, old, next, keys)
	case old.kind == '[' && next.kind == '[':
		dst = appendArrayOp(dst, old, next, keys)
	}
	if len(dst) == start || len(dst)-start > len(next.raw)+2 {
		dst = append(append(append(dst[:start], '['), next.raw...), ']')
	}
	return dst
}

func appendObjectOp(dst []byte, old, next *node, keys []string) []byte {
	was := make(map[string]*node, len(old.items))
	for i, name := range old.names {
		was[string(name)] = old.items[i]
	}
	dst = append(dst, '{')
	member := func(name []byte) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(dst, name...), ':')
	}
	for i, name := range next.names {
		before := was[string(name)]
		delete(was, string(name))
		if before == nil {
			member(name)
			dst = append(append(append(dst, '['), next.items[i].raw...), ']')
		} else if !bytes.Equal(before.raw, next.items[i].raw) {
			member(name)
			dst = appendOp(dst, before, next.items[i], keys)
		}
	}
	for _, name := range old.names {
		if was[string(name)] != nil {
			member(name)
			dst = append(dst, '0')
		}
	}
	return append(dst, '}')
}

func appendArrayOp(dst []byte, old, next *node, keys []string) []byte {
	where := make(map[string]int, len(old.items))
	for i := len(old.items) - 1; i >= 0; i-- {
		where[string(old.items[i].identity(keys))] = i
	}
	from := make([]int, len(next.items))
	same := len(old.items) == len(next.items)
	for i, item := range next.items {
		id := item.identity(keys)
		at, ok := where[string(id)]
		if i < len(old.items) && bytes.Equal(old.items[i].identity(keys), id) {
			at, ok = i, true // the same place, among equal ones
		}
		if !ok {
			at = -1
		}
		from[i] = at
		same = same && at == i
	}
	if same {
		dst = append(dst, "[0,{"...)
	} else {
		dst = append(dst, "[["...)
		for i := 0; i < len(from); {
			if i > 0 {
				dst = append(dst, ',')
			}
			if from[i] < 0 {
				dst = append(append(append(dst, '['), next.items[i].raw...), ']')
				i++
				continue
			}
			n := 1
			for i+n < len(from) && from[i+n] == from[i]+n {
				n++
			}
			dst = strconv.AppendInt(dst, int64(from[i]), 10)
			dst = strconv.AppendInt(append(dst, ','), int64(n), 10)
			i += n
		}
		dst = append(dst, "],{"...)
	}
	for i, at := range from {
		if at < 0 || bytes.Equal(old.items[at].raw, next.items[i].raw) {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendInt(append(dst, '"'), int64(i), 10), '"', ':')
		dst = appendOp(dst, old.items[at], next.items[i], keys)
	}
	return append(dst, "}]"...)
}
