package compress

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip", "br;q=0.5, *;q=0", "identity;q=1,gzip;q=0.001", ";;,=q", "*"} {
		f.Add(s, "zstd")
	}
	prefer := []coding{zstdCoding, brCoding, gzipCoding}
	f.Fuzz(func(t *testing.T, one, two string) {
		a := parseAccept([]string{one, two})
		best := a.best(prefer)
		if best != identity && a.weight(best) <= 0 {
			t.Fatalf("%q %q: %v is not accepted", one, two, best)
		}
		for _, cd := range prefer {
			if best != identity && a.weight(cd) > a.weight(best) {
				t.Fatalf("%q %q: %v, but %v weighs more", one, two, best, cd)
			}
		}
		if a != parseAccept([]string{one + "," + two}) && len(one)+len(two) < maxAcceptBytes-1 {
			t.Fatalf("%q %q: lines are not a list", one, two)
		}
	})
}

func FuzzBrotli(f *testing.F) {
	f.Add(cards(20, 1), uint16(100), uint16(2000))
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaab"), uint16(3), uint16(0))
	f.Fuzz(func(t *testing.T, body []byte, cut, pad uint16) {
		e := engine{brotli: new(brotliEncoder)}
		if len(body) > 0 {
			s := stream{coding: brCoding, pad: int(pad)}
			require.True(t, bytes.Equal(body, unbrotli(t, e.whole(nil, &s, body))))
		}
		n := min(int(cut), len(body))
		s := stream{coding: brCoding}
		var out []byte
		if n > 0 {
			out = e.block(out, &s, body[:n], 0)
		}
		if n < len(body) {
			out = e.block(out, &s, body, n)
		}
		require.True(t, bytes.Equal(body, unbrotli(t, s.end(out))))
		if n > 0 && n < len(body) {
			s = stream{coding: dcbCoding}
			out = e.withDictionary(nil, &s, body[:n], body[n:], [32]byte{})
			require.True(t, bytes.Equal(body[n:], decodeWith(t, "dcb", out, body[:n])))
		}
	})
}

func FuzzRequestBody(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0}, uint8(0))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 'x'}, uint8(1))
	f.Add([]byte{0x0b, 1, 0x80, 'h', 'e', 'l', 3}, uint8(2))
	c := newTest(f)
	h := c.Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		var be *BodyError
		if n > 1<<20 || err != nil && !errors.As(err, &be) {
			panic(err)
		}
	}))
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", []string{"gzip", "zstd", "br", "gzip, br", "zstd, gzip"}[kind%5])
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 400, 413, 503:
		default:
			t.Fatal(w.Code)
		}
		require.Zero(t, c.Stats().BufferedBytes)
	})
}
