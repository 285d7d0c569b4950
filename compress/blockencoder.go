package compress

// blockEncoder writes brotli, RFC 7932, and deflate, RFC 1951, block by block.
// It is working memory only: what one block needs to know of those before it
// is in brotliState and in the bytes themselves, so one encoder serves any
// number of streams in turn.
//
// It exists beside andybalholm/brotli because a stream must be flushed to a
// byte boundary while no encoder is held, the window must be as small as the
// body, and distances must reach into a dictionary (RFC 9842).
type blockEncoder struct {
	find     matchFinder
	commands []command
	codes    []commandCode // brotli's
	prefix   prefixScratch
	literal  prefixCode // deflate's lengths are in it, too
	insert   prefixCode
	distance prefixCode
	context  literalsInContext // brotli's, of long texts

	// Counts of symbols, all zero between blocks.
	symbols   [288]uint32 // literals first
	inserts   [704]uint32
	distances [64]uint32

	run  [runBytes]byte // literals that are not counted yet
	runs int
}

const runBytes = 512

// A command copies insert literals and then length bytes from distance back. Of
// brotli, distance may be a wordDistance.
type command struct {
	insert, length, distance uint32
}

// blockBytes is the most that shares one set of prefix codes.
const blockBytes = 128 << 10

// tally counts n literals of src from at on. It gathers them first: most
// commands have a few, and a loop for each would be hard to foretell.
func (e *blockEncoder) tally(src []byte, at, n int) {
	const most = 16
	if n <= most && at+most <= len(src) {
		if e.runs > len(e.run)-most {
			e.tallyRest()
		}
		*(*[most]byte)(e.run[e.runs:]) = *(*[most]byte)(src[at:])
		e.runs += n
		return
	}
	count((*[256]uint32)(e.symbols[:256]), src[at:at+n])
}

func (e *blockEncoder) tallyRest() {
	count((*[256]uint32)(e.symbols[:256]), e.run[:e.runs])
	e.runs = 0
}

// count counts the bytes of p. Inlined it takes three times as long: the loop
// needs the registers.
//
//go:noinline
func count(counts *[256]uint32, p []byte) {
	for _, b := range p {
		counts[b]++
	}
}
