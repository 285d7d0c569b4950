package signaling

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
)

// A resume token names a session and a number, signed with the hub's key. Each
// hello brings the next number. A number is spent once the client has shown
// that it has a later one; until then it stays good, because a hello may get
// lost, and because a handshake that the client has given up may still arrive
// and be given a token that the client never sees.
type tokenRange struct {
	oldest, newest uint32 // good are the numbers from oldest to newest
}

// sessionIDLen is the length of a session's id: 10 bytes of base64.
const sessionIDLen = 14

// tokenLen is the length of number and signature: 20 bytes of base64.
const tokenLen = 27

func (h *Hub) sign(id string, n uint32) []byte {
	mac, ok := h.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, h.key[:])
	}
	defer h.macs.Put(mac)
	mac.Reset()
	mac.Write(binary.BigEndian.AppendUint32([]byte(id), n))
	return mac.Sum(nil)[:16]
}

// token returns a token of the session.
func (h *Hub) token(id string, n uint32) string {
	b := append(binary.BigEndian.AppendUint32(nil, n), h.sign(id, n)...)
	return id + "." + base64.RawURLEncoding.EncodeToString(b)
}

// readToken returns what a token says if we made it.
func (h *Hub) readToken(token string) (id string, n uint32, ok bool) {
	id, enc, _ := strings.Cut(token, ".")
	if len(id) != sessionIDLen || len(enc) != tokenLen {
		return "", 0, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(enc)
	if err != nil {
		return "", 0, false
	}
	n = binary.BigEndian.Uint32(b)
	return id, n, hmac.Equal(b[4:], h.sign(id, n))
}

// use reports whether n is good; if so it is the oldest from now on, and there
// is a new one.
func (r *tokenRange) use(n uint32) bool {
	if n < r.oldest || n > r.newest {
		return false
	}
	r.oldest = n
	r.newest++
	return true
}

// confirm says that the client has the newest token.
func (r *tokenRange) confirm() { r.oldest = r.newest }
