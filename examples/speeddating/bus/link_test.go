package bus

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/internal/redistest"
)

// Two links talk over a channel that loses, doubles and delays letters, also by
// more than one that was sent again: every parcel arrives once and in order, and none is left in
// the end.
func TestLinkModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		ends := [2]*link{newLink(), newLink()}
		var said, heard [2]int
		var ways [2][]letter
		now := time.Unix(1e9, 0)
		for step := 0; ; step++ {
			now = now.Add(time.Duration(rnd.IntN(50)) * time.Millisecond)
			calm := step > 2000
			for side, l := range ends {
				other := 1 - side
				for !calm && rnd.IntN(3) == 0 {
					l.add(parcel{kind: toUser, number: uint64(said[side])})
					said[side]++
				}
				l.urgent = l.urgent || rnd.IntN(10) == 0
				if some, ok := l.next(now); ok {
					if rnd.IntN(4) > 0 { // else Redis did not take it, or did not say so
						l.went(some, now)
					}
					for copies := rnd.IntN(3); copies > 0 || calm; copies-- {
						some.parcels = append([]parcel{}, some.parcels...)
						ways[other] = append(ways[other], some)
						if calm {
							break
						}
					}
				}
				for len(ways[side]) > 0 && (calm || rnd.IntN(2) == 0) {
					i := 0
					if !calm && rnd.IntN(5) == 0 {
						i = rnd.IntN(len(ways[side]))
					}
					fresh, _, gap := l.take(ways[side][i], now)
					ways[side] = append(ways[side][:i], ways[side][i+1:]...)
					require.False(t, gap)
					for _, p := range fresh {
						require.EqualValues(t, heard[side], p.number, "seed %d", seed)
						heard[side]++
					}
				}
			}
			if calm && heard == [2]int{said[1], said[0]} && len(ends[0].queue)+len(ends[1].queue) == 0 {
				break
			}
			require.Less(t, step, 10_000, "seed %d: %v heard of %v", seed, heard, said)
		}
		require.Zero(t, ends[0].bytes+ends[1].bytes)
	}
}

// A node that another one wrongly takes for dead begins anew, is told that it
// missed something, and is heard again.
func TestDeclaredDead(t *testing.T) {
	srv := redistest.New(t)
	heard, missed := make(chan string, 100), make(chan string, 10)
	var nodes [2]*Redis
	for i := range nodes {
		r, err := OpenRedis(t.Context(), RedisOptions{Client: srv.Client(t), MaxQueueBytes: 1 << 20, Settle: time.Millisecond})
		require.NoError(t, err)
		leave, err := r.Join(t.Context(), fmt.Sprint("n", i), dating.Handler{
			Message: func(from string, b []byte) { heard <- from + " " + string(b) },
			Missed:  func(from string) { missed <- from },
		})
		require.NoError(t, err)
		t.Cleanup(leave)
		nodes[i] = r
	}
	require.NoError(t, nodes[1].Subscribe(t.Context(), "n1", "ann"))
	l := nodes[0].member("n0").life
	l.m.mu.Lock()
	var p *peer
	for _, p = range l.peers {
	}
	l.m.mu.Unlock()
	l.lose(p, "a test says so")
	require.Empty(t, nodes[0].Peers("n0"))
	select {
	case from := <-missed:
		require.Empty(t, from)
	case <-time.After(20 * time.Second):
		t.Fatal("it was not told")
	}
	require.Equal(t, []string{"n1"}, nodes[0].Peers("n0"))
	nodes[0].Publish("n0", "ann", []byte("hello again"))
	require.Equal(t, "n0 hello again", <-heard)
	require.NotZero(t, nodes[1].Stats().Gaps)
}
