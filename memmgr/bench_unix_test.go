//go:build unix

package memmgr

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkCalm measures what the watchdog takes of a core while nothing
// happens, everything included: timers, scheduling, the kernel's files.
func BenchmarkCalm(b *testing.B) {
	cpu := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	m, err := New(Options{root: limitedRoot(b), Limit: 1 << 30, Accounts: []AccountOptions{{Name: "a"}}})
	require.NoError(b, err)
	go m.Run(b.Context())
	time.Sleep(100 * time.Millisecond)
	start, used := time.Now(), cpu()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	b.ReportMetric(100*float64(cpu()-used)/float64(time.Since(start)), "%core")
}
