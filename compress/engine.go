package compress

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// An engine is everything that encoding one block needs beyond the bytes
// themselves. It is held by one goroutine, only while that goroutine
// encodes. Its parts are made when first used.
type engine struct {
	pool     *enginePool
	blocks   *blockEncoder // brotli and gzip
	zstd     *zstd.Encoder
	zstdDict *zstd.Encoder // the same, for bodies with a dictionary
	out      []byte        // scratch for the encoded block
	join     []byte        // scratch for dictionary or history, and body, in one piece
	held     int64         // bytes reserved for the parts
}

// What the parts of an engine take, as TestEngineBytes measures them.
const (
	blockEngineBytes    = 600 << 10
	zstdEngineBytes     = 900 << 10
	joinEngineBytes     = 600 << 10
	zstdDictEngineBytes = 2600 << 10
)

// maxScratch is the largest scratch that an idle engine keeps.
const maxScratch = 512 << 10

// enginePool lends at most max engines and keeps the idle ones, most
// recently used first. A sync.Pool would drop them at every second
// collection, which makes them the largest allocation of a server.
type enginePool struct {
	account    Account
	maxWaiting int
	slots      chan struct{} // one element for each engine that is lent

	mu      sync.Mutex
	waiting int
	idle    []*engine
	closed  bool
}

func newEnginePool(n, maxWaiting int, account Account) *enginePool {
	return &enginePool{account: account, maxWaiting: maxWaiting, slots: make(chan struct{}, n)}
}

// acquire returns an engine with the part for cd, or nil when too many wait
// for one already or its memory is refused.
func (p *enginePool) acquire(cd coding) *engine {
	select {
	case p.slots <- struct{}{}:
	default:
		if !p.queue() {
			return nil
		}
		p.slots <- struct{}{} // held for one block at a time: this is short
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}
	p.mu.Lock()
	closed := p.closed
	var e *engine
	if n := len(p.idle); n > 0 {
		e, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if e == nil {
		e = &engine{pool: p}
	}
	if closed || !e.prepare(cd) {
		e.release()
		return nil
	}
	return e
}

func (p *enginePool) queue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.waiting >= p.maxWaiting {
		return false
	}
	p.waiting++
	return true
}

// release gives the engine back. It must not be used after that.
func (e *engine) release() {
	p := e.pool
	if cap(e.out) > maxScratch {
		e.out = nil
	}
	if cap(e.join) > maxScratch {
		e.join = make([]byte, 0, 16<<10)
	}
	p.mu.Lock()
	keep := !p.closed && e.held > 0
	if keep {
		p.idle = append(p.idle, e)
	}
	p.mu.Unlock()
	if !keep {
		e.drop()
	}
	<-p.slots
}

// drop returns what the engine reserved.
func (e *engine) drop() {
	if e.pool.account != nil && e.held > 0 {
		e.pool.account.Release(e.held)
	}
	e.held = 0
}

// prepare makes the part for cd if it is missing.
func (e *engine) prepare(cd coding) bool {
	switch cd {
	case dcbCoding, messageCoding:
		if e.join == nil && e.reserve(joinEngineBytes) {
			e.join = make([]byte, 0, 16<<10)
		}
		return e.join != nil && e.prepare(brCoding)
	case brCoding, gzipCoding:
		if e.blocks == nil && e.reserve(blockEngineBytes) {
			e.blocks = new(blockEncoder)
		}
		return e.blocks != nil
	case dczCoding:
		if e.zstdDict == nil && e.reserve(zstdDictEngineBytes) {
			e.zstdDict, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithWindowSize(512<<10),
				zstd.WithEncoderDictRaw(0, []byte("placeholder: each body brings its own")))
		}
		return e.zstdDict != nil
	case zstdCoding:
		if e.zstd == nil && e.reserve(zstdEngineBytes) {
			e.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithWindowSize(128<<10))
		}
		return e.zstd != nil
	}
	return false
}

func (e *engine) reserve(n int64) bool {
	if a := e.pool.account; a != nil && a.Reserve(n) != nil {
		return false
	}
	e.held += n
	return true
}

// trim drops the idle engines.
func (p *enginePool) trim() (freed int64) {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, e := range idle {
		freed += e.held
		e.drop()
	}
	return freed
}

func (p *enginePool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.trim()
}

// bytes is what the idle engines hold.
func (p *enginePool) bytes() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.idle {
		n += e.held
	}
	return n
}
