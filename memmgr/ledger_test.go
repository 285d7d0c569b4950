package memmgr

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReserveReasons(t *testing.T) {
	m, err := New(Options{Limit: 1000, Budget: 1000, Accounts: []AccountOptions{
		{Name: "a", Min: 100, Max: 600}, {Name: "b", Min: 300},
	}})
	require.NoError(t, err)
	a, b := m.Account("a"), m.Account("b")

	refused := func(acc *Account, n int64, want Reason) {
		t.Helper()
		before := acc.Used()
		err := acc.Reserve(n)
		require.ErrorIs(t, err, ErrOverload)
		var le *LimitError
		require.ErrorAs(t, err, &le)
		require.Equal(t, want, le.Reason)
		require.Equal(t, acc.Name(), le.What)
		require.Equal(t, before, acc.Used())
	}
	require.NoError(t, a.Reserve(600))
	refused(a, 1, ReasonMax)
	require.NoError(t, b.Reserve(400))
	refused(b, 1, ReasonBudget)
	refused(a, -1, ReasonInvalid)
	refused(a, math.MaxInt64, ReasonInvalid)
	refused(a, math.MinInt64, ReasonInvalid)

	a.Release(600)
	require.NoError(t, b.Reserve(500), "the slack of a neighbour is had back")
	refused(b, 1, ReasonBudget)
	require.NoError(t, a.Reserve(100), "its minimum stays")
	refused(a, 1, ReasonBudget)

	st := m.Stats()
	require.Equal(t, uint64(1), st.Accounts[0].RefusedMax)
	require.Equal(t, uint64(1), st.Accounts[0].RefusedBudget)
	require.Equal(t, uint64(3), st.Accounts[0].RefusedInvalid)
	require.Equal(t, uint64(2), st.Accounts[1].RefusedBudget)
}

func TestReleaseTooMuch(t *testing.T) {
	m, err := New(Options{Limit: 1000, Budget: 1000, Accounts: []AccountOptions{{Name: "a"}}})
	require.NoError(t, err)
	a := m.Account("a")
	require.NoError(t, a.Reserve(10))
	a.Release(25)
	require.Zero(t, a.Used())
	a.Release(-5)
	a.Release(math.MinInt64)
	require.Zero(t, a.Used())
	require.Equal(t, uint64(17), a.Stats().OverReleased)
	require.NoError(t, a.Reserve(1000))
	require.Error(t, a.Reserve(1))
}

func TestNilAccount(t *testing.T) {
	var a *Account
	require.NoError(t, a.Reserve(1<<40))
	a.Release(1 << 40)
	require.Zero(t, a.Used())
	require.Empty(t, a.Name())
	require.Equal(t, AccountStats{}, a.Stats())
}

func TestFreeze(t *testing.T) {
	m, err := New(Options{Limit: 1000, Budget: 1000, Accounts: []AccountOptions{
		{Name: "cache", Min: 100, FreezeAt: Elevated},
		{Name: "work"},
		{Name: "calls", FreezeAt: Never},
	}})
	require.NoError(t, err)
	cache, work, calls := m.Account("cache"), m.Account("work"), m.Account("calls")
	require.NoError(t, cache.Reserve(50))

	m.applyLevel(Elevated)
	require.NoError(t, cache.Reserve(50), "up to its minimum")
	require.Error(t, cache.Reserve(1))
	require.NoError(t, work.Reserve(100))

	m.applyLevel(Critical)
	require.Error(t, work.Reserve(1))
	work.Release(40)
	require.NoError(t, work.Reserve(40), "what was held when the level was entered may be held again")
	require.NoError(t, calls.Reserve(500))

	m.applyLevel(Normal)
	require.NoError(t, cache.Reserve(100))
	require.NoError(t, work.Reserve(100))
	require.Equal(t, uint64(1), cache.Stats().RefusedPressure)
}

// TestLedgerModel compares the ledger with the rules written down naively.
func TestLedgerModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		budget := 1 + rng.Int64N(1<<(2+seed%30))
		var opts []AccountOptions
		rest := budget
		for i := range 1 + rng.IntN(6) {
			o := AccountOptions{Name: string(rune('a' + i)), FreezeAt: Elevated + Level(rng.IntN(4))}
			o.Min = rng.Int64N(rest + 1)
			rest -= o.Min
			o.Max = max(1, o.Min+rng.Int64N(budget-o.Min+1))
			opts = append(opts, o)
		}
		m, err := New(Options{Limit: budget, Budget: budget, Accounts: opts})
		require.NoError(t, err)

		used := make([]int64, len(opts))
		level := Normal
		for range 2000 {
			i := rng.IntN(len(opts))
			o := &opts[i]
			if rng.IntN(50) == 0 {
				level = Level(rng.IntN(levels))
				m.applyLevel(level)
			}
			if rng.IntN(3) == 0 {
				n := rng.Int64N(used[i] + 1)
				m.ledger.accounts[i].Release(n)
				used[i] -= n
				continue
			}
			n := rng.Int64N(o.Max/3 + 2)
			// What everybody's minimum and use above it leave.
			free := budget
			for j, u := range used {
				free -= max(u, opts[j].Min)
			}
			over := max(0, used[i]+n-max(used[i], o.Min))
			allowed := used[i]+n <= o.Max && over <= free
			frozen := level >= o.FreezeAt && used[i]+n > o.Min
			err := m.ledger.accounts[i].Reserve(n)
			switch {
			case !allowed:
				require.Error(t, err, "seed %d", seed)
			case !frozen:
				require.NoError(t, err, "seed %d", seed)
			}
			if err == nil {
				used[i] += n
			}
			require.Equal(t, used[i], m.ledger.accounts[i].Used())
			checkLedger(t, m.ledger)
		}
	}
}

// checkLedger checks what must hold at every moment.
func checkLedger(t *testing.T, l *ledger) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := l.shared
	for _, a := range l.accounts {
		g := a.grant.Load()
		require.LessOrEqual(t, a.Used(), g)
		require.GreaterOrEqual(t, g, a.min)
		require.LessOrEqual(t, g, a.max)
		sum += g
	}
	require.Equal(t, l.budget, sum)
}

// TestLedgerRace hammers all accounts at once. Whoever gets bytes adds them
// to a sum of its own after, and takes them off before: that sum must never be
// above the budget, and an account below its minimum must never be refused.
func TestLedgerRace(t *testing.T) {
	const budget, workers = 1 << 20, 8
	m, err := New(Options{Limit: budget, Budget: budget, Accounts: []AccountOptions{
		{Name: "a", Min: 100 << 10}, {Name: "b", Min: 50 << 10}, {Name: "c"}, {Name: "min", Min: 64 << 10, Max: 64 << 10},
	}})
	require.NoError(t, err)
	var sum, worst, starved atomic.Int64
	var wg sync.WaitGroup
	stop := time.Now().Add(700 * time.Millisecond)
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			acc := m.ledger.accounts[w%3]
			var held []int64
			for time.Now().Before(stop) {
				for range 100 {
					if len(held) > 0 && rng.IntN(100) < 48 {
						n := held[len(held)-1]
						held = held[:len(held)-1]
						sum.Add(-n)
						acc.Release(n)
						continue
					}
					n := rng.Int64N(20 << 10)
					if acc.Reserve(n) == nil {
						notePeak(&worst, sum.Add(n))
						held = append(held, n)
					}
				}
			}
			for _, n := range held {
				sum.Add(-n)
				acc.Release(n)
			}
		})
	}
	wg.Go(func() {
		acc := m.Account("min")
		for time.Now().Before(stop) {
			if acc.Reserve(64<<10) != nil {
				starved.Add(1)
				continue
			}
			notePeak(&worst, sum.Add(64<<10))
			sum.Add(-64 << 10)
			acc.Release(64 << 10)
		}
	})
	wg.Go(func() {
		for i := 0; time.Now().Before(stop); i++ {
			m.applyLevel(Level(i % 2))
			used, _ := m.ledger.used()
			notePeak(&worst, min(used, budget)) // reads one account after the other
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	require.LessOrEqual(t, worst.Load(), int64(budget))
	require.Zero(t, starved.Load())
	checkLedger(t, m.ledger)
	all, _ := m.ledger.used()
	require.Zero(t, all)
}
