package connmgr

// chunkLen is how many items a slab allocates at a time.
const chunkLen = 256

// A slab stores items by number, in chunks that never move. Numbers start at
// 1, so that 0 means none, and are reused last in, first out. When the last
// item is freed all chunks but the first go back to the garbage collector.
// Items are linked through link while they are free.
//
// Not safe for concurrent use.
type slab[T any, P interface {
	*T
	link() *uint32
}] struct {
	chunks []*[chunkLen]T
	free   uint32 // head of the list of freed numbers
	high   uint32 // highest number ever given since the last reset
	live   int
}

// at returns the item with number i, which must be in 1..high.
func (s *slab[T, P]) at(i uint32) P {
	i--
	return P(&s.chunks[i/chunkLen][i%chunkLen])
}

// alloc returns the number of a zeroed item.
func (s *slab[T, P]) alloc() uint32 {
	s.live++
	if i := s.free; i != 0 {
		l := s.at(i).link()
		s.free, *l = *l, 0
		return i
	}
	if int(s.high) == len(s.chunks)*chunkLen {
		s.chunks = append(s.chunks, new([chunkLen]T))
	}
	s.high++
	*s.at(s.high).link() = 0 // left over from before a reset
	return s.high
}

// release zeroes item i and gives its number back.
func (s *slab[T, P]) release(i uint32) {
	p := s.at(i)
	var zero T
	*p = zero
	*p.link() = s.free
	s.free = i
	if s.live--; s.live == 0 {
		s.reset()
	}
}

func (s *slab[T, P]) reset() {
	if len(s.chunks) > 1 {
		s.chunks = []*[chunkLen]T{s.chunks[0]}
	}
	s.free, s.high, s.live = 0, 0, 0
}
