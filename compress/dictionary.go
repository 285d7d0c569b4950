package compress

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Dictionary is Handler for answers that change little from one request to
// the next. It implements compression-dictionary transport, RFC 9842: a
// client that names its last answer gets only the difference, as the codings
// dcz and dcb. match is the URL pattern for which an answer may serve as a
// dictionary, usually the route's own path, as in "/room/queue*".
//
// Browsers do this on secure origins (HTTPS, localhost) and only while the
// earlier answer is fresh, so give it `Cache-Control: max-age=…` and fetch
// with {cache: "no-cache"}. Without Options.DictionaryBytes it is Handler.
func (c *Compressor) Dictionary(match string, next http.Handler) http.Handler {
	offer := `match="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(match) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, next, offer)
	})
}

// dictionaryUse is what a response has to do with dictionaries.
type dictionaryUse struct {
	offer  string // the value of Use-As-Dictionary, if the route has one
	stored bool   // the body is kept and can be offered
	coding coding // dcb or dcz when the client has a dictionary that is kept
	bytes  []byte
	hash   [32]byte
}

func (d *dictionaryUse) clear() { d.coding, d.bytes, d.stored = identity, nil, false }

// offerDictionary notes the route's offer and looks up what the client has.
func (rw *response) offerDictionary(offer string) {
	if rw.r.Method != http.MethodGet {
		return
	}
	rw.dict.offer = offer
	have := rw.r.Header.Get("Available-Dictionary")
	if rw.want == identity || len(have) != 46 || have[0] != ':' || have[45] != ':' {
		return
	}
	cd, most := identity, int16(0)
	for _, plain := range rw.c.prefer {
		with, ok := map[coding]coding{zstdCoding: dczCoding, brCoding: dcbCoding}[plain]
		if q := rw.accept.weight(with); ok && q > most {
			cd, most = with, q
		}
	}
	var raw [33]byte
	if n, err := base64.StdEncoding.Decode(raw[:], []byte(have[1:45])); cd == identity || err != nil || n != 32 {
		return
	}
	hash := [32]byte(raw[:32])
	if b := rw.c.dicts.get(hash); b != nil {
		rw.dict.coding, rw.dict.bytes, rw.dict.hash = cd, b, hash
	}
}

// prepareDictionary keeps the body for the client's next request.
func (rw *response) prepareDictionary(body []byte) {
	if rw.dict.offer == "" || rw.code != http.StatusOK || rw.want == gzipCoding { // that client knows no better one
		rw.dict.clear()
		return
	}
	rw.dict.stored = rw.c.dicts.put(sha256.Sum256(body), body)
}

var (
	dczMagic = []byte{0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0}
	dcbMagic = []byte{0xff, 'D', 'C', 'B'}
)

// withDictionary appends body encoded with dict, RFC 9842, section 4 and 5.
func (e *engine) withDictionary(dst []byte, s *stream, dict, body []byte, hash [32]byte) []byte {
	if s.coding == dczCoding {
		dst = append(append(dst, dczMagic...), hash[:]...)
		e.zstdDict.ResetWithOptions(nil, zstd.WithEncoderDictRaw(0, dict))
		return appendSkippable(e.zstdDict.EncodeAll(body, dst), s.pad)
	}
	dst = append(append(dst, dcbMagic...), hash[:]...)
	e.join = append(append(e.join[:0], dict...), body...)
	w := bitWriter{out: dst}
	s.brotli.header(&w, window(len(body)))
	e.blocks.brotli(&w, &s.brotli, e.join, len(dict), len(dict), s.pad == 0)
	return s.finishBrotli(&w)
}

// dictionaryStore keeps recent bodies by hash, within a bound of bytes; the
// one not used for longest goes first.
type dictionaryStore struct {
	max     int64
	account Account

	mu     sync.Mutex
	byHash map[[32]byte]*list.Element
	recent list.List // of *storedDictionary, the latest first
	bytes  int64
}

type storedDictionary struct {
	hash [32]byte
	body []byte
}

// storedOverhead is what an entry takes beyond its body.
const storedOverhead = 256

func newDictionaryStore(max int64, account Account) *dictionaryStore {
	return &dictionaryStore{max: max, account: account, byHash: make(map[[32]byte]*list.Element)}
}

func (s *dictionaryStore) get(hash [32]byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byHash[hash]
	if e == nil {
		return nil
	}
	s.recent.MoveToFront(e)
	return e.Value.(*storedDictionary).body
}

// put keeps a copy of body and reports whether there was room for it.
func (s *dictionaryStore) put(hash [32]byte, body []byte) bool {
	need := int64(len(body)) + storedOverhead
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byHash[hash]; e != nil {
		s.recent.MoveToFront(e)
		return true
	}
	if need > s.max {
		return false
	}
	for s.bytes+need > s.max {
		s.dropOldestLocked()
	}
	if s.account != nil && s.account.Reserve(need) != nil {
		return false
	}
	s.bytes += need
	s.byHash[hash] = s.recent.PushFront(&storedDictionary{hash, append([]byte(nil), body...)})
	return true
}

func (s *dictionaryStore) dropOldestLocked() int64 {
	e := s.recent.Back()
	d := s.recent.Remove(e).(*storedDictionary)
	delete(s.byHash, d.hash)
	n := int64(len(d.body)) + storedOverhead
	s.bytes -= n
	if s.account != nil {
		s.account.Release(n)
	}
	return n
}

func (s *dictionaryStore) trim(fraction float64) (freed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for want := int64(float64(s.bytes) * min(max(fraction, 0), 1)); freed < want && s.recent.Len() > 0; {
		freed += s.dropOldestLocked()
	}
	return freed
}

func (s *dictionaryStore) close() {
	s.trim(1)
	s.mu.Lock()
	s.max = 0
	s.mu.Unlock()
}

func (s *dictionaryStore) size() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent.Len(), s.bytes
}
