package compress

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// Account is asked for memory before it is used. A *memmgr.Account is one.
type Account interface {
	// Reserve claims bytes or returns an error at once; it never waits.
	Reserve(bytes int64) error
	// Release returns bytes that Reserve granted.
	Release(bytes int64)
}

// Options configures a Compressor. It is copied by New.
type Options struct {
	// MaxEncoders bounds the encoders that run, and are kept, at one time.
	// An encoder is busy for as long as one block takes to encode, never
	// while a client reads, so GOMAXPROCS of them are enough. Required, > 0.
	MaxEncoders int

	// MaxBufferedBytes bounds the bytes of bodies, plain and encoded, that
	// are held at one time, over all responses and requests. Beyond it
	// responses go out uncompressed. Required, > 0.
	MaxBufferedBytes int64

	// MaxWaiting bounds the responses that wait for an encoder. The rest go
	// out uncompressed. Default 32 for each encoder.
	MaxWaiting int

	// BlockBytes is the largest body that is encoded in one piece and sent
	// with a Content-Length. Longer ones are encoded block by block.
	// Default 256 KiB, at least 4 KiB, at most 1 MiB.
	BlockBytes int

	// MinBytes is the length below which a body is not worth encoding.
	// Default 512.
	MinBytes int

	// Codings are the content codings to offer, the preferred one first:
	// the client's q values come before this order, which breaks ties.
	// Default "zstd", "br", "gzip".
	Codings []string

	// Compressible reports whether bodies of a media type (lower case,
	// without parameters) are worth encoding. Default: CompressibleType.
	Compressible func(mediaType string) bool

	// Padding is the largest number of random bytes added to each encoded
	// body, so that its length tells less about secrets in it (BREACH).
	// Default 0: none. At most 4096.
	Padding int

	// DictionaryBytes bounds the recent bodies kept as dictionaries for
	// RFC 9842. Default 0: compression-dictionary transport is off.
	DictionaryBytes int64

	// MaxRequestBytes bounds the inflated size of a request body in
	// Requests. Default 1 MiB.
	MaxRequestBytes int64

	// MaxRequestRatio bounds how many times its encoded size a request body
	// may inflate to, once it is over 64 KiB. Default 200.
	MaxRequestRatio int

	// MaxDecoders bounds the request decoders in use at one time; more
	// requests with encoded bodies get a 503. Default 64.
	MaxDecoders int

	// Refuse, if set, answers a request whose encoded body Requests does not
	// take (400, 413, 415 or 503), or whose client accepts nothing that can be
	// sent (406). Headers that belong to the status are set. Default: plain text.
	Refuse func(w http.ResponseWriter, r *http.Request, status int, message string)

	// Account, if set, is asked before memory is used for bodies and
	// encoders. Nil means that only the bounds above apply.
	Account Account
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	bad := func(field string, value any, wish string) {
		errs = append(errs, fmt.Errorf("compress: Options.%s = %v, want %s", field, value, wish))
	}
	if o.MaxEncoders <= 0 {
		bad("MaxEncoders", o.MaxEncoders, "> 0")
	}
	if o.MaxBufferedBytes <= 0 {
		bad("MaxBufferedBytes", o.MaxBufferedBytes, "> 0")
	}
	def := func(field string, v *int, d, lo, hi int) {
		if *v == 0 {
			*v = d
		}
		if *v < lo || *v > hi {
			bad(field, *v, fmt.Sprintf("%d to %d", lo, hi))
		}
	}
	const many = 1 << 24
	def("MaxWaiting", &o.MaxWaiting, max(32*o.MaxEncoders, 1), 1, many)
	def("BlockBytes", &o.BlockBytes, 256<<10, 4<<10, 1<<20)
	def("MinBytes", &o.MinBytes, 512, 1, o.BlockBytes)
	def("Padding", &o.Padding, 0, 0, 4096)
	def("MaxRequestRatio", &o.MaxRequestRatio, 200, 1, many)
	def("MaxDecoders", &o.MaxDecoders, 64, 1, many)
	if o.MaxRequestBytes == 0 {
		o.MaxRequestBytes = 1 << 20
	}
	if o.MaxRequestBytes < 0 {
		bad("MaxRequestBytes", o.MaxRequestBytes, "> 0")
	}
	if o.DictionaryBytes < 0 {
		bad("DictionaryBytes", o.DictionaryBytes, ">= 0")
	}
	if o.Codings == nil {
		o.Codings = []string{"zstd", "br", "gzip"}
	}
	o.Codings = slices.Clone(o.Codings)
	for i, name := range o.Codings {
		if cd, ok := codingByName(name); !ok || cd > zstdCoding || slices.Contains(o.Codings[:i], name) {
			bad("Codings", fmt.Sprintf("%q", o.Codings), "gzip, br and zstd, each at most once")
			break
		}
	}
	if o.Compressible == nil {
		o.Compressible = CompressibleType
	}
	if o.Refuse == nil {
		o.Refuse = func(w http.ResponseWriter, _ *http.Request, status int, message string) {
			http.Error(w, message, status)
		}
	}
	return o, errors.Join(errs...)
}

// Compressor encodes responses and decodes requests for any number of
// handlers within one set of bounds. All methods may be called from any
// goroutine. It owns no goroutine.
type Compressor struct {
	opts     Options
	prefer   []coding
	budget   budget
	buffers  bufferPool
	engines  *enginePool
	dicts    *dictionaryStore
	decoders decoderPool
	types    typeCache
	writers  sync.Pool // of *response
	count    counters
}

// New returns a Compressor, or an error that names every field of o that is
// out of range.
func New(o Options) (*Compressor, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Compressor{opts: o}
	for _, name := range o.Codings {
		cd, _ := codingByName(name)
		c.prefer = append(c.prefer, cd)
	}
	c.budget = budget{max: o.MaxBufferedBytes, account: o.Account}
	c.buffers.budget = &c.budget
	c.engines = newEnginePool(o.MaxEncoders, o.MaxWaiting, o.Account)
	c.decoders = decoderPool{max: o.MaxDecoders, budget: &c.budget}
	if o.DictionaryBytes > 0 {
		c.dicts = newDictionaryStore(o.DictionaryBytes, o.Account)
	}
	c.writers.New = func() any { return &response{c: c} }
	return c, nil
}

// Trim gives up memory that is kept only for speed: idle encoders, a
// fraction (0 to 1) of the dictionaries. It returns the bytes given back to
// the Account. It suits a reclaimer that a memory manager calls.
func (c *Compressor) Trim(fraction float64) (freedBytes int64) {
	freedBytes = c.engines.trim()
	if c.dicts != nil {
		freedBytes += c.dicts.trim(fraction)
	}
	return freedBytes
}

// Close gives up all memory that is kept between responses. Handlers of c
// go on working and send everything uncompressed.
func (c *Compressor) Close() {
	c.engines.close()
	if c.dicts != nil {
		c.dicts.close()
	}
}
