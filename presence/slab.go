package presence

import "math/bits"

// slab holds records of one kind in chunks. A record costs its own size, not
// that of the allocator's next class, and a reference to it four bytes. It
// stays where it is until it is freed. Chunks that became empty are given
// back, but for a few, so that coming and going does not allocate.
type slab[T any] struct {
	chunks []*[chunkSize]T
	state  []chunkState // of each chunk
	open   []uint32     // chunks with room
	holes  []uint32     // numbers of chunks that were given back
	empty  int          // chunks without a record
}

type chunkState struct {
	free uint64 // one bit for each record
	open uint32 // index in slab.open, if one is free
}

const (
	chunkSize = 64 // bits in a word
	allFree   = ^uint64(0)
	spare     = 64 // empty chunks that a slab keeps
)

// ref names a record of a slab; 0 is none.
type ref uint32

func (s *slab[T]) at(r ref) *T {
	i := uint32(r) - 1
	return &s.chunks[i/chunkSize][i%chunkSize]
}

// add returns a record that is zero.
func (s *slab[T]) add() (ref, *T) {
	if len(s.open) == 0 {
		s.grow()
	}
	last := len(s.open) - 1
	n := s.open[last]
	c := &s.state[n]
	if c.free == allFree {
		s.empty--
	}
	i := uint32(bits.TrailingZeros64(c.free))
	c.free &= c.free - 1
	if c.free == 0 {
		s.open = s.open[:last]
	}
	return ref(n*chunkSize + i + 1), &s.chunks[n][i]
}

func (s *slab[T]) grow() {
	n := uint32(len(s.chunks))
	if last := len(s.holes) - 1; last >= 0 {
		n, s.holes = s.holes[last], s.holes[:last]
	} else {
		s.chunks = append(s.chunks, nil)
		s.state = append(s.state, chunkState{})
	}
	s.chunks[n] = new([chunkSize]T)
	s.state[n] = chunkState{free: allFree, open: uint32(len(s.open))}
	s.open = append(s.open, n)
	s.empty++
}

// remove frees a record, which must not be used any more.
func (s *slab[T]) remove(r ref) {
	n, i := (uint32(r)-1)/chunkSize, (uint32(r)-1)%chunkSize
	var zero T
	s.chunks[n][i] = zero
	c := &s.state[n]
	if c.free == 0 {
		c.open = uint32(len(s.open))
		s.open = append(s.open, n)
	}
	c.free |= 1 << i
	if c.free != allFree {
		return
	}
	if s.empty++; s.empty > spare {
		last := len(s.open) - 1
		s.open[c.open] = s.open[last]
		s.state[s.open[c.open]].open = c.open
		s.open = s.open[:last]
		s.chunks[n] = nil
		s.holes = append(s.holes, n)
		s.empty--
	}
}
