package compress

import (
	"errors"
	"sync/atomic"
)

// testAccount grants up to limit bytes, and counts.
type testAccount struct {
	limit int64
	used  atomic.Int64
	peak  atomic.Int64
}

var errFull = errors.New("full")

func (a *testAccount) Reserve(n int64) error {
	now := a.used.Add(n)
	if now > a.limit || n < 0 {
		a.used.Add(-n)
		return errFull
	}
	for p := a.peak.Load(); now > p && !a.peak.CompareAndSwap(p, now); p = a.peak.Load() {
	}
	return nil
}

func (a *testAccount) Release(n int64) {
	if n < 0 || a.used.Add(-n) < 0 {
		panic("released more than was reserved")
	}
}
