package compress

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// budget bounds bytes, and asks the account for each of them.
type budget struct {
	max     int64
	used    atomic.Int64
	account Account
}

func (b *budget) reserve(n int64) bool {
	if b.used.Add(n) > b.max || b.account != nil && b.account.Reserve(n) != nil {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.account != nil {
		b.account.Release(n)
	}
}

// A buffer is a pooled byte slice whose capacity the budget counts for as
// long as somebody holds it.
type buffer struct{ b []byte }

// bufferPool recycles buffers by size class: four classes for each power of
// two from 512 bytes to 2 MiB, so that less than a quarter is wasted.
type bufferPool struct {
	budget  *budget
	classes [52]sync.Pool
}

const minBufferBits = 9

// class returns the index and the size of the smallest class that holds n.
func class(n int) (index, size int) {
	if n <= 1<<minBufferBits {
		return 0, 1 << minBufferBits
	}
	shift := bits.Len(uint(n-1)) - 3 // n-1 = 1xx… << shift
	top := (n - 1) >> shift          // 4 to 7
	return 1 + (shift-minBufferBits+2)*4 + top - 4, (top + 1) << shift
}

// get returns an empty buffer with room for n bytes, or nil if the budget
// has no room.
func (p *bufferPool) get(n int) *buffer {
	i, size := class(n)
	if i >= len(p.classes) || !p.budget.reserve(int64(size)) {
		return nil
	}
	if v := p.classes[i].Get(); v != nil {
		return v.(*buffer)
	}
	return &buffer{make([]byte, 0, size)}
}

// put takes back a buffer; nil is no buffer.
func (p *bufferPool) put(b *buffer) {
	if b == nil {
		return
	}
	p.budget.release(int64(cap(b.b)))
	b.b = b.b[:0]
	i, _ := class(cap(b.b))
	p.classes[i].Put(b)
}

// grow returns a buffer with b's bytes and room for n more, and takes b
// back; nil if the budget has no room, with b left as it was.
func (p *bufferPool) grow(b *buffer, n int) *buffer {
	bigger := p.get(len(b.b) + n)
	if bigger != nil {
		bigger.b = append(bigger.b, b.b...)
		p.put(b)
	}
	return bigger
}
