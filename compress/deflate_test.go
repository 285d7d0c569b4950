package compress

import (
	"bytes"
	stdflate "compress/flate"
	"compress/gzip"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/stretchr/testify/require"
)

func unzip(t testing.TB, b []byte) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	out, err := io.ReadAll(zr)
	require.NoError(t, err)
	return out
}

func TestDeflateWhole(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	for name, body := range bodies() {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				s := stream{coding: gzipCoding, pad: len(name) * 300}
				out := e.whole(nil, &s, body)
				require.True(t, bytes.Equal(body, unzip(t, out)))
				require.Less(t, len(out), len(body)+100+s.pad)
			}
		})
	}
}

// TestDeflateKinds holds the choice between the kinds of blocks to the size
// that klauspost's encoder comes to, for bodies that favour each of them.
func TestDeflateKinds(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	for n := 1; n < 4000; n += 1 + n/3 {
		for _, body := range [][]byte{noise(n), prose(n), cards(14, 1)[:n], bytes.Repeat([]byte{7}, n)} {
			out := e.message(nil, &takeoverWindow{}, body)
			for _, zr := range []io.Reader{flate.NewReader(bytes.NewReader(append(out, 0, 0, 0xff, 0xff))), stdflate.NewReader(bytes.NewReader(append(out, 0, 0, 0xff, 0xff)))} {
				got := make([]byte, n)
				_, err := io.ReadFull(zr, got)
				require.NoError(t, err)
				require.Equal(t, body, got)
			}
			var theirs bytes.Buffer
			zw, _ := flate.NewWriter(&theirs, 5)
			zw.Write(body)
			zw.Flush()
			require.LessOrEqual(t, len(out), theirs.Len()-4+theirs.Len()/12+8, "%d bytes", n)
		}
	}
}

func FuzzDeflate(f *testing.F) {
	f.Add(cards(20, 1), uint16(100), uint16(2000))
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaab"), uint16(3), uint16(0))
	f.Add(prose(20000), uint16(9000), uint16(7))
	f.Add(bytes.Repeat([]byte("abcdefg"), 9000), uint16(40000), uint16(0))
	e := engine{blocks: new(blockEncoder)} // what one body leaves behind must not harm the next
	f.Fuzz(func(t *testing.T, body []byte, cut, pad uint16) {
		s := stream{coding: gzipCoding, pad: int(pad) % 4097}
		require.True(t, bytes.Equal(body, unzip(t, e.whole(nil, &s, body))))
		n := min(int(cut), len(body))
		s = stream{coding: gzipCoding}
		var out []byte
		if n > 0 {
			out = e.block(out, &s, body[:n], 0)
		}
		if n < len(body) {
			out = e.block(out, &s, body, n)
		}
		require.True(t, bytes.Equal(body, unzip(t, s.end(out))))
		if n > 0 && n < len(body) {
			out = append(e.message(nil, &takeoverWindow{buf: body[:n], most: min(n, len(body)-n-1)}, body[n:]), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
			got, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(out), body[max(0, n-32<<10):n]))
			require.NoError(t, err)
			require.True(t, bytes.Equal(body[n:], got))
		}
	})
}
