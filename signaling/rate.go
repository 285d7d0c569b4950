package signaling

import "time"

// bucket is a token bucket in twelve bytes: the time at which it would be
// full, as GCRA keeps it.
type bucket struct{ full time.Duration }

// take takes one token at time now (since the hub's start).
func (b *bucket) take(now time.Duration, rate, burst int) bool {
	step := time.Second / time.Duration(rate)
	b.full = max(b.full, now)
	if b.full-now > step*time.Duration(burst-1) {
		return false
	}
	b.full += step
	return true
}
