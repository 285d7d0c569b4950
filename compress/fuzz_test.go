package compress

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
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
	e := engine{blocks: new(blockEncoder)} // what one body leaves behind must not harm the next
	f.Add(prose(20000), uint16(9000), uint16(7))
	for _, text := range texts(5) {
		f.Add(text, uint16(50), uint16(0))
	}
	f.Fuzz(func(t *testing.T, body []byte, cut, pad uint16) {
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

// someone is a connection that has sent these bytes, in pieces.
type someone struct {
	nowhere
	in    []byte
	piece int
}

func (c *someone) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(len(c.in), c.piece+1)])
	c.in = c.in[n:]
	return n, nil
}

func (c *someone) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrames lets a client send anything.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0xc1, 0x85, 1, 2, 3, 4, 'h', 'e', 'l', 'l', 'o', 0x89, 0x80, 0, 0, 0, 0}, uint8(3))
	f.Add([]byte{0x41, 0xfe, 0, 3, 0, 0, 0, 0, 0, 1, 2, 0x80, 0x81, 0, 0, 0, 0, 9}, uint8(0))
	c := newTest(f)
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		conn := &takeoverConn{Conn: &someone{in: in, piece: int(piece)}, c: c, release: func() {}, opts: TakeoverOptions{MaxMessageBytes: 1 << 12, HistoryBytes: 8 << 10}}
		n, err := io.Copy(io.Discard, readerOnly{conn})
		if n > int64(len(in))*1200+1<<13 {
			t.Fatal(n, err)
		}
	})
}

// readerOnly hides all but Read.
type readerOnly struct{ io.Reader }

// FuzzMessages sends the pieces of a text as messages, and inflates them as a
// client does.
func FuzzMessages(f *testing.F) {
	f.Add(cards(9, 1), uint16(100), uint16(300))
	f.Add(prose(9000), uint16(20), uint16(256))
	f.Fuzz(func(t *testing.T, text []byte, size, most uint16) {
		w := takeoverWindow{most: 256 + int(most)%(16<<10)}
		var client []byte
		for i := 0; len(text) > 0; i++ {
			m := text[:min(len(text), 1+(int(size)+i*37)%min(takeoverSmall, w.most))]
			text = text[len(m):]
			out := w.deflate(nil, m)
			got, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(append(out, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)), client))
			require.NoError(t, err)
			require.True(t, bytes.Equal(m, got))
			client = append(client, m...)
			client = client[max(0, len(client)-32<<10):]
		}
	})
}
