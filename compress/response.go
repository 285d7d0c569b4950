package compress

import (
	"io"
	"net/http"
	"strconv"
)

// response stands between a handler and the server. It holds the body back
// until its coding is decided, and then either steps aside (passing), or
// collects it to encode it whole when the handler returns (buffering), or
// sends it block by block (streaming).
type response struct {
	c      *Compressor
	w      http.ResponseWriter
	r      *http.Request
	accept accept
	want   coding // what the body is to be encoded with, if it is

	state    responseState
	code     int
	typed    bool // there is nothing to sniff any more
	known    bool // the response has a Content-Type
	declared int64
	written  int64
	body     *buffer // history and then what is not encoded yet
	history  int
	stream   stream
	tags     []string // If-None-Match as the client sent it
	dict     dictionaryUse
	snap     snapshot
	arena    valueArena
}

type responseState uint8

const (
	open      responseState = iota // nothing from the handler yet
	buffering                      // header decided, nothing sent
	streaming                      // header sent, body goes out in blocks
	passing                        // header sent, body goes straight through
	hijacked
)

const sniffBytes = 512 // what http.DetectContentType looks at

func (rw *response) begin(w http.ResponseWriter, r *http.Request, a accept) {
	rw.w, rw.r, rw.accept = w, r, a
	rw.want = a.best(rw.c.prefer)
	rw.tags = r.Header["If-None-Match"]
	rw.declared = -1
}

// reset forgets the response, so that the next one can use the memory.
func (rw *response) reset() {
	snap, arena := rw.snap, rw.arena
	snap.reset()
	*rw = response{c: rw.c, snap: snap, arena: arena}
}

// abandon gives up what is held after a panic. Nothing more is sent.
func (rw *response) abandon() {
	rw.dropBody()
	rw.state = hijacked
}

func (rw *response) dropBody() {
	rw.c.buffers.put(rw.body)
	rw.body = nil
}

// Header returns the header of the server's writer.
func (rw *response) Header() http.Header { return rw.w.Header() }

// Unwrap lets http.ResponseController reach the server's writer.
func (rw *response) Unwrap() http.ResponseWriter { return rw.w }

// WriteHeader decides what happens to the body. As without the middleware,
// the first final status wins and later changes to the header are too late.
func (rw *response) WriteHeader(code int) {
	switch {
	case rw.state == hijacked || rw.state == passing:
		rw.w.WriteHeader(code) // the server complains
	case rw.state != open:
	case code >= 100 && code < 200 && code != http.StatusSwitchingProtocols:
		rw.w.WriteHeader(code)
	default:
		rw.commit(code)
	}
}

// commit takes the header as it is now and chooses the next state.
func (rw *response) commit(code int) {
	rw.code = code
	h := rw.w.Header()
	if code < 200 || code == http.StatusNoContent || code == http.StatusResetContent ||
		len(h["Content-Encoding"]) > 0 && h["Content-Encoding"][0] != "" {
		rw.pass(passedEncoded, false)
		return
	}
	if anyListed(h["Cache-Control"], "no-transform") {
		rw.pass(passedNoTransform, false)
		return
	}
	types, set := h["Content-Type"]
	rw.typed, rw.known = set, len(types) > 0
	if set && (len(types) == 0 || !rw.c.compressible(types[0])) {
		rw.pass(passedType, false)
		return
	}
	if code == http.StatusNotModified {
		if tag := h.Get("Etag"); tag != "" {
			h.Set("Etag", matchedTag(tag, rw.tags))
		}
		rw.pass(passedBodyless, true)
		return
	}
	if code == http.StatusPartialContent || len(h["Content-Range"]) > 0 {
		rw.pass(passedRange, true)
		return
	}
	rw.declared = declaredLength(h)
	if rw.typed && rw.want == identity {
		rw.pass(passedNotAccepted, true)
		return
	}
	if rw.typed && rw.declared >= 0 && rw.tooShort(rw.declared) {
		rw.pass(passedShort, true)
		return
	}
	rw.snap.take(h)
	rw.state = buffering
}

func declaredLength(h http.Header) int64 {
	if v := h["Content-Length"]; len(v) > 0 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// tooShort reports whether a body of n bytes stays plain. Where the client
// refuses plain bodies, any length is long enough.
func (rw *response) tooShort(n int64) bool {
	return n == 0 || n < int64(rw.c.opts.MinBytes) && !rw.accept.refusesIdentity()
}

// Write collects or sends p.
func (rw *response) Write(p []byte) (int, error) { return write(rw, p, rw.w.Write) }

// WriteString is Write for a string, without a copy of it.
func (rw *response) WriteString(s string) (int, error) {
	return write(rw, s, func(s string) (int, error) { return io.WriteString(rw.w, s) })
}

func write[T []byte | string](rw *response, p T, through func(T) (int, error)) (n int, err error) {
	if rw.state == open {
		rw.commit(http.StatusOK)
	}
	if rw.state == passing || rw.state == hijacked {
		rw.written += int64(len(p))
		return through(p)
	}
	if rw.declared >= 0 && rw.written+int64(len(p)) > rw.declared {
		p = p[:rw.declared-rw.written]
		err = http.ErrContentLength
	}
	rw.written += int64(len(p))
	if rw.r.Method == http.MethodHead && rw.typed {
		return len(p), err
	}
	for n < len(p) {
		room, failed := rw.room(len(p) - n)
		if failed != nil {
			return n, failed
		}
		if room == 0 { // stepped aside
			m, failed := through(p[n:])
			if failed != nil {
				return n + m, failed
			}
			return n + m, err
		}
		rw.body.b = append(rw.body.b, p[n:n+room]...)
		n += room
		if failed := rw.sniff(false); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// room makes room in the buffer for some of the next n bytes and returns for
// how many. It returns 0 when the response has become one that passes.
func (rw *response) room(n int) (int, error) {
	limit := rw.c.opts.BlockBytes
	for rw.state == buffering || rw.state == streaming {
		have := 0
		if rw.body != nil {
			have = len(rw.body.b)
			if free := min(cap(rw.body.b), limit) - have; free > 0 {
				return min(n, free), nil
			}
		}
		if have < limit && rw.enlarge(have, n, limit) {
			continue
		}
		if err := rw.overflow(have); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// enlarge gets a buffer for have+n bytes or for what is known to come.
func (rw *response) enlarge(have, n, limit int) bool {
	size := max(have+n, have+have/4, 2048)
	if rw.declared > 0 && rw.declared <= int64(limit) {
		size = int(rw.declared)
	}
	size = min(size, limit)
	if rw.body == nil {
		rw.body = rw.c.buffers.get(size)
		return rw.body != nil
	}
	b := rw.c.buffers.grow(rw.body, size-have)
	if b == nil {
		return false
	}
	rw.body = b
	return true
}

// overflow acts on a buffer that is full or cannot grow: a long body becomes
// a stream, one for which there is no memory goes out as it is.
func (rw *response) overflow(have int) error {
	if rw.state == streaming {
		return rw.sendBlock() // always leaves room
	}
	if err := rw.sniff(true); err != nil || rw.state != buffering {
		return err
	}
	if have < rw.c.opts.BlockBytes {
		rw.c.count.refusedMemory.Add(1)
		return rw.sendPlain()
	}
	if err := rw.startStream(); err != nil || rw.state != streaming {
		return err
	}
	return rw.sendBlock()
}

// sniff finds the type of a body without one, as the server would, from its
// first bytes: when there are enough of them, or now.
func (rw *response) sniff(now bool) error {
	if rw.typed || rw.state != buffering || !now && len(rw.body.b) < sniffBytes {
		return nil
	}
	rw.typed = true
	var start []byte
	if rw.body != nil {
		start = rw.body.b
	}
	if len(start) == 0 {
		return nil
	}
	detected := http.DetectContentType(start[:min(len(start), sniffBytes)])
	rw.known = true
	rw.snap.add(detected)
	if h := rw.w.Header(); h["Content-Type"] == nil {
		rw.arena.set(h, "Content-Type", detected)
	}
	switch {
	case !rw.c.compressible(detected):
		return rw.sendAsIs(passedType, false)
	case rw.want == identity:
		return rw.sendAsIs(passedNotAccepted, true)
	}
	return nil
}
