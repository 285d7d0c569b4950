package memmgr

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fake is a source whose ratio a test sets.
type fake struct{ permille atomic.Int64 }

func (f *fake) source(name string) Source {
	return Source{Name: name, Read: func() (int64, int64) { return f.permille.Load() * 1000, 1e6 }}
}

// newFake returns a Manager whose level only f decides: the limit is far above
// what a test needs.
func newFake(t *testing.T, f *fake, change func(*Options)) *Manager {
	t.Helper()
	o := Options{
		Limit: 1 << 40, Budget: 1 << 20, NoGCTrigger: true, Calm: 100 * time.Millisecond,
		Accounts: []AccountOptions{{Name: "a"}},
		Sources:  []Source{f.source("fake")},
	}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	require.NoError(t, err)
	return m
}

// run runs m for the rest of the bubble.
func run(t *testing.T, m *Manager) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	t.Cleanup(func() {
		require.NoError(t, m.Shutdown(context.Background()))
		require.NoError(t, <-done)
	})
}

// TestNoise: ±3 % around any threshold for five minutes changes the level at
// most six times.
func TestNoise(t *testing.T) {
	for _, center := range []float64{0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90} {
		synctest.Test(t, func(t *testing.T) {
			var f fake
			m := newFake(t, &f, nil)
			var changes atomic.Int64
			m.OnLevel(func(from, to Level) { changes.Add(1) })
			run(t, m)
			rng := rand.New(rand.NewPCG(1, uint64(center*1000)))
			for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(7 * time.Millisecond) {
				f.permille.Store(int64(1000 * center * (1 + 0.06*(rng.Float64()-0.5))))
			}
			require.LessOrEqual(t, changes.Load(), int64(6), "around %v", center)
		})
	}
}

func TestLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		m := newFake(t, &f, nil)
		type change struct {
			from, to Level
			at       time.Duration
		}
		start := time.Now()
		changes := make(chan change, 100)
		m.OnLevel(func(from, to Level) { changes <- change{from, to, time.Since(start)} })
		m.OnLevel(func(from, to Level) { panic("a callback's fault") })
		run(t, m)
		time.Sleep(time.Second)
		require.Equal(t, Normal, m.Level())
		require.NoError(t, m.Admit())

		f.permille.Store(950)
		time.Sleep(110 * time.Millisecond)
		require.Equal(t, Critical, m.Level(), "one sample is enough")
		c := <-changes
		require.Equal(t, Normal, c.from)
		require.Equal(t, Critical, c.to)
		err := m.Admit()
		require.ErrorIs(t, err, ErrOverload)
		require.Error(t, m.Account("a").Reserve(1))

		f.permille.Store(100)
		time.Sleep(5 * time.Second)
		require.Equal(t, Normal, m.Level(), "back within five seconds")
		require.NoError(t, m.Admit())
		require.NoError(t, m.Account("a").Reserve(1))
		for _, want := range []Level{High, Elevated, Normal} {
			c := <-changes
			require.Equal(t, want, c.to, "one level at a time")
		}
		st := m.Stats()
		require.Equal(t, uint64(4), st.Changes)
		require.Positive(t, st.InLevel[Critical])
		require.Equal(t, uint64(1), st.Refused)
		require.NotEmpty(t, m.History())
	})
}

func TestRefusalScales(t *testing.T) {
	m := newFake(t, &fake{}, nil)
	require.Zero(t, m.refuseShare(Elevated, 0.99))
	require.Zero(t, m.refuseShare(High, 0.75))
	require.InDelta(t, 1<<15, m.refuseShare(High, 0.85), 2)
	require.EqualValues(t, 1<<16, m.refuseShare(High, 1.2))
	require.EqualValues(t, 1<<16, m.refuseShare(Critical, 0.1))
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	now := time.Now()
	for i := range 5 * historyLen {
		h.add(now.Add(time.Duration(i)*3*time.Second), float64(i%7), Level(i%4), &Sample{Live: int64(i)}, uint64(i))
	}
	m := newFake(t, &fake{}, nil)
	m.watch.history = h
	points := m.History()
	require.Len(t, points, historyLen)
	for i, p := range points {
		require.GreaterOrEqual(t, p.Level, Elevated)
		if i > 0 {
			require.Equal(t, 12*time.Second, p.At.Sub(points[i-1].At))
		}
	}
}
