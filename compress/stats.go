package compress

import (
	"sync/atomic"
	"time"
)

// Stats counts what a Compressor has done since New.
type Stats struct {
	// Codings has one entry for each coding that was used: "gzip", "br",
	// "zstd", "dcb", "dcz", and "permessage-deflate" for Takeover.
	Codings map[string]CodingStats
	// Passed counts the responses that went out as the handler made them,
	// by reason: "type", "short", "not-accepted", "encoded", "range",
	// "no-transform", "bodyless", "refused".
	Passed map[string]uint64
	// RefusedBusy counts bodies and blocks that went out uncompressed because
	// too many waited for an encoder, or its memory was refused.
	RefusedBusy uint64
	// RefusedMemory counts those for which MaxBufferedBytes or the Account
	// had no room.
	RefusedMemory uint64
	// Incompressible counts those that would not have become smaller.
	Incompressible uint64
	// NotAcceptable counts the 406 answers.
	NotAcceptable uint64
	// BufferedBytes is what is held at this moment for bodies.
	BufferedBytes int64
	// EncoderBytes is what is held at this moment for idle encoders.
	EncoderBytes int64
	// Dictionaries and DictionaryBytes are what is kept for RFC 9842.
	Dictionaries    int
	DictionaryBytes int64
	// Requests counts the request bodies decoded, and RequestsRefused those
	// refused, by HTTP status.
	Requests        uint64
	RequestsRefused map[int]uint64
}

// CodingStats counts what one content coding did.
type CodingStats struct {
	// Blocks is the number of bodies, or blocks of long ones.
	Blocks uint64
	// Before and After are their bytes before and after encoding.
	Before, After uint64
	// Time is the time spent in the encoder.
	Time time.Duration
}

type passReason uint8

const (
	passedType passReason = iota
	passedShort
	passedNotAccepted
	passedEncoded
	passedRange
	passedNoTransform
	passedBodyless
	passedRefused
	passReasons
)

var passNames = [passReasons]string{"type", "short", "not-accepted", "encoded", "range", "no-transform", "bodyless", "refused"}

type counters struct {
	codings [codings]struct{ blocks, before, after, nanos atomic.Uint64 }
	passed  [passReasons]atomic.Uint64

	refusedBusy, refusedMemory, incompressible, notAcceptable atomic.Uint64

	requests                                       atomic.Uint64
	refused400, refused413, refused415, refused503 atomic.Uint64
}

func (c *counters) encoded(cd coding, before, after int, took time.Duration) {
	n := &c.codings[cd]
	n.blocks.Add(1)
	n.before.Add(uint64(before))
	n.after.Add(uint64(after))
	n.nanos.Add(uint64(took))
}

// Stats returns the counts so far.
func (c *Compressor) Stats() Stats {
	n := &c.count
	s := Stats{
		Codings:         make(map[string]CodingStats),
		Passed:          make(map[string]uint64),
		RefusedBusy:     n.refusedBusy.Load(),
		RefusedMemory:   n.refusedMemory.Load(),
		Incompressible:  n.incompressible.Load(),
		NotAcceptable:   n.notAcceptable.Load(),
		BufferedBytes:   c.budget.used.Load(),
		EncoderBytes:    c.engines.bytes(),
		Requests:        n.requests.Load(),
		RequestsRefused: make(map[int]uint64),
	}
	for cd := range n.codings {
		k := &n.codings[cd]
		if blocks := k.blocks.Load(); blocks > 0 {
			s.Codings[codingNames[cd]] = CodingStats{blocks, k.before.Load(), k.after.Load(), time.Duration(k.nanos.Load())}
		}
	}
	for why := range n.passed {
		if count := n.passed[why].Load(); count > 0 {
			s.Passed[passNames[why]] = count
		}
	}
	for status, k := range map[int]*atomic.Uint64{400: &n.refused400, 413: &n.refused413, 415: &n.refused415, 503: &n.refused503} {
		if count := k.Load(); count > 0 {
			s.RequestsRefused[status] = count
		}
	}
	if c.dicts != nil {
		s.Dictionaries, s.DictionaryBytes = c.dicts.size()
	}
	return s
}
