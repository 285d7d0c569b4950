package load

import (
	"math/bits"
	"sync"
	"time"
)

// A histogram counts durations in buckets that are at most 1/32 wide, from a
// microsecond to an hour, in a fixed 9 KiB.
type histogram struct {
	mu      sync.Mutex
	buckets [36 * sub]uint32
	n       int64
	max     time.Duration
}

const sub = 32

// bucketOf is exact up to 32 µs, and then keeps five bits after the first.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < sub {
		return int(us)
	}
	exp := bits.Len64(us) - 6
	return min((exp+1)*sub+int(us>>exp)-sub, 36*sub-1)
}

// top is the upper end of a bucket.
func top(i int) time.Duration {
	if i < sub {
		return time.Duration(i+1) * time.Microsecond
	}
	exp := i/sub - 1
	return time.Duration(i%sub+sub+1) << exp * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buckets[bucketOf(d)]++
	h.n++
	h.max = max(h.max, d)
}

// Latency says how long something took.
type Latency struct {
	Count int64         `json:"count"`
	P50   time.Duration `json:"p50ns"`
	P95   time.Duration `json:"p95ns"`
	P99   time.Duration `json:"p99ns"`
	Max   time.Duration `json:"maxns"`
}

func (h *histogram) summary() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := Latency{Count: h.n, Max: h.max}
	if h.n == 0 {
		return l
	}
	seen := int64(0)
	for i, n := range h.buckets {
		before := seen
		seen += int64(n)
		for _, q := range []struct {
			share float64
			out   *time.Duration
		}{{0.50, &l.P50}, {0.95, &l.P95}, {0.99, &l.P99}} {
			// The nearest rank.
			rank := max(int64(q.share*float64(h.n)+0.999999), 1)
			if before < rank && rank <= seen {
				*q.out = min(top(i), h.max)
			}
		}
	}
	return l
}
