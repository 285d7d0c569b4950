package connmgr

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRateModel compares the time stamp with a bucket that counts tokens.
func TestRateModel(t *testing.T) {
	for seed := range 50 {
		rnd := rand.New(rand.NewPCG(uint64(seed), 3))
		perSecond, burst := 1+rnd.IntN(50), 1+rnd.IntN(20)
		r := newRate(float64(perSecond), burst)
		full := int64(burst) * r.gap
		tokens := full // in nanoseconds of time
		var tat, now int64
		for range 5_000 {
			step := rnd.Int64N(2 * r.gap)
			now += step
			tokens = min(tokens+step, full)
			wait := r.wait(tat, now)
			require.Equal(t, tokens >= r.gap, wait == 0)
			if wait == 0 {
				tat = r.take(tat, now)
				tokens -= r.gap
			} else {
				require.Equal(t, time.Duration(r.gap-tokens), wait)
			}
		}
	}
}

func TestRatePerAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{MaxConns: 1000, MaxPerUser: 1, MaxPerAddr: 1000, RatePerAddr: 2, BurstPerAddr: 3, MaxRateAddrs: 2})
		require.NoError(t, err)
		admit := func(addr string) error {
			tk, err := m.Admit(Request{User: "u", Addr: netip.MustParseAddr(addr)})
			tk.Release()
			return err
		}
		for range 3 {
			require.NoError(t, admit("192.0.2.1"))
		}
		err = admit("192.0.2.1")
		require.EqualError(t, err, "connmgr: refused: rate-per-addr limit of 3")
		require.GreaterOrEqual(t, err.(*LimitError).RetryAfter, 500*time.Millisecond)
		require.NoError(t, admit("192.0.2.2"))
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, admit("192.0.2.1"))
		require.Error(t, admit("192.0.2.1"))

		// A third address pushes out the one that came least recently, .2.
		require.Zero(t, m.Stats().RateAddrsForgotten)
		require.NoError(t, admit("192.0.2.3"))
		require.EqualValues(t, 2, m.Stats().RateAddrs)
		require.Error(t, admit("192.0.2.1"))

		// Full buckets are dropped, nobody is forgotten early.
		forgotten := m.Stats().RateAddrsForgotten
		time.Sleep(time.Minute)
		require.NoError(t, admit("192.0.2.4"))
		require.Equal(t, 1, m.Stats().RateAddrs)
		require.Equal(t, forgotten, m.Stats().RateAddrsForgotten)
		require.NoError(t, m.Shutdown(t.Context()))
	})
}

func TestRateOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Options{MaxConns: 1000, MaxPerUser: 1000, MaxPerAddr: 1, Rate: 100})
		require.NoError(t, err)
		admitted := 0
		start := time.Now()
		for time.Since(start) < 2*time.Second {
			if tk, err := m.Admit(Request{User: "u"}); err == nil {
				admitted++
				tk.Release()
			}
			time.Sleep(time.Millisecond)
		}
		require.InDelta(t, 100+2*100, admitted, 1)
		require.Positive(t, m.Stats().Refused.Rate)
	})
}

// TestRatesBounded: a flood of addresses never takes more than MaxRateAddrs.
func TestRatesBounded(t *testing.T) {
	r := newRates(1, 5, 1000)
	rnd := rand.New(rand.NewPCG(1, 2))
	now := int64(0)
	for range 100_000 {
		now += int64(time.Millisecond) / 4
		r.take(rnd.Uint64N(5_000), now)
		require.LessOrEqual(t, r.entries.live, 1000)
	}
	require.Positive(t, r.forgotten)
	n := 0
	for i := r.lru; ; i = r.entries.at(i).next {
		n++
		require.NotZero(t, r.find(r.entries.at(i).key))
		if r.entries.at(i).next == r.lru {
			break
		}
	}
	require.Equal(t, r.entries.live, n)
}
