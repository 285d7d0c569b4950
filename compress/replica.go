package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Replica follows a Delta or a JSONDelta by its frames: the Go counterpart
// of the class Delta of DeltaJS. The zero Replica is ready and waits for a
// snapshot. It must not be used by two goroutines at once. A document is
// treated as data: nothing in a frame makes it panic.
type Replica struct {
	// Value is the state: for a Delta the rows, []any of map[string]any; for
	// a JSONDelta the document. Numbers are json.Number.
	Value any
	// Extra is what a Delta has beside its rows.
	Extra any
	// Version is that of the last frame applied.
	Version uint64

	columns []replicaColumn
	ready   byte // the kind of frames that can follow: 0, 'D' or 'J'
}

type replicaColumn struct {
	name, prefix, suffix string
	optional, text       bool
}

// ErrGap is returned for a frame that does not follow the last one. The
// replica stays as it is; it goes on with a snapshot.
var ErrGap = errors.New("compress: gap in delta frames")

// ErrFrame is returned for a frame that is malformed. The replica waits for
// a snapshot then.
var ErrFrame = errors.New("compress: malformed delta frame")

// Apply applies a frame. Its errors are ErrGap and ErrFrame.
func (r *Replica) Apply(frame []byte) (err error) {
	var parts []any
	dec := json.NewDecoder(bytes.NewReader(frame))
	dec.UseNumber()
	if dec.Decode(&parts) != nil || dec.More() || len(parts) < 3 {
		return fmt.Errorf("%w: not an array of three", ErrFrame)
	}
	kind, _ := parts[0].(string)
	version, ok := number(parts[1])
	if !ok {
		return fmt.Errorf("%w: version", ErrFrame)
	}
	next := *r
	switch {
	case kind == "S" && len(parts) == 5:
		err = next.snapshot(parts)
	case kind == "J" && len(parts) == 3 && isArray(parts[2], 1):
		next.Value, next.ready = parts[2].([]any)[0], 'J'
	case kind == "D" && (len(parts) == 4 || len(parts) == 5), kind == "J" && len(parts) == 3:
		if r.ready != kind[0] || version != 0 && uint64(version) != r.Version+1 {
			return ErrGap
		}
		if kind == "D" {
			err = next.change(parts)
		} else {
			next.Value, err = apply(r.Value, parts[2], 0)
		}
	default:
		err = fmt.Errorf("%w: kind %q", ErrFrame, kind)
	}
	if err != nil {
		r.ready = 0
		return err
	}
	next.Version = uint64(version)
	*r = next
	return nil
}

func (r *Replica) snapshot(parts []any) error {
	columns, ok := parts[2].([]any)
	rows, ok2 := parts[3].([]any)
	if !ok || !ok2 {
		return fmt.Errorf("%w: snapshot", ErrFrame)
	}
	r.columns = nil
	for _, part := range columns {
		var c replicaColumn
		if texts, ok := part.([]any); ok && len(texts) == 3 {
			c.text = true
			c.name, _ = texts[0].(string)
			c.prefix, _ = texts[1].(string)
			c.suffix, _ = texts[2].(string)
		} else if c.name, ok = part.(string); !ok {
			return fmt.Errorf("%w: column", ErrFrame)
		}
		c.name, c.optional = strings.CutSuffix(c.name, "?")
		r.columns = append(r.columns, c)
	}
	value := make([]any, 0, len(rows))
	for _, row := range rows {
		object, err := r.row(row)
		if err != nil {
			return err
		}
		value = append(value, object)
	}
	r.Value, r.Extra, r.ready = value, parts[4], 'D'
	return nil
}

// row makes an object of an array of values.
func (r *Replica) row(row any) (map[string]any, error) {
	values, ok := row.([]any)
	if !ok || len(values) != len(r.columns) {
		return nil, fmt.Errorf("%w: row", ErrFrame)
	}
	object := make(map[string]any, len(values))
	for i, v := range values {
		if err := r.set(object, i, v); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// set gives column i of an object the value v.
func (r *Replica) set(object map[string]any, i int, v any) error {
	c := &r.columns[i]
	if v == nil && c.optional {
		delete(object, c.name)
		return nil
	}
	if c.text {
		switch t := v.(type) {
		case string:
			v = c.prefix + t + c.suffix
		case []any:
			if len(t) == 1 { // as it is
				v = t[0]
				break
			}
			old, _ := object[c.name].(string)
			n, ok := -1, false
			if len(t) == 2 {
				n, ok = number(t[0])
			}
			if n += len(c.prefix); !ok || n < 0 || n > len(old) {
				return fmt.Errorf("%w: text", ErrFrame)
			}
			rest, _ := t[1].(string)
			v = old[:n] + rest + c.suffix
		}
	}
	object[c.name] = v
	return nil
}

// change applies a "D" frame to the rows.
func (r *Replica) change(parts []any) error {
	rows, _ := r.Value.([]any)
	order, err := reorder(rows, parts[2], r.asRow)
	if err != nil {
		return err
	}
	changes, ok := parts[3].([]any)
	if !ok && !isZero(parts[3]) || len(changes)%3 != 0 {
		return fmt.Errorf("%w: changes", ErrFrame)
	}
	copied := -1
	for ; len(changes) > 0; changes = changes[3:] {
		i, ok := number(changes[0])
		j, ok2 := number(changes[1])
		if !ok || !ok2 || i >= len(order) || j >= len(r.columns) {
			return fmt.Errorf("%w: change", ErrFrame)
		}
		object := order[i].(map[string]any)
		if i != copied {
			object = maps.Clone(object)
			order[i], copied = object, i
		}
		if err := r.set(object, j, changes[2]); err != nil {
			return err
		}
	}
	r.Value = order
	if len(parts) == 5 {
		r.Extra = parts[4]
	}
	return nil
}

func (r *Replica) asRow(v any) (any, error) { return r.row(v) }

// reorder makes a new list of runs of the old one and of new elements.
func reorder(old []any, order any, element func(any) (any, error)) ([]any, error) {
	if isZero(order) {
		return slices.Clone(old), nil
	}
	runs, ok := order.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: order", ErrFrame)
	}
	out := make([]any, 0, len(old))
	for i := 0; i < len(runs); i++ {
		start, ok := number(runs[i])
		if !ok {
			v, err := element(runs[i])
			if err != nil {
				return nil, err
			}
			out = append(out, v)
			continue
		}
		i++
		n := -1
		if i < len(runs) {
			n, ok = number(runs[i])
		}
		// A list cannot grow by repeating itself without end.
		if !ok || n < 0 || start > len(old) || n > len(old)-start || len(out)+n > 2*len(old)+len(runs) {
			return nil, fmt.Errorf("%w: run", ErrFrame)
		}
		out = append(out, old[start:start+n]...)
	}
	return out, nil
}

// apply applies an operation of appendOp to a value.
func apply(old, op any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: depth", ErrFrame)
	}
	switch op := op.(type) {
	case map[string]any:
		object, ok := old.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: no object", ErrFrame)
		}
		object = maps.Clone(object)
		for name, part := range op {
			if isZero(part) {
				delete(object, name)
				continue
			}
			v, err := apply(object[name], part, depth+1)
			if err != nil {
				return nil, err
			}
			object[name] = v
		}
		return object, nil
	case []any:
		if len(op) == 1 {
			return op[0], nil
		}
		array, ok := old.([]any)
		if !ok || len(op) != 2 {
			return nil, fmt.Errorf("%w: no array", ErrFrame)
		}
		out, err := reorder(array, op[0], func(v any) (any, error) { return apply(nil, v, maxDepth) })
		if err != nil {
			return nil, err
		}
		parts, ok := op[1].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: elements", ErrFrame)
		}
		for name, part := range parts {
			i, ok := number(json.Number(name))
			if !ok || i >= len(out) {
				return nil, fmt.Errorf("%w: element", ErrFrame)
			}
			if out[i], err = apply(out[i], part, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: operation", ErrFrame)
}

// number is a non-negative integer.
func number(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return int(i), err == nil && i >= 0 && i < 1<<31-1
}

func isZero(v any) bool { return v == json.Number("0") }

func isArray(v any, n int) bool {
	a, ok := v.([]any)
	return ok && len(a) == n
}
