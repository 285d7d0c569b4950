package signaling

import "sync"

// block is memory for a message of about a KiB from one client to another. It
// goes from one message to the next, whose sender and receiver may be others.
// So nobody may look at it any more when it does: it belongs to a frame, which
// loses its bytes when nobody holds it, and who works on these without the lock
// of the queue that the frame is in holds the frame meanwhile.
type block struct {
	bytes []byte
}

// Blocks come in steps, so that little of one is unused: what counts for the
// bounds is the message. Shorter messages cost less than their return would.
const (
	blockStep = 256
	minBlock  = 3 * blockStep
	maxBlock  = smallMessage + blockStep
)

var blocks [maxBlock/blockStep + 1]sync.Pool

// newBlock returns a block for n bytes, or nil if there is none of this size.
func newBlock(n int) *block {
	if n <= minBlock-blockStep || n > maxBlock {
		return nil
	}
	step := (n + blockStep - 1) / blockStep
	if b, ok := blocks[step].Get().(*block); ok {
		return b
	}
	return &block{make([]byte, step*blockStep)}
}

// blank is where a message to one peer begins: with room for a header, for size
// bytes in all, in a block if there is one.
func blank(size int) ([]byte, *block) {
	if in := newBlock(size); in != nil {
		return in.bytes[:maxHeader:size], in
	}
	return make([]byte, maxHeader, size), nil
}

func (b *block) free() { blocks[len(b.bytes)/blockStep].Put(b) }
