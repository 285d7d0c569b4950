package compress

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// A Projection encodes single structs as what a viewer needs of them: an
// array of the chosen fields' values, without their names. It is the row of a
// Delta on its own, for messages such as "this person is online". It is
// immutable and may be used from any goroutine.
type Projection[T any] struct{ schema *schema }

// NewProjection returns a Projection of the named fields (by their JSON
// names) of the struct T, or of all of them. Tags are those of NewDelta, but
// no key is needed.
func NewProjection[T any](fields ...string) (*Projection[T], error) {
	s, err := schemaOf(reflect.TypeFor[T](), fields)
	if err != nil && !errors.Is(err, errNoKey) {
		return nil, err
	}
	return &Projection[T]{s}, nil
}

// Columns is what a receiver needs once to read rows: the first argument of
// row in DeltaJS, as JSON.
func (p *Projection[T]) Columns() []byte { return append([]byte(nil), p.schema.header...) }

// Append appends v as a row. Its error is that of a field that encoding/json
// cannot encode.
func (p *Projection[T]) Append(dst []byte, v *T) ([]byte, error) {
	row := unsafe.Pointer(v)
	var err error
	for j := range p.schema.columns {
		sep := byte(',')
		if j == 0 {
			sep = '['
		}
		if dst, err = p.schema.columns[j].appendValue(append(dst, sep), row); err != nil {
			return dst, fmt.Errorf("compress: projection: %w", err)
		}
	}
	return append(dst, ']'), nil
}
