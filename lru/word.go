package lru

import (
	"reflect"
	"sync/atomic"
	"unsafe"
)

// wordKind says how a value of type V can be stored while others read it.
type wordKind uint8

const (
	notWord wordKind = iota // only by another node
	pointerWord
	word32
	word64
)

// wordKindOf reports how V is kept. Atomic access goes through the node's
// value field itself, at its own type's address: the collector sees a V.
func wordKindOf[V any]() wordKind {
	t := reflect.TypeFor[V]()
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return pointerWord
	case reflect.Int, reflect.Uint, reflect.Uintptr,
		reflect.Int32, reflect.Uint32, reflect.Float32,
		reflect.Int64, reflect.Uint64, reflect.Float64:
		if t.Size() == 4 {
			return word32
		}
		if unsafe.Sizeof(uintptr(0)) == 8 {
			return word64
		}
	}
	return notWord
}

// load returns the node's value.
func (n *node[K, V]) load(kind wordKind) V {
	at := unsafe.Pointer(&n.value)
	switch kind {
	case pointerWord:
		p := atomic.LoadPointer((*unsafe.Pointer)(at))
		return *(*V)(unsafe.Pointer(&p))
	case word64:
		w := atomic.LoadUint64((*uint64)(at))
		return *(*V)(unsafe.Pointer(&w))
	case word32:
		w := atomic.LoadUint32((*uint32)(at))
		return *(*V)(unsafe.Pointer(&w))
	}
	return n.value
}

// store replaces the value of a node whose kind is not notWord.
func (n *node[K, V]) store(kind wordKind, value V) {
	at, from := unsafe.Pointer(&n.value), unsafe.Pointer(&value)
	switch kind {
	case pointerWord:
		atomic.StorePointer((*unsafe.Pointer)(at), *(*unsafe.Pointer)(from))
	case word64:
		atomic.StoreUint64((*uint64)(at), *(*uint64)(from))
	case word32:
		atomic.StoreUint32((*uint32)(at), *(*uint32)(from))
	}
}
