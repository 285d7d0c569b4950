package compress

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A Body is one answer for many: bytes that are encoded once for each coding
// and then served to any number of clients. It may be used from any
// goroutine. It must be closed when it is replaced.
type Body struct {
	c           *Compressor
	contentType string
	plain       []byte
	tag         string

	mu      sync.Mutex
	encoded [codings][]byte // empty but not nil: not smaller than plain
	held    int64
	closed  bool
}

// NewBody returns a Body that serves content, which must not change from now
// on. It returns an error when there is no memory for it within
// Options.MaxBufferedBytes and the Account.
func (c *Compressor) NewBody(contentType string, content []byte) (*Body, error) {
	n := int64(len(content))
	if !c.budget.reserve(n) {
		return nil, fmt.Errorf("compress: body of %d bytes: no memory", n)
	}
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return &Body{c: c, contentType: contentType, plain: content, tag: tag, held: n}, nil
}

// Close gives the memory back to the budget. Answers under way end well;
// later ones are not encoded any more.
func (b *Body) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.c.budget.release(b.held)
		b.encoded = [codings][]byte{}
	}
}

// ServeHTTP answers GET and HEAD with the body in the client's best coding,
// and 304 where the client has it. It sets Content-Type, Etag and Vary.
func (b *Body) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	content, cd := b.plain, identity
	if b.c.compressible(b.contentType) && len(b.plain) >= b.c.opts.MinBytes {
		var arena valueArena
		arena.addVary(h, "Accept-Encoding")
		a := parseAccept(r.Header["Accept-Encoding"])
		if want := a.best(b.c.prefer); want != identity {
			if e := b.variant(want); len(e) > 0 {
				content, cd = e, want
			}
		}
	}
	tag, _ := encodedTag(b.tag, cd)
	h.Set("Etag", tag)
	if names(r.Header["If-None-Match"], tag, b.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", b.contentType)
	if cd != identity {
		h.Set("Content-Encoding", cd.String())
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		w.Write(content)
	}
}

// names reports whether an If-None-Match names tag, as sent or plain.
func names(lines []string, tag, plain string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.TrimPrefix(strings.Trim(part, " \t"), "W/")
			if part == "*" || part == tag || part == plain {
				return true
			}
			if t, ok := plainTag(part); ok && t == plain {
				return true
			}
		}
	}
	return false
}

// variant returns the encoded content, encoding it if nobody has yet. Those
// who come meanwhile wait for it. It is empty when plain is the better one.
func (b *Body) variant(cd coding) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.encoded[cd] != nil {
		return b.encoded[cd]
	}
	e := b.c.engines.acquire(cd)
	if e == nil {
		b.c.count.refusedBusy.Add(1)
		return nil
	}
	defer e.release()
	s := stream{coding: cd, pad: randomPad(b.c.opts.Padding)}
	e.out = e.whole(e.out[:0], &s, b.plain)
	return b.keepLocked(cd, e.out)
}

// keepLocked keeps a copy of an encoding if it is worth it.
func (b *Body) keepLocked(cd coding, encoded []byte) []byte {
	n := int64(len(encoded))
	if len(encoded) >= len(b.plain) {
		b.encoded[cd] = []byte{}
	} else if b.c.budget.reserve(n) {
		b.held += n
		b.encoded[cd] = append([]byte(nil), encoded...)
	} else {
		b.c.count.refusedMemory.Add(1)
		return nil
	}
	return b.encoded[cd]
}
