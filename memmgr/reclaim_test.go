package memmgr

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReclaimersRunInOrderOfCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		f.permille.Store(100)
		m := newFake(t, &f, nil)
		var mu sync.Mutex
		var order []string
		free := func(name string, permille int64) func(context.Context, Pressure) (int64, error) {
			return func(_ context.Context, p Pressure) (int64, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				f.permille.Add(-permille)
				return permille * 1000, nil
			}
		}
		require.NoError(t, m.OnPressure(Reclaimer{Name: "close the heaviest", At: Critical, Cost: 30, Reclaim: free("close", 100)}))
		require.NoError(t, m.OnPressure(Reclaimer{Name: "caches", At: Elevated, Cost: 10, Reclaim: free("caches", 30)}))
		require.NoError(t, m.OnPressure(Reclaimer{Name: "droppable", At: High, Cost: 20, Reclaim: free("drop", 300)}))
		run(t, m)

		f.permille.Store(710) // elevated: only the caches may give
		time.Sleep(150 * time.Millisecond)
		mu.Lock()
		require.Equal(t, []string{"caches"}, order)
		order = nil
		mu.Unlock()

		f.permille.Store(950) // critical: 150 above where it is left, the first two free 330
		time.Sleep(150 * time.Millisecond)
		mu.Lock()
		require.Equal(t, []string{"caches", "drop"}, order, "what was wanted was freed before the dearest one's turn")
		mu.Unlock()
		time.Sleep(10 * time.Second)
		require.Equal(t, Normal, m.Level(), "620 is above where elevated is left, so the caches gave again")
		st := m.Stats()
		require.Equal(t, "caches", st.Reclaim[0].Name)
		require.EqualValues(t, 300_000, st.Reclaim[1].Freed)
		require.Zero(t, st.Reclaim[2].Calls)
		require.EqualValues(t, 3, st.Reclaim[0].Calls, "rounds go on while the level lasts")
	})
}

// TestReclaimerFaults: one that panics, one that hangs and one that fails do
// not keep the last from its turn.
func TestReclaimerFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		m := newFake(t, &f, nil)
		release := make(chan struct{})
		var last, hung atomic.Int64
		add := func(name string, cost int, r func(context.Context, Pressure) (int64, error)) {
			require.NoError(t, m.OnPressure(Reclaimer{Name: name, At: High, Cost: cost, Timeout: 100 * time.Millisecond, Reclaim: r}))
		}
		add("panics", 1, func(context.Context, Pressure) (int64, error) { panic("no") })
		add("hangs", 2, func(context.Context, Pressure) (int64, error) { hung.Add(1); <-release; return 5, nil })
		add("fails", 3, func(context.Context, Pressure) (int64, error) { return 0, errors.New("sink is down") })
		add("heeds", 4, func(ctx context.Context, _ Pressure) (int64, error) { <-ctx.Done(); return 0, ctx.Err() })
		add("works", 5, func(context.Context, Pressure) (int64, error) { last.Add(1); return 1, nil })
		run(t, m)
		f.permille.Store(850)
		time.Sleep(5 * time.Second)
		require.Greater(t, last.Load(), int64(2))
		require.EqualValues(t, 1, hung.Load(), "a hanging one is not called again")
		st := m.Stats().Reclaim
		require.Positive(t, st[0].Errors)
		require.Contains(t, st[0].LastError, "panicked: no")
		require.True(t, st[1].Hanging)
		require.EqualValues(t, 1, st[1].Timeouts)
		require.Positive(t, st[1].Skipped)
		require.Equal(t, "sink is down", st[2].LastError)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, m.Shutdown(short), context.DeadlineExceeded, "Shutdown says that one is still running")
		close(release)
		synctest.Wait()
		require.NoError(t, m.Shutdown(t.Context()))
		require.False(t, m.Stats().Reclaim[1].Hanging)
		require.EqualValues(t, 5, m.Stats().Reclaim[1].Freed)
	})
}

func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		reports := make(chan StuckReport, 10)
		m := newFake(t, &f, func(o *Options) {
			o.Accounts = []AccountOptions{{Name: "a"}, {Name: "leaks", FreezeAt: Never}}
			o.OnStuck = func(r StuckReport) { reports <- r }
			o.GiveUpAfter = 10 * time.Second
		})
		require.NoError(t, m.OnPressure(Reclaimer{Name: "nothing", At: Elevated, Reclaim: func(context.Context, Pressure) (int64, error) { return 0, nil }}))
		ended := make(chan error, 1)
		go func() { ended <- m.Run(t.Context()) }()
		time.Sleep(time.Second + time.Millisecond) // between two samples
		require.NoError(t, m.Account("leaks").Reserve(1000))
		f.permille.Store(950)
		critical := time.Now()
		r := <-reports
		require.Less(t, time.Since(critical), time.Second)
		require.Equal(t, "leaks", r.Accounts[0].Name)
		require.True(t, m.Stats().Stuck)

		// It gets better by itself, and a second episode is reported anew.
		f.permille.Store(100)
		time.Sleep(5 * time.Second)
		require.Equal(t, Normal, m.Level())
		require.False(t, m.Stats().Stuck)
		f.permille.Store(950)
		<-reports
		err := <-ended
		require.ErrorIs(t, err, ErrStuck)
		var stuck *StuckError
		require.ErrorAs(t, err, &stuck)
		require.EqualValues(t, 2, m.Stats().Episodes)
		require.Equal(t, Normal, m.Level(), "without a watchdog there is no level")
		require.Empty(t, reports)
	})
}

// TestLedgerAloneIsNotCritical: a server at its planned capacity is not an
// emergency, however long.
func TestLedgerAloneIsNotCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake(t, &fake{}, func(o *Options) { o.OnStuck = func(StuckReport) { t.Error("stuck") } })
		run(t, m)
		require.NoError(t, m.Account("a").Reserve(1<<20))
		time.Sleep(time.Minute)
		require.Equal(t, High, m.Level())
		require.Equal(t, SourceLedger, m.Stats().Source)
		require.Error(t, m.Admit())
		m.Account("a").Release(1 << 20)
		time.Sleep(5 * time.Second)
		require.Equal(t, Normal, m.Level())
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake(t, &fake{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		synctest.Wait()
		require.ErrorIs(t, m.Run(ctx), ErrRunning)
		cancel()
		require.NoError(t, <-done)
		go func() { done <- m.Run(t.Context()) }()
		synctest.Wait()
		require.NoError(t, m.Shutdown(t.Context()))
		require.NoError(t, <-done)
		require.NoError(t, m.Run(t.Context()), "after Shutdown it returns at once")
	})
}

func TestSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fake
		m := newFake(t, &f, nil)
		var runs, at, most atomic.Int64
		require.NoError(t, m.AddSweep(Sweep{Name: "slow", Every: time.Minute, Jitter: -1, Run: func(ctx context.Context) (SweepResult, error) {
			notePeak(&most, at.Add(1))
			defer at.Add(-1)
			time.Sleep(10 * time.Second)
			runs.Add(1)
			return SweepResult{Deleted: 2}, nil
		}}))
		require.NoError(t, m.AddSweep(Sweep{Name: "panics", AtLevel: Never, Run: func(context.Context) (SweepResult, error) { panic("no") }}))
		run(t, m)
		time.Sleep(10*time.Minute + 5*time.Second)
		require.EqualValues(t, 8, runs.Load(), "a minute between the end of one and the next")

		// While one runs, SweepNow waits for it instead of running a second.
		for range 3 {
			go m.SweepNow(context.Background())
		}
		m.SweepNow(t.Context())
		require.EqualValues(t, 1, most.Load())
		time.Sleep(30 * time.Second)
		_, err := m.SweepNow(t.Context())
		require.ErrorContains(t, err, "sweep panics: memmgr: sweep panics panicked: no")

		// Critical sweeps at once.
		time.Sleep(30 * time.Second)
		before := runs.Load()
		f.permille.Store(950)
		time.Sleep(11 * time.Second)
		require.Greater(t, runs.Load(), before)
		st := m.Stats().Sweeps
		require.EqualValues(t, 2*runs.Load(), st[0].Total.Deleted)
		require.Positive(t, st[1].Errors)

		// Added while running.
		ran := make(chan struct{})
		require.NoError(t, m.AddSweep(Sweep{Name: "late", Every: time.Second, Run: func(ctx context.Context) (SweepResult, error) {
			close(ran)
			<-ctx.Done() // until Shutdown
			return SweepResult{}, ctx.Err()
		}, Timeout: time.Hour}))
		<-ran
	})
}

// A sweep that runs often and seldom finds something is seldom in the log.
func TestSweepsThatFindNothingAreQuiet(t *testing.T) {
	var log bytes.Buffer
	m, err := New(Options{
		Limit: 64 << 20, Accounts: []AccountOptions{{Name: "a"}}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	freed := int64(0)
	require.NoError(t, m.AddSweep(Sweep{Name: "files", Run: func(context.Context) (SweepResult, error) {
		return SweepResult{Examined: 1, Freed: freed}, nil
	}}))
	_, err = m.SweepNow(t.Context())
	require.NoError(t, err)
	require.NotContains(t, log.String(), "memory sweep")
	freed = 1 << 20
	_, err = m.SweepNow(t.Context())
	require.NoError(t, err)
	require.Contains(t, log.String(), "freed=1048576")
}

func TestOptionsNameEveryFault(t *testing.T) {
	_, err := New(Options{
		Limit: 100, Budget: 200,
		Accounts: []AccountOptions{{Name: "a", Min: 150}, {Name: "a", Min: 100, Max: 50}, {Max: -1, FreezeAt: 9}},
		Elevated: Threshold{0.5, 0.6}, Hold: -1, Busy: time.Second, Calm: time.Millisecond,
		Sources: []Source{{Name: SourceHeap}},
	})
	for _, want := range []string{
		"Options.Budget = 200", "Accounts[1].Name", "Accounts[1].Min = 100", "Accounts[2].Name", "Accounts[2].Max = -1",
		"Accounts[2].FreezeAt = 9", "Options.Elevated", "Options.Hold", "Options.Busy", "Sources[0].Name", "Sources[0].Read is nil",
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = New(Options{Limit: 100, Accounts: []AccountOptions{{Name: "a", Min: 30}, {Name: "b", Min: 30}}})
	require.ErrorContains(t, err, "the minima sum up to 60, want at most Budget (50)")
	_, err = New(Options{root: t.TempDir(), Accounts: []AccountOptions{{Name: "a"}}})
	require.ErrorIs(t, err, ErrNoLimit)

	m := newFake(t, &fake{}, nil)
	require.ErrorContains(t, m.OnPressure(Reclaimer{}), "Reclaimer.At")
	require.ErrorContains(t, m.AddSweep(Sweep{Every: -1}), "Sweep.Run is nil")
	require.Panics(t, func() { m.Account("nobody") })
	_, err = NewArchive(ArchiveOptions[int, int]{})
	require.ErrorContains(t, err, "ArchiveOptions.Delete is nil")
}
