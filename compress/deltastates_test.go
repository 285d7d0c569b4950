package compress

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDeltaStates lets viewers walk from window to window, each leaving one
// person out: every replica shows what its viewer sees, equal windows are one
// state, and nothing is held when all have left.
func TestDeltaStates(t *testing.T) {
	a := &testAccount{limit: 1 << 30}
	d, err := NewDeltaStates[card](DeltaOptions{MaxBytes: 1 << 30, Account: a})
	require.NoError(t, err)
	type viewer struct {
		out  string
		at   *DeltaState[card]
		seen Replica
	}
	viewers := make([]viewer, 8)
	r := rand.New(rand.NewPCG(5, 6))
	for step, s := range windows(9, 60) {
		for i := range viewers {
			v := &viewers[i]
			if r.IntN(15) == 0 {
				v.out = fmt.Sprintf("%x", r.IntN(1000))
			}
			rows := slices.DeleteFunc(slices.Clone(s.rows), func(c card) bool { return c.UserID == v.out })
			next, err := d.State(rows, s.extra)
			require.NoError(t, err)
			require.Equal(t, rows, next.Rows())
			if v.at == nil || r.IntN(30) == 0 { // comes anew
				require.NoError(t, v.seen.Apply(next.Snapshot()))
			} else if frame := v.at.To(next); frame != nil {
				require.NoError(t, v.seen.Apply(frame), "%s", frame)
			}
			if v.at != nil {
				v.at.Release()
			}
			v.at = next
			if r.IntN(6) > 0 {
				continue
			}
			require.Equal(t, naive(t, rows), canonicalJSON(t, v.seen.Value), "step %d", step)
			require.Equal(t, canonicalJSON(t, s.extra), canonicalJSON(t, v.seen.Extra))
		}
		states, bytes := d.Stats()
		require.LessOrEqual(t, states, len(viewers))
		require.Equal(t, a.used.Load(), bytes)
	}
	states, _ := d.Stats()
	require.Less(t, states, 6, "most see the same")
	for _, v := range viewers {
		v.at.Release()
	}
	states, _ = d.Stats()
	require.Zero(t, states)
	require.Zero(t, a.used.Load())
}

func TestDeltaStatesShareFrames(t *testing.T) {
	d, err := NewDeltaStates[card](DeltaOptions{MaxBytes: 1 << 20})
	require.NoError(t, err)
	one, err := d.State([]card{{UserID: "a"}}, 1)
	require.NoError(t, err)
	same, err := d.State([]card{{UserID: "a"}}, 1)
	require.NoError(t, err)
	require.Same(t, one, same)
	require.Nil(t, one.To(same))
	two, err := d.State([]card{{UserID: "a"}, {UserID: "b"}}, 2)
	require.NoError(t, err)
	require.Equal(t, `["D",0,[0,1,["b","","",[""],null,null,"",0,null,null,false]],0,2]`, string(one.To(two)))
	require.Same(t, &one.To(two)[0], &one.To(two)[0], "encoded once")
	require.Same(t, &two.Snapshot()[0], &two.Snapshot()[0])
	var r Replica
	require.ErrorIs(t, r.Apply(one.To(two)), ErrGap, "nothing came before")
	// Of many steps that begin at one state only the latest are kept.
	_, before := d.Stats()
	for i := range 100 {
		next, err := d.State([]card{{UserID: fmt.Sprint(i)}}, i)
		require.NoError(t, err)
		one.To(next)
		next.Release()
	}
	_, after := d.Stats()
	require.Less(t, after-before, int64(2000))
}

func TestDeltaStatesBounds(t *testing.T) {
	_, err := NewDeltaStates[card](DeltaOptions{})
	require.ErrorContains(t, err, "MaxBytes")
	_, err = NewDeltaStates[struct{ A int }](DeltaOptions{MaxBytes: 1})
	require.ErrorContains(t, err, "key")
	d, err := NewDeltaStates[card](DeltaOptions{MaxBytes: 4000})
	require.NoError(t, err)
	_, err = d.State([]card{{UserID: strings.Repeat("x", 5000)}}, nil)
	require.ErrorIs(t, err, ErrStateTooLarge)
	var kept []*DeltaState[card]
	for i := 0; ; i++ {
		s, err := d.State([]card{{UserID: fmt.Sprint(i)}}, nil)
		if err != nil {
			require.ErrorIs(t, err, ErrStateTooLarge)
			break
		}
		kept = append(kept, s)
	}
	require.Less(t, len(kept), 10)
	require.NotEmpty(t, kept[0].Snapshot(), "also without room to keep it")
	require.NotEmpty(t, kept[0].To(kept[1]))
	for _, s := range kept {
		s.Release()
	}
	_, bytes := d.Stats()
	require.Zero(t, bytes)
}

func TestDeltaStatesConcurrent(t *testing.T) {
	d, err := NewDeltaStates[card](DeltaOptions{MaxBytes: 1 << 20})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			at, _ := d.State(nil, 0)
			for i := range 500 {
				next, err := d.State([]card{{UserID: fmt.Sprint((i + g) % 7)}}, i%3)
				if err != nil {
					t.Error(err)
					return
				}
				at.To(next)
				next.Snapshot()
				next.Retain()
				next.Release()
				at.Release()
				at = next
			}
			at.Release()
		})
	}
	wg.Wait()
	states, bytes := d.Stats()
	require.Zero(t, states)
	require.Zero(t, bytes)
}
