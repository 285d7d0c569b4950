package lru

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStrictListWhileItMoves keeps a list moving between two maps while it is
// used, beside one that never moves.
func TestStrictListWhileItMoves(t *testing.T) {
	const n = 2000
	list, oracle := newStrictList[int, int](), newSimple[int, int]()
	nodes := make([]*node[int, int], n)
	for k := range nodes {
		nodes[k] = &node[int, int]{key: k}
		list.add(nodes[k])
		oracle.Add(k, nodes[k])
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range n * 3 / 4 {
		oldest := list.oldest()
		key, _, _ := oracle.RemoveOldest()
		require.Equal(t, key, oldest.key)
		list.remove(key)
	}
	moves := 0
	for i := range 20_000 {
		k := r.IntN(n)
		there := list.peek(k)
		want, ok := oracle.Peek(k)
		require.True(t, there == want && ok == (there != nil))
		switch op := r.IntN(100); {
		case op < 40 && ok:
			list.use(there)
			oracle.Get(k)
		case op < 70:
			list.add(nodes[k])
			oracle.Add(k, nodes[k])
		case op < 99:
			list.remove(k)
			oracle.Remove(k)
		default:
			list.peak = 1 << 20 // as if it had been larger
			if list.moved == nil {
				list.moved = newSimple[int, int]()
			}
			if list.move(50) {
				moves++
			}
		}
		if i%50 == 0 {
			require.True(t, slices.Equal(oracle.Values(), list.nodes()))
			require.Equal(t, oracle.Len(), list.len())
		}
	}
	require.Greater(t, moves, 50)
	for list.shrink() {
	}
	require.Nil(t, list.moved)
	require.Equal(t, oracle.Values(), list.nodes())
}
