package compress

import (
	"time"
)

// startStream sends the header of a body that goes out in blocks. A stream
// always has a buffer, however small, so that it can go on without memory.
func (rw *response) startStream() error {
	if rw.body == nil {
		if rw.body = rw.c.buffers.get(2048); rw.body == nil {
			rw.c.count.refusedMemory.Add(1)
			return rw.sendPlain()
		}
	}
	rw.stream.coding = rw.want
	rw.stream.lgwin = window(rw.c.opts.BlockBytes)
	rw.stream.pad = randomPad(rw.c.opts.Padding)
	rw.dict.clear()
	rw.announce(rw.want, -1)
	rw.state = streaming
	return nil
}

// sendBlock encodes and sends what is in the buffer, and keeps the end of it
// as history. While the client reads, neither an encoder is held nor a large
// buffer: one of the right size has the history and what is being sent.
func (rw *response) sendBlock() error {
	buf := rw.body.b
	plain := buf[rw.history:]
	if len(plain) == 0 {
		rw.history, rw.body.b = 0, buf[:0]
		return nil
	}
	c := rw.c
	e := c.engines.acquire(rw.stream.coding)
	if e == nil {
		c.count.refusedBusy.Add(1)
		return rw.sendStored(plain)
	}
	before := rw.stream
	start := time.Now()
	e.out = e.block(e.out[:0], &rw.stream, buf, rw.history)
	n := len(e.out)
	keep := rw.keep()
	next := c.buffers.get(keep + n)
	if next == nil && n > cap(buf) { // larger than before, and no memory
		e.release()
		rw.stream = before
		c.count.refusedMemory.Add(1)
		return rw.sendStored(plain)
	}
	if next == nil {
		// No memory for another one: this one will do, with less history.
		keep = min(keep, max(cap(buf)-n, 0))
		copy(buf[:keep], buf[len(buf)-keep:])
		rw.body.b = append(buf[:keep], e.out...)
	} else {
		next.b = append(next.b, buf[len(buf)-keep:]...)
		next.b = append(next.b, e.out...)
		c.buffers.put(rw.body)
		rw.body = next
	}
	e.release()
	c.count.encoded(rw.stream.coding, len(plain), n, time.Since(start))
	out := rw.body.b[keep:]
	rw.history, rw.body.b = keep, rw.body.b[:keep]
	_, err := rw.w.Write(out)
	return err
}

// keep is how much of the plain body the next block may copy from.
func (rw *response) keep() int {
	if rw.stream.coding == zstdCoding {
		return 0 // each block is a frame of its own
	}
	return min(historyBytes, len(rw.body.b), rw.c.opts.BlockBytes/4)
}

// sendStored sends plain without an encoder, in pieces that need no memory.
func (rw *response) sendStored(plain []byte) error {
	piece := make([]byte, 0, 2<<10)
	for len(plain) > 0 {
		n := min(len(plain), cap(piece)-64)
		if _, err := rw.w.Write(rw.stream.stored(piece, plain[:n])); err != nil {
			return err
		}
		plain = plain[n:]
	}
	keep := rw.keep()
	rw.body.b = append(rw.body.b[:0], rw.body.b[len(rw.body.b)-keep:]...)
	rw.history = keep
	return nil
}

// finishStream sends the last block and the end. A body that is shorter than
// the handler declared is left without an end, so that the client sees it.
func (rw *response) finishStream() {
	if rw.sendBlock() != nil || rw.written < rw.declared {
		return
	}
	rw.w.Write(rw.stream.end(rw.body.b[:0]))
}
