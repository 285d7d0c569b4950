package web

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// The figures of every package come as plain structs, one sentence a field in
// its documentation. This file shows any of them twice: as JSON for people
// and as Prometheus text for machines, so that the two cannot disagree.

// document turns v into what encoding/json prints with lower-case names and
// durations in seconds.
func document(v reflect.Value) any {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		return document(v.Elem())
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds()
	case time.Time:
		if x.IsZero() {
			return nil
		}
		return x
	case encoding.TextMarshaler:
		return x
	}
	switch v.Kind() {
	case reflect.Struct:
		out := make(map[string]any, v.NumField())
		for name, field := range fields(v) {
			out[name] = document(field)
		}
		return out
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			out[fmt.Sprint(k)] = document(v.MapIndex(k))
		}
		return out
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = document(v.Index(i))
		}
		return out
	case reflect.Func, reflect.Chan:
		return nil
	}
	return v.Interface()
}

// fields yields the exported fields with the names that they have in JSON.
func fields(v reflect.Value) func(yield func(string, reflect.Value) bool) {
	return func(yield func(string, reflect.Value) bool) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			if name == "" {
				name = lowerFirst(f.Name)
			}
			if f.Type == reflect.TypeFor[time.Duration]() {
				name += "Seconds"
			}
			if !yield(name, v.Field(i)) {
				return
			}
		}
	}
}

// lowerFirst makes MaxBytes maxBytes and SDPs sdps.
func lowerFirst(s string) string {
	rs := []rune(s)
	for i := range rs {
		if !unicode.IsUpper(rs[i]) || i > 0 && i+1 < len(rs) && unicode.IsLower(rs[i+1]) && !(i+2 == len(rs) && rs[i+1] == 's') {
			break
		}
		rs[i] = unicode.ToLower(rs[i])
	}
	return string(rs)
}

// exposition writes v in the Prometheus text format, version 0.0.4: a line for
// each number, its path as the name, and a label for the elements of a list or map.
func exposition(w io.Writer, v any) {
	e := exposer{families: map[string]*bytes.Buffer{}}
	e.walk("plimsoll", "", reflect.ValueOf(v))
	for _, name := range e.order {
		_, _ = e.families[name].WriteTo(w) // who asked may have left
	}
}

// exposer keeps the lines of one name together, as the format wants.
type exposer struct {
	families map[string]*bytes.Buffer
	order    []string
}

func (e *exposer) walk(name, label string, v reflect.Value) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if !v.IsNil() {
			e.walk(name, label, v.Elem())
		}
		return
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		e.line(name, label, "counter", x.Seconds())
		return
	case time.Time:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for field, value := range fields(v) {
			e.walk(name+"_"+snake(field), label, value)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			e.walk(name, fmt.Sprint(k), v.MapIndex(k))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			e.walk(name, labelOf(v.Index(i), i), v.Index(i))
		}
	case reflect.Bool:
		n := 0.0
		if v.Bool() {
			n = 1
		}
		e.line(name, label, "gauge", n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.line(name, label, "gauge", float64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.line(name+"_total", label, "counter", float64(v.Uint()))
	case reflect.Float32, reflect.Float64:
		e.line(name, label, "gauge", v.Float())
	}
}

func (e *exposer) line(name, label, kind string, value float64) {
	family, ok := e.families[name]
	if !ok {
		family = new(bytes.Buffer)
		e.families[name] = family
		e.order = append(e.order, name)
		fmt.Fprintf(family, "# TYPE %s %s\n", name, kind)
	}
	if label != "" {
		label = fmt.Sprintf("{name=%q}", label)
	}
	fmt.Fprintf(family, "%s%s %g\n", name, label, value)
}

// labelOf is the Name of a list's element, or its place.
func labelOf(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Name"); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
	}
	return fmt.Sprint(i)
}

// snake makes maxBytes max_bytes.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
