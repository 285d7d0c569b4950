package compress

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"
)

// TestBlocks writes bodies in pieces, and has each decoded without what follows.
func TestBlocks(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	for cd, reader := range map[coding]func([]byte) (io.Reader, error){
		brCoding:   func(b []byte) (io.Reader, error) { return brotli.NewReader(bytes.NewReader(b)), nil },
		gzipCoding: func(b []byte) (io.Reader, error) { return gzip.NewReader(bytes.NewReader(b)) },
	} {
		for name, body := range bodies() {
			t.Run(cd.String()+"/"+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(3, 4))
				s := stream{coding: cd}
				var out []byte
				for pos := 0; pos < len(body); {
					n := min(1+r.IntN(1+r.IntN(20000)), len(body)-pos)
					from := max(pos-historyBytes, 0)
					if r.IntN(3) == 0 {
						out = s.stored(out, body[pos:pos+n])
					} else {
						out = e.block(out, &s, body[from:pos+n], pos-from)
					}
					pos += n
					got := make([]byte, pos)
					zr, err := reader(out)
					require.NoError(t, err)
					_, err = io.ReadFull(zr, got)
					require.NoError(t, err)
					require.True(t, bytes.Equal(body[:pos], got))
				}
				zr, err := reader(s.end(out))
				require.NoError(t, err)
				got, err := io.ReadAll(zr)
				require.NoError(t, err)
				require.True(t, bytes.Equal(body, got))
			})
		}
	}
}
