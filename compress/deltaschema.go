package compress

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// A column is one field of a struct as it travels: by position, not by name.
type column struct {
	name           string
	offset         uintptr // in the struct
	typ            reflect.Type
	omit           bool // an empty value is left out: null on the wire
	prefix, suffix string
	kind           reflect.Kind // Invalid: by encoding/json
}

// schema is what is known of the struct T: which of its fields travel, in
// which order, and which one tells rows apart.
type schema struct {
	columns []column
	size    uintptr // of the struct
	affixes int     // bytes of a row's strings that do not travel
	key     int
	header  []byte // the columns as JSON, for snapshots
	// flat structs are of strings, numbers, bools and times only: two that are
	// the same in memory are the same.
	flat bool
}

// schemaOf reads the tags of a struct type. The name is that of the json
// tag; a delta tag adds options, separated by commas:
//
//	delta:"key"                       tells rows apart; default: the field named id
//	delta:"-"                         is not sent
//	delta:"prefix=https://…,suffix=…" is left out of strings that begin and end so
func schemaOf(t reflect.Type, only []string) (*schema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("compress: delta of %v, want a struct", t)
	}
	s := &schema{size: t.Size(), key: -1, flat: true}
	for field := range t.Fields() {
		s.flat = s.flat && flat(field.Type)
	}
	var errs []error
	wanted := make(map[string]bool)
	for _, name := range only {
		wanted[name] = true
	}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("delta")
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || tag == "-" || name == "-" && opts == "" {
			continue
		}
		if f.Anonymous && name == "" {
			if f.Type.Kind() == reflect.Pointer {
				errs = append(errs, fmt.Errorf("compress: delta of %v: embedded pointer %s", t, f.Name))
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		c := column{name: name, offset: offsetOf(t, f.Index), typ: f.Type, kind: plainKind(f.Type)}
		for opt := range strings.SplitSeq(opts, ",") {
			c.omit = c.omit || opt == "omitempty" || opt == "omitzero"
			if opt == "string" {
				c.kind = reflect.Invalid
				errs = append(errs, fmt.Errorf("compress: delta of %v: field %s: json option string is not supported", t, f.Name))
			}
		}
		key := tag == "key" || strings.HasPrefix(tag, "key,")
		if len(only) > 0 && !wanted[name] && !key {
			continue
		}
		delete(wanted, name)
		for opt := range strings.SplitSeq(tag, ",") {
			switch v, ok := strings.CutPrefix(opt, "prefix="); {
			case ok:
				c.prefix = v
			case strings.HasPrefix(opt, "suffix="):
				c.suffix = strings.TrimPrefix(opt, "suffix=")
			case opt != "" && opt != "key":
				errs = append(errs, fmt.Errorf("compress: delta of %v: field %s: unknown option %q", t, f.Name, opt))
			}
		}
		if c.kind != reflect.String && c.prefix+c.suffix != "" {
			errs = append(errs, fmt.Errorf("compress: delta of %v: field %s: prefix and suffix are for strings", t, f.Name))
		}
		if key || name == "id" && s.key < 0 {
			s.key = len(s.columns)
		}
		s.columns = append(s.columns, c)
		s.affixes += len(c.prefix) + len(c.suffix)
	}
	for name := range wanted {
		errs = append(errs, fmt.Errorf("compress: delta of %v: no field %q", t, name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(s.columns) == 0 {
		return nil, fmt.Errorf("compress: delta of %v: no fields", t)
	}
	s.header = s.appendHeader(nil)
	if s.key < 0 {
		return s, fmt.Errorf("compress: delta of %v: %w", t, errNoKey)
	}
	return s, nil
}

var errNoKey = errors.New(`no field has the tag delta:"key" or the name id`)

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// plainKind is the kind of a type that is encoded without encoding/json.
func plainKind(t reflect.Type) reflect.Kind {
	for _, m := range [...]reflect.Type{jsonMarshaler, textMarshaler} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return reflect.Invalid
		}
	}
	switch k := t.Kind(); k {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return k
	}
	return reflect.Invalid
}

// flat reports whether a value is all in its memory, and in strings. What a
// type says of itself, with a method, may depend on more than that.
func flat(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true
	}
	for _, m := range [...]reflect.Type{jsonMarshaler, textMarshaler} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return false
		}
	}
	switch k := t.Kind(); k {
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for field := range t.Fields() {
			if !flat(field.Type) {
				return false
			}
		}
		return true
	default:
		return k == reflect.String || k >= reflect.Bool && k <= reflect.Complex128 && k != reflect.Uintptr
	}
}

// at is where struct i of those side by side at rows is.
func (s *schema) at(rows unsafe.Pointer, i int) unsafe.Pointer {
	return unsafe.Add(rows, uintptr(i)*s.size)
}

// same reports whether two flat structs are the same in this field.
func (c *column) same(a, b unsafe.Pointer) bool {
	a, b = unsafe.Add(a, c.offset), unsafe.Add(b, c.offset)
	if c.kind == reflect.String {
		return *(*string)(a) == *(*string)(b)
	}
	return sameMemory(a, b, c.typ.Size())
}

func sameMemory(a, b unsafe.Pointer, n uintptr) bool {
	return unsafe.String((*byte)(a), int(n)) == unsafe.String((*byte)(b), int(n))
}

// appendHeader appends the columns: a name, with "?" when it may be absent,
// and for strings an array of that with what is left out of the values.
func (s *schema) appendHeader(dst []byte) []byte {
	dst = append(dst, '[')
	for i, c := range s.columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		name := c.name
		if c.omit {
			name += "?"
		}
		if c.kind != reflect.String {
			dst = appendString(dst, name)
			continue
		}
		dst = append(dst, '[')
		dst = appendString(dst, name)
		dst = appendString(append(dst, ','), c.prefix)
		dst = appendString(append(dst, ','), c.suffix)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// offsetOf is where a field is in the struct. Behind a pointer it is nowhere,
// and schemaOf has an error for that.
func offsetOf(t reflect.Type, index []int) (sum uintptr) {
	for _, i := range index {
		if t.Kind() != reflect.Struct {
			return 0
		}
		f := t.Field(i)
		sum, t = sum+f.Offset, f.Type
	}
	return sum
}

// appendValue appends the field of the struct at row.
func (c *column) appendValue(dst []byte, row unsafe.Pointer) ([]byte, error) {
	p := unsafe.Add(row, c.offset)
	if c.omit || c.kind != reflect.String && c.kind != reflect.Bool {
		return c.appendAny(dst, p)
	}
	if c.kind == reflect.Bool {
		return strconv.AppendBool(dst, *(*bool)(p)), nil
	}
	return c.appendText(dst, *(*string)(p)), nil
}

func (c *column) appendText(dst []byte, s string) []byte {
	if len(c.prefix)+len(c.suffix) == 0 {
		return appendString(dst, s)
	}
	if len(s) < len(c.prefix)+len(c.suffix) || !strings.HasPrefix(s, c.prefix) || !strings.HasSuffix(s, c.suffix) {
		return append(appendString(append(dst, '['), s), ']')
	}
	return appendString(dst, s[len(c.prefix):len(s)-len(c.suffix)])
}

// appendAny is appendValue for what is less common.
func (c *column) appendAny(dst []byte, p unsafe.Pointer) ([]byte, error) {
	v := reflect.NewAt(c.typ, p).Elem()
	if c.omit && empty(v) {
		return append(dst, "null"...), nil
	}
	switch c.kind {
	case reflect.String:
		return c.appendText(dst, v.String()), nil
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return dst, fmt.Errorf("compress: delta field %s: %w", c.name, err)
	}
	return append(dst, b...), nil
}

// empty is what encoding/json leaves out under omitempty or omitzero.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	}
	return v.IsZero()
}

// plainBytes is how many bytes s begins with that a JSON string has as they
// are, or fewer than eight less: it looks at eight at a time.
func plainBytes(s string) (n int) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	base := unsafe.Pointer(unsafe.StringData(s))
	for ; n+8 <= len(s); n += 8 {
		v := load64(base, n)
		quote, backslash := v^'"'*ones, v^'\\'*ones
		// The lowest of these bits is right; those above it may have been
		// borrowed from.
		if other := (v | (v - 0x20*ones) | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs; other != 0 {
			return n + bits.TrailingZeros64(other)>>3
		}
	}
	return n
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := plainBytes(s); i < len(s); {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' && b < utf8.RuneSelf {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = append(dst, s[from:i]...)
			switch b {
			case '"', '\\':
				dst = append(dst, '\\', b)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			}
			i++
			from = i
			i += plainBytes(s[i:])
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[from:i]...)
			dst = append(dst, "\ufffd"...)
			i++
			from = i
			continue
		}
		i += n
	}
	return append(append(dst, s[from:]...), '"')
}
