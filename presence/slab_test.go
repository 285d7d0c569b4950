package presence

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Records keep what was put in them, are never given twice, are zero when new,
// and the memory of a crowd is given back when it has gone.
func TestSlab(t *testing.T) {
	var s slab[int]
	held := make(map[ref]int)
	var all []ref
	for i := range 200_000 {
		grow := i/20_000%2 == 0
		if grow || len(all) == 0 {
			r, x := s.add()
			require.NotZero(t, r)
			require.Zero(t, *x)
			require.Zero(t, held[r], "given twice")
			*x = i + 1
			held[r] = i + 1
			all = append(all, r)
		} else {
			n := rand.IntN(len(all))
			r, last := all[n], len(all)-1
			all[n] = all[last]
			all = all[:last]
			if *s.at(r) != held[r] {
				t.Fatal("a record changed")
			}
			s.remove(r)
			delete(held, r)
		}
	}
	for r, want := range held {
		require.Equal(t, want, *s.at(r))
		s.remove(r)
	}
	kept := 0
	for _, c := range s.chunks {
		if c != nil {
			kept++
		}
	}
	require.Equal(t, spare, kept)
	require.Equal(t, spare, s.empty)
	require.Len(t, s.open, spare)
}

// A directory against a map, with ids of every length.
func TestDirectory(t *testing.T) {
	d := newDirectory()
	want := make(map[string]*user)
	pad := make([]byte, MaxID)
	id := func() string {
		s := fmt.Sprint(rand.IntN(20_000), ":")
		return s + string(pad[:rand.IntN(MaxID+1-len(s))*(rand.IntN(8)/7)])
	}
	for i := range 300_000 {
		x := id()
		u := d.find(x)
		require.True(t, u == want[x], x)
		switch {
		case u == nil && i < 200_000:
			u = d.add(x)
			require.Equal(t, x, u.id())
			want[x] = u
		case u != nil && (i >= 200_000 || i%2 == 0):
			d.remove(u)
			delete(want, x)
		}
		require.Equal(t, len(want), d.n)
	}
	for x, u := range want {
		require.True(t, u == d.find(x))
		d.remove(u)
	}
	require.Zero(t, d.n)
	require.Len(t, d.slots, minSlots)
	for _, s := range d.slots {
		require.Zero(t, s)
	}
}

// The budget of joins is kept in few bits: what it says must be what it said
// in many, also after years.
func TestDebt(t *testing.T) {
	tr := &Tracker{opts: Options{FlapBurst: 4, FlapEvery: 2e9}, fullDebt: 8000}
	u := &user{}
	now, full := int64(3600e9), int64(0)
	for range 100_000 {
		now += rand.Int64N(1000) * 1e6
		if rand.IntN(1000) == 0 {
			now += rand.Int64N(20*24*3600) * 1e9 // less than 24 days
		}
		due := max(now, full-3*2e9)
		require.Equal(t, due, tr.earned(u, now))
		if due == now {
			full = max(full, now) + 2e9
			tr.spend(u, now)
		}
	}
}

// The first come, the first gone, for ever: the order moves within its memory.
func TestOrderOfAQueue(t *testing.T) {
	tp := &topic{}
	members := make([]member, 1000)
	for i := range members {
		tp.admit(&members[i])
	}
	for i := range 2000 {
		m := &members[i%1000]
		tp.dismiss(m)
		tp.admit(m)
	}
	first := 0
	require.Zero(t, testing.AllocsPerRun(10_000, func() {
		m := &members[first%1000]
		first++
		tp.dismiss(m)
		tp.admit(m)
	}))
	for i := range members {
		m := &members[(first+i)%1000]
		require.True(t, tp.order[i].m == m)
		require.Equal(t, uint32(i), m.pos-tp.base)
	}
	require.LessOrEqual(t, cap(tp.whole), 2048)
}
