package compress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// pass sends the header as the handler made it and steps aside.
func (rw *response) pass(why passReason, negotiable bool) {
	rw.state = passing
	rw.c.count.passed[why].Add(1)
	if negotiable {
		rw.vary(rw.w.Header())
	}
	rw.w.WriteHeader(rw.code)
}

func (rw *response) vary(h http.Header) {
	rw.arena.addVary(h, "Accept-Encoding")
	if rw.dict.offer != "" {
		rw.arena.addVary(h, "Available-Dictionary")
	}
}

// sendAsIs sends what was held back, plain, and steps aside.
func (rw *response) sendAsIs(why passReason, negotiable bool) error {
	rw.snap.restore(rw.w.Header())
	rw.pass(why, negotiable)
	rw.snap.reapply(rw.w.Header())
	if rw.body == nil {
		return nil
	}
	defer rw.dropBody()
	if len(rw.body.b) == 0 {
		return nil
	}
	_, err := rw.w.Write(rw.body.b)
	return err
}

// sendPlain is sendAsIs for a body that would have been encoded.
func (rw *response) sendPlain() error { return rw.sendAsIs(passedRefused, true) }

// announce turns the handler's header into that of the encoded body; length
// is -1 when it is not known.
func (rw *response) announce(cd coding, length int) {
	h := rw.w.Header()
	rw.snap.restore(h)
	rw.vary(h)
	rw.arena.set(h, "Content-Encoding", cd.String())
	if rw.dict.stored {
		rw.arena.set(h, "Use-As-Dictionary", rw.dict.offer)
	}
	if rw.snap.describes {
		if tag := h["Etag"]; len(tag) > 0 {
			if t, changed := encodedTag(tag[0], cd); changed {
				rw.arena.set(h, "Etag", t)
			}
		}
		for _, stale := range [...]string{"Accept-Ranges", "Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
			delete(h, stale)
		}
	}
	if length >= 0 && !rw.snap.hasTrailers() {
		rw.arena.set(h, "Content-Length", strconv.Itoa(length))
	}
	rw.w.WriteHeader(rw.code)
	rw.snap.reapply(h)
}

// finish sends what is held back when the handler has returned.
func (rw *response) finish() {
	defer rw.dropBody()
	if rw.state == open && rw.r.Method == http.MethodHead {
		rw.commit(http.StatusOK) // what GET would be answered shows in the header
	}
	switch rw.state {
	case buffering:
		rw.finishWhole()
	case streaming:
		rw.finishStream()
	}
}

func (rw *response) finishWhole() {
	if rw.r.Method == http.MethodHead {
		rw.finishHead()
		return
	}
	if rw.sniff(true) != nil || rw.state != buffering {
		return
	}
	if rw.tooShort(rw.written) || rw.written < rw.declared {
		rw.sendAsIs(passedShort, rw.typed && rw.written > 0)
		return
	}
	out, cd := rw.encodeWhole()
	if out == nil {
		rw.sendPlain()
		return
	}
	rw.announce(cd, len(out.b))
	rw.w.Write(out.b)
	if out != rw.body {
		rw.c.buffers.put(out)
	}
}

// finishHead answers HEAD as GET would be answered, as far as is known
// without a body.
func (rw *response) finishHead() {
	n := max(rw.written, rw.declared)
	if !rw.typed || rw.tooShort(n) || rw.want == identity {
		rw.sendAsIs(passedBodyless, rw.typed)
		return
	}
	rw.announce(rw.want, -1)
}

// encodeWhole encodes the body. It returns it in a buffer of its own size,
// with the encoder and the body's buffer given back, or nil when the body
// must go out as it is.
func (rw *response) encodeWhole() (*buffer, coding) {
	c, body := rw.c, rw.body.b
	rw.prepareDictionary(body)
	cd := rw.want
	if rw.dict.coding != identity {
		cd = rw.dict.coding
	}
	e := c.engines.acquire(cd)
	if e == nil {
		c.count.refusedBusy.Add(1)
		return nil, 0
	}
	start := time.Now()
	s := &rw.stream
	s.coding, s.pad = cd, randomPad(c.opts.Padding)
	if rw.dict.coding != identity {
		e.out = e.withDictionary(e.out[:0], s, rw.dict.bytes, body, rw.dict.hash)
		rw.dict.bytes = nil
	} else {
		e.out = e.whole(e.out[:0], s, body)
	}
	n := len(e.out)
	c.count.encoded(cd, len(body), n, time.Since(start))
	if n+n/50 >= len(body) && !rw.accept.refusesIdentity() {
		e.release()
		c.count.incompressible.Add(1)
		return nil, 0
	}
	out := c.buffers.get(n)
	if out == nil && n <= cap(body) {
		out = rw.body // no room for a smaller one: stay in this one
		out.b = out.b[:0]
	}
	if out == nil {
		e.release()
		c.count.refusedMemory.Add(1)
		return nil, 0
	}
	out.b = append(out.b, e.out...)
	e.release()
	if out != rw.body {
		rw.dropBody()
	}
	return out, cd
}

// ReadFrom copies from src; a response that passes lets the server do it.
func (rw *response) ReadFrom(src io.Reader) (n int64, err error) {
	if rw.state == open {
		rw.commit(http.StatusOK)
	}
	if rw.state == passing || rw.state == hijacked {
		if to, ok := rw.w.(io.ReaderFrom); ok {
			return to.ReadFrom(src)
		}
	}
	b := rw.c.buffers.get(16 << 10)
	if b == nil {
		return io.CopyBuffer(writerOnly{rw}, src, make([]byte, 2<<10))
	}
	defer rw.c.buffers.put(b)
	return io.CopyBuffer(writerOnly{rw}, src, b.b[:cap(b.b)])
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// Flush sends everything that the handler has written so far.
func (rw *response) Flush() { rw.FlushError() }

// FlushError is Flush for http.ResponseController.
func (rw *response) FlushError() error {
	if rw.state == open {
		rw.commit(http.StatusOK)
	}
	if rw.state == buffering {
		if err := rw.flushHeader(); err != nil {
			return err
		}
	}
	if rw.state == streaming {
		if err := rw.sendBlock(); err != nil {
			return err
		}
	}
	return http.NewResponseController(rw.w).Flush()
}

// flushHeader leaves buffering: for streaming, or for passing where the body
// is complete or its type is not known.
func (rw *response) flushHeader() error {
	if err := rw.sniff(true); err != nil || rw.state != buffering {
		return err
	}
	if rw.r.Method == http.MethodHead || rw.written > 0 && rw.written == rw.declared {
		rw.finishWhole()
		rw.dropBody()
		rw.state = passing
		return nil
	}
	if !rw.known {
		return rw.sendAsIs(passedType, false)
	}
	return rw.startStream()
}

// Hijack hands over the connection. What was held back is dropped, as the
// handler now speaks for itself.
func (rw *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(rw.w).Hijack()
	if err == nil {
		rw.dropBody()
		rw.state = hijacked
	}
	return conn, brw, err
}

// Push implements http.Pusher where the server does.
func (rw *response) Push(target string, opts *http.PushOptions) error {
	if p, ok := rw.w.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}
