package signaling

import (
	"compress/flate"
	"errors"
	"io"
	"runtime"
	"sync"
)

var errDeflate = errors.New("corrupt deflate")

// maxFinal is how many final blocks a message may have. Clients that use them
// at all send one. After each of them flate begins anew, which takes about as
// long as to inflate a KiB.
const maxFinal = 100

// inflater inflates one message after another. It is some 40 KiB in size, and
// there are no more at work than processors: a message that is complete waits
// for nothing else.
type inflater struct {
	flate io.Reader
	left  []byte // of the message or, behind it, of the tail
	tail  bool
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.flate = flate.NewReader(f)
	return f
}}

var inflating = make(chan struct{}, runtime.GOMAXPROCS(0))

// tail is what a sender leaves out at the end of a message (RFC 7692, 7.2.2),
// and a final block, which flate wants to see.
var tail = []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")

// Read implements io.Reader: it is what flate reads.
func (f *inflater) Read(b []byte) (int, error) {
	if len(f.left) == 0 {
		if f.tail {
			return 0, io.EOF
		}
		f.left, f.tail = tail, true
	}
	n := copy(b, f.left)
	f.left = f.left[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, so that flate takes no byte too many.
func (f *inflater) ReadByte() (byte, error) {
	if len(f.left) > 0 {
		c := f.left[0]
		f.left = f.left[1:]
		return c, nil
	}
	var b [1]byte
	_, err := f.Read(b[:])
	return b[0], err
}

// inflate puts into c what the deflated message becomes. Its end, or that of any
// part of it, may be a final block (RFC 7692, 7.2.3.4), behind which flate stops.
func (c *content) inflate(h *Hub, message []byte) error {
	inflating <- struct{}{}
	f := inflaters.Get().(*inflater)
	defer func() {
		f.left = nil
		inflaters.Put(f)
		<-inflating
	}()
	f.left, f.tail = message, false
	var window []byte
	for range maxFinal {
		f.flate.(flate.Resetter).Reset(f, window)
		if err := c.readAll(h, f.flate); err == errLarge || err == errMemory {
			return err
		} else if err != nil {
			return errDeflate
		}
		if f.tail || len(f.left) == 0 {
			return nil
		}
		window = c.b[max(0, len(c.b)-32<<10):]
	}
	return errDeflate
}
