package lru_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/lru"
)

// TestStrictEvictsAsSimpleLRU runs both side by side and compares each victim,
// and the order of all entries.
func TestStrictEvictsAsSimpleLRU(t *testing.T) {
	const n = 50
	var got, want []int
	c := newCache(t, lru.Options[int, int]{MaxEntries: n, Policy: lru.Strict, OnEvict: func(k, _ int, why lru.Reason) {
		if why == lru.Capacity || why == lru.Trimmed {
			got = append(got, k)
		}
	}})
	oracle, err := simplelru.NewLRU[int, int](n, func(k, _ int) { want = append(want, k) })
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 1))
	size := n
	for i := range 100_000 {
		k := r.IntN(3 * n)
		switch op := r.IntN(100); {
		case op < 50:
			v, ok := c.Get(k)
			wantV, wantOK := oracle.Get(k)
			require.Equal(t, wantV, v)
			require.Equal(t, wantOK, ok)
		case op < 95:
			c.Set(k, i)
			oracle.Add(k, i)
		case op < 98:
			require.Equal(t, oracle.Contains(k), c.Delete(k))
			evicted := len(want)
			oracle.Remove(k)
			want = want[:evicted] // its callback does not tell them apart
		case op < 99:
			size = 1 + r.IntN(2*n)
			require.NoError(t, c.Resize(size, 0))
			oracle.Resize(size)
		}
		if i%1000 == 0 {
			require.True(t, slices.Equal(oracle.Keys(), slices.Collect(c.Keys())))
		}
	}
	require.Equal(t, want, got)
	require.NotEmpty(t, got)
}
