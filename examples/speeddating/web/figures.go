package web

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// The figures of every package come as plain structs, one sentence a field in
// its documentation. This file shows any of them as JSON.

// Document turns figures into what /health shows.
func Document(figures any) any { return document(reflect.ValueOf(figures)) }

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
