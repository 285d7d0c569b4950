package presence

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// from against a linear search, in orders with all kinds of holes.
func TestFrom(t *testing.T) {
	for round := range 300 {
		tp := &topic{}
		seq := uint64(1)
		for range rand.IntN(200) {
			switch round % 3 {
			case 0:
				seq++
			case 1:
				seq += 1 + uint64(rand.IntN(10))
			default:
				seq += 1 + uint64(rand.ExpFloat64()*1e6)
			}
			tp.order = append(tp.order, place{seq: seq})
		}
		for range 200 {
			after := rand.Uint64N(seq + 3)
			if len(tp.order) > 0 && rand.IntN(2) == 0 {
				after = tp.order[rand.IntN(len(tp.order))].seq - uint64(rand.IntN(2))
			}
			want := 0
			for want < len(tp.order) && tp.order[want].seq <= after {
				want++
			}
			require.Equal(t, want, tp.from(after), "after %d", after)
		}
	}
}

// A wheel against a sorted set.
func TestWheel(t *testing.T) {
	var w wheel[*extra]
	due := make(map[*extra]int64)
	var all []*extra
	for range 200 {
		all = append(all, &extra{})
	}
	now := int64(0)
	for range 20000 {
		u := all[rand.IntN(len(all))]
		switch rand.IntN(4) {
		case 0, 1:
			at := now + rand.Int64N(3*slots*slotTime)
			w.set(u, at)
			due[u] = at
		case 2:
			w.cancel(u)
			delete(due, u)
		default:
			now += rand.Int64N(slots * slotTime / 8)
			if rand.IntN(50) == 0 {
				now += 3 * slots * slotTime // slept
			}
			w.advance(now)
			for {
				u, ok := w.pop()
				if !ok {
					break
				}
				require.LessOrEqual(t, due[u], now)
				delete(due, u)
			}
			for _, at := range due {
				require.Greater(t, at, now-slotTime, "forgotten")
				require.LessOrEqual(t, w.next(), at+slotTime, "would sleep too long")
			}
		}
		require.Equal(t, len(due), w.n)
	}
}
