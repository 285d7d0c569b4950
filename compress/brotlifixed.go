package compress

// fixedBrotli are codes of commands and distances for blocks of some dozens of
// commands, in which nearly every one is the only one of its kind: codes of
// their own would take as many bits to tell as they save, and a quarter of the
// time. TestFixedCodes compares both.
var fixedBrotli = func() (f fixedCodes) {
	var s prefixScratch
	f.insert.fix(&f.header, &s, []depthRun{
		{130, 11}, // copies from the distance of the one before
		{6, 5},    // of 4 to 9 bytes, no literals
		{65, 7},   // the same with up to 7 literals, or somewhat longer
		{247, 10}, // other copies with up to 193 literals
	})
	f.distance.fix(&f.header, &s, []depthRun{
		{20, 8}, // like a recent one, or less than 8
		{1, 6},
		{14, 4}, // 12 to 1532
		{2, 6},  // words of brotli's dictionary reach further
	})
	return f
}()

type fixedCodes struct {
	insert, distance prefixCode
	header           bitWriter // both, as they are stored
}

// Blocks of fewer commands, and of more, are smaller with codes of their own.
const minFixed, maxFixed = 24, 192

// A depthRun is n symbols with codes of so many bits.
type depthRun struct {
	n     int
	depth uint8
}

// fix makes pc a code of these depths, without symbols behind them, and stores
// it.
func (pc *prefixCode) fix(w *bitWriter, s *prefixScratch, runs []depthRun) {
	s.used = s.used[:0]
	for _, r := range runs {
		for range r.n {
			pc.depth[len(s.used)] = r.depth
			s.used = append(s.used, uint16(len(s.used)))
		}
	}
	pc.storeComplex(w, s)
	pc.number(s, make([]uint32, len(s.used)))
}

// serves reports whether the codes are for a block of these commands, and how
// many bits these take.
func (f *fixedCodes) serves(commands []commandCode) (size int, ok bool) {
	if len(commands) < minFixed || len(commands) > maxFixed {
		return 0, false
	}
	for i := range commands {
		c := &commands[i]
		depth := f.insert.depth[c.symbol]
		if depth == 0 {
			return 0, false
		}
		size += int(depth)
		if c.distance == noDistance {
			continue
		}
		if depth = f.distance.depth[c.distance]; depth == 0 {
			return 0, false
		}
		size += int(depth)
	}
	return size, true
}
