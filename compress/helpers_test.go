package compress

import (
	"bytes"
	"io"
	"log"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func decoder(t testing.TB, coding string, r io.Reader) io.Reader {
	switch coding {
	case "gzip":
		zr, err := gzip.NewReader(r)
		require.NoError(t, err)
		return zr
	case "br":
		return brotli.NewReader(r)
	case "zstd":
		zr, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		require.NoError(t, err)
		t.Cleanup(zr.Close)
		return zr
	}
	require.Empty(t, coding)
	return r
}

func decode(t testing.TB, coding string, b []byte) []byte {
	out, err := io.ReadAll(decoder(t, coding, bytes.NewReader(b)))
	require.NoError(t, err)
	return out
}

// decodeWith decodes dcb and dcz. For dcb the dictionary is put in front of
// the stream as a stored meta-block: in a window that has room for both, that
// is what a prefix dictionary is.
func decodeWith(t testing.TB, coding string, b, dict []byte) []byte {
	if coding == "dcz" {
		require.Equal(t, dczMagic, b[:8])
		zr, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderDictRaw(0, dict))
		require.NoError(t, err)
		defer zr.Close()
		out, err := io.ReadAll(zr)
		require.NoError(t, err)
		return out
	}
	require.Equal(t, dcbMagic, b[:4])
	b = b[36:]
	skip := uint(1) // the window of the stream
	if b[0]&1 != 0 {
		skip = 4
		if b[0]&0xf == 1 {
			skip = 7
		}
	}
	var w bitWriter
	var st brotliState
	st.header(&w, 24)
	storedBlocks(&w, dict)
	for i := skip; i < uint(8*len(b)); i++ {
		w.write(1, uint64(b[i/8]>>(i%8)&1))
	}
	w.align()
	out, err := io.ReadAll(brotli.NewReader(bytes.NewReader(w.out)))
	if err != nil { // the bits moved: the last byte may be nothing but filling
		out = unbrotli(t, w.out[:len(w.out)-1])
	}
	require.True(t, bytes.HasPrefix(out, dict))
	return out[len(dict):]
}
