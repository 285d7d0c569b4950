package compress

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFixedCodes has pieces of the documentation, of sources, of the page and
// of lists encoded, and compares what commands take in fixed codes and in
// codes of their own, with what it takes to tell these.
func TestFixedCodes(t *testing.T) {
	var bodies [][]byte
	for n := 1; n <= 6; n++ {
		bodies = append(bodies, cards(n, uint64(n)))
	}
	for _, pattern := range []string{"*.go", "../docs/*.md", "../examples/speeddating/*/page/*"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, names, pattern)
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil && len(text) > 1000 {
				bodies = append(bodies, text[:1000])
			}
		}
	}
	e := new(blockEncoder)
	e.find.words = words()
	own, fixed, served := 0, 0, 0
	for _, body := range bodies {
		var st brotliState
		var w bitWriter
		st.header(&w, 16)
		e.find.begin(body, 0, 0, &brotliPrices)
		e.commands, _ = e.find.matches(e.commands[:0], 0, len(body))
		e.countBrotli(&st, body, 0, false)
		clear(e.symbols[:])
		size, ok := fixedBrotli.serves(e.codes)
		if !ok {
			e.forget()
			continue
		}
		served++
		fixed += size + 8*len(fixedBrotli.header.out) + int(fixedBrotli.header.n)
		before := 8*len(w.out) + int(w.n)
		own += e.insert.store(&w, &e.prefix, e.inserts[:], 15) + e.distance.store(&w, &e.prefix, e.distances[:], 15)
		own += 8*len(w.out) + int(w.n) - before
	}
	t.Logf("%d of %d bodies: %d bits in fixed codes, %d in their own (%.3f of it)", served, len(bodies), fixed, own, float64(fixed)/float64(own))
	require.Greater(t, served, len(bodies)/2)
	require.LessOrEqual(t, fixed, own)
}

// TestFixedCodesServe has blocks with commands that the codes do not have, and
// with too few and too many of them.
func TestFixedCodesServe(t *testing.T) {
	many := make([]commandCode, maxFixed+1)
	for i := range many {
		many[i] = commandCode{symbol: 130, distance: 20}
	}
	size, ok := fixedBrotli.serves(many[:minFixed])
	require.True(t, ok)
	require.Equal(t, minFixed*(5+6), size)
	_, ok = fixedBrotli.serves(many[:maxFixed])
	require.True(t, ok)
	for _, none := range [][]commandCode{many, many[:minFixed-1]} {
		_, ok = fixedBrotli.serves(none)
		require.False(t, ok)
	}
	many[7].symbol = 703
	_, ok = fixedBrotli.serves(many[:100])
	require.False(t, ok)
	many[7] = commandCode{symbol: 130, distance: 63}
	_, ok = fixedBrotli.serves(many[:100])
	require.False(t, ok)
	many[7].distance = noDistance
	_, ok = fixedBrotli.serves(many[:100])
	require.True(t, ok)
}
