package compress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// BodyError is what reading a decoded request body returns when it ends
// before its time.
type BodyError struct {
	// Status is the HTTP status that says so: 400 for bytes that do not
	// decode, 413 for a body beyond a limit.
	Status int
	// Err is the cause. For a body that is too large it is an
	// *http.MaxBytesError, as http.MaxBytesReader returns.
	Err error
}

// Error describes the fault.
func (e *BodyError) Error() string { return "compress: request body: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// Requests returns a handler that gives next the decoded body of a request
// that has a Content-Encoding of gzip, br or zstd (RFC 9110, section 8.4).
// Reading more than MaxRequestBytes inflated bytes, or more than
// MaxRequestRatio times those that came in, ends in a *BodyError. Where next
// then returns without an answer, the middleware answers 413 or 400 itself.
// Other codings get a 415 that names those which are welcome.
func (c *Compressor) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines := r.Header["Content-Encoding"]
		if len(lines) == 0 || r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		names, ok := requestCodings(lines)
		if !ok {
			c.count.refused415.Add(1)
			w.Header().Set("Accept-Encoding", "gzip, br, zstd")
			c.opts.Refuse(w, r, http.StatusUnsupportedMediaType, "unsupported content coding")
			return
		}
		if len(names) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		if !c.decoders.acquire() {
			c.count.refused503.Add(1)
			w.Header().Set("Retry-After", "1")
			c.opts.Refuse(w, r, http.StatusServiceUnavailable, "too many encoded bodies at once")
			return
		}
		body := &decodedBody{c: c, raw: r.Body, names: names}
		defer body.release()
		if err := body.open(); err != nil {
			c.refuse(w, r, err)
			return
		}
		c.count.requests.Add(1)
		decoded := *r
		decoded.Header = r.Header.Clone()
		decoded.Header.Del("Content-Encoding")
		decoded.Header.Del("Content-Length")
		decoded.ContentLength = -1
		decoded.Body = body
		watch := &answered{ResponseWriter: w}
		next.ServeHTTP(watch, &decoded)
		if body.failed != nil && !watch.done {
			c.refuse(w, r, body.failed)
		}
	})
}

func (c *Compressor) refuse(w http.ResponseWriter, r *http.Request, err *BodyError) {
	switch err.Status {
	case http.StatusRequestEntityTooLarge:
		c.count.refused413.Add(1)
	case http.StatusServiceUnavailable:
		c.count.refused503.Add(1)
		w.Header().Set("Retry-After", "1")
	default:
		c.count.refused400.Add(1)
	}
	c.opts.Refuse(w, r, err.Status, err.Error())
}

// maxStacked is how many codings may lie on top of each other.
const maxStacked = 2

// requestCodings returns the codings in the order in which to undo them.
func requestCodings(lines []string) (names []coding, ok bool) {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.Trim(part, " \t")
			cd, known := codingByName(part)
			if part == "" || known && cd == identity {
				continue
			}
			if !known || cd > zstdCoding || len(names) == maxStacked {
				return nil, false
			}
			names = append([]coding{cd}, names...)
		}
	}
	return names, true
}

// decodedBody reads the inflated bytes of a request body within limits.
type decodedBody struct {
	c      *Compressor
	names  []coding
	raw    io.ReadCloser
	in     countingReader
	top    io.Reader
	close  []func()
	first  []byte // read ahead, so that garbage is found before the handler runs
	held   int64
	out    int64
	failed *BodyError
	end    error
	done   bool
}

type countingReader struct {
	r io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}

func (b *decodedBody) open() *BodyError {
	b.in.r = b.raw
	b.top = &b.in
	for _, cd := range b.names {
		from := bufio.NewReaderSize(b.top, 512)
		b.top = from
		window := decoderWindow(cd, from)
		if !b.c.budget.reserve(window) {
			return &BodyError{http.StatusServiceUnavailable, errNoMemory}
		}
		b.held += window
		switch cd {
		case gzipCoding:
			zr, err := gzip.NewReader(b.top)
			if err != nil {
				return b.fail(err)
			}
			b.top = zr
		case brCoding:
			b.top = brotli.NewReader(b.top)
		case zstdCoding:
			zr, err := zstd.NewReader(b.top, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(uint64(window)))
			if err != nil {
				return b.fail(err)
			}
			b.close = append(b.close, zr.Close)
			b.top = zr
		}
	}
	ahead := make([]byte, 512)
	n, err := b.read(ahead)
	if b.failed != nil && err != io.EOF {
		return b.failed
	}
	b.first, b.end = ahead[:n], err
	return nil
}

// Read returns decoded bytes, or a *BodyError.
func (b *decodedBody) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	if b.end != nil {
		return 0, b.end
	}
	return b.read(p)
}

// freeBytes may come out of any body, however short it came in.
const freeBytes = 64 << 10

func (b *decodedBody) read(p []byte) (int, error) {
	if b.done {
		return 0, http.ErrBodyReadAfterClose
	}
	limit := b.c.opts.MaxRequestBytes
	if room := limit + 1 - b.out; int64(len(p)) > room {
		p = p[:max(room, 0)]
	}
	n, err := b.top.Read(p)
	b.out += int64(n)
	switch {
	case b.out > limit:
		n -= int(b.out - limit)
		err = b.fail(&http.MaxBytesError{Limit: limit})
	case b.out > freeBytes && b.out > b.in.n*int64(b.c.opts.MaxRequestRatio):
		err = b.fail(&http.MaxBytesError{Limit: b.in.n * int64(b.c.opts.MaxRequestRatio)})
	case err != nil && err != io.EOF:
		err = b.fail(err)
	}
	if err != nil {
		b.end = err
	}
	return n, err
}

func (b *decodedBody) fail(err error) *BodyError {
	status := http.StatusBadRequest
	var large *http.MaxBytesError
	if errors.As(err, &large) || errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		status = http.StatusRequestEntityTooLarge
	} else {
		err = fmt.Errorf("decode: %w", err)
	}
	b.failed = &BodyError{status, err}
	return b.failed
}

// Close closes the body as it came in.
func (b *decodedBody) Close() error {
	b.done = true
	return b.raw.Close()
}

func (b *decodedBody) release() {
	b.done = true
	for _, f := range b.close {
		f()
	}
	b.c.budget.release(b.held)
	b.c.decoders.release()
}

var errNoMemory = errors.New("no memory for the decoder's window")

// maxWindow is the largest window a decoder must support, RFC 9659.
const maxWindow = 8 << 20

// decoderWindow is the memory that a stream asks its decoder for, at once and
// whatever it then holds: what its first bytes say.
func decoderWindow(cd coding, r *bufio.Reader) int64 {
	head, _ := r.Peek(zstd.HeaderMaxSize)
	switch cd {
	case brCoding:
		if len(head) == 0 {
			break
		}
		switch h := head[0]; {
		case h&1 == 0:
			return 1 << 16
		case h&0xf != 1:
			return 1 << (17 + h>>1&7)
		default:
			return 1 << 17
		}
	case zstdCoding:
		var h zstd.Header
		window := uint64(maxWindow)
		if h.Decode(head) == nil && !h.Skippable {
			window = h.WindowSize
			if h.SingleSegment {
				window = h.FrameContentSize
			}
		}
		return int64(min(max(window, 1<<17), maxWindow))
	}
	return 32 << 10
}

// answered notes whether the handler has answered.
type answered struct {
	http.ResponseWriter
	done bool
}

func (w *answered) WriteHeader(code int) {
	w.done = w.done || code >= 200
	w.ResponseWriter.WriteHeader(code)
}

func (w *answered) Write(p []byte) (int, error) {
	w.done = true
	return w.ResponseWriter.Write(p)
}

func (w *answered) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// decoderPool bounds the decoders in use and asks for their memory.
type decoderPool struct {
	max    int
	budget *budget
	used   atomic.Int64
}

// decoderBytes is what a decoder needs besides its window.
const decoderBytes = 64 << 10

func (p *decoderPool) acquire() bool {
	if p.used.Add(1) > int64(p.max) || !p.budget.reserve(decoderBytes) {
		p.used.Add(-1)
		return false
	}
	return true
}

func (p *decoderPool) release() {
	p.used.Add(-1)
	p.budget.release(decoderBytes)
}
