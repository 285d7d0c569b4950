package lru

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"unsafe"
)

// hasher hashes keys with a secret of its cache, so that nobody outside can
// choose keys that collide.
type hasher[K comparable] struct {
	seed     maphash.Seed
	integers bool // K is an integer of 64 bits
	mask     uint64
	factor   uint64
}

func (s *hasher[K]) start() {
	s.seed = maphash.MakeSeed()
	s.mask, s.factor = rand.Uint64(), rand.Uint64()|1
	switch t := reflect.TypeFor[K](); t.Kind() {
	case reflect.Int, reflect.Uint, reflect.Uintptr, reflect.Int64, reflect.Uint64:
		s.integers = t.Size() == 8
	}
}

// hash costs half as much for an integer as maphash does: two folded
// multiplications, as in wyhash.
func (s *hasher[K]) hash(key K) uint64 {
	if !s.integers {
		return maphash.Comparable(s.seed, key)
	}
	hi, lo := bits.Mul64(*(*uint64)(unsafe.Pointer(&key))^s.mask, s.factor)
	hi, lo = bits.Mul64(hi^lo^s.mask, 0x9e3779b97f4a7c15)
	return hi ^ lo
}
