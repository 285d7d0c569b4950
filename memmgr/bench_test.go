package memmgr

import (
	"sync/atomic"
	"testing"
	"time"
)

func benchManager(b *testing.B) *Manager {
	m, err := New(Options{
		Limit: 1 << 40, Budget: 1 << 30,
		Accounts: []AccountOptions{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}, {Name: "full", Max: 1}},
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkReserve measures a Reserve and a Release together; bare is the two
// atomic instructions that neither can do without, and the loop.
func BenchmarkReserve(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		var word atomic.Uint64
		b.ReportAllocs()
		for b.Loop() {
			w := word.Load()
			word.CompareAndSwap(w, w+4096)
			word.Add(^uint64(4095))
		}
	})
	b.Run("alone", func(b *testing.B) {
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(4096)
			a.Release(4096)
		}
	})
	b.Run("contended", func(b *testing.B) {
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				a.Reserve(4096)
				a.Release(4096)
			}
		})
	})
	b.Run("apart", func(b *testing.B) {
		m := benchManager(b)
		var next atomic.Int32
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			a := m.ledger.accounts[int(next.Add(1))%4]
			for pb.Next() {
				a.Reserve(4096)
				a.Release(4096)
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		a := benchManager(b).Account("full")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(4096)
		}
	})
	b.Run("grow", func(b *testing.B) { // a chunk from the shared rest, and back
		a := benchManager(b).Account("a")
		b.ReportAllocs()
		for b.Loop() {
			a.Reserve(1 << 20)
			a.Release(1 << 20)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	m := benchManager(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Admit()
	}
}

// BenchmarkSample measures what one look of the watchdog costs: runtime and
// ledger, which is every sample; the kernel's files beside, which is every
// 100 ms at most; and all of them, which is once a second, and every 100 ms
// from half of the cgroup's limit on.
func BenchmarkSample(b *testing.B) {
	b.Run("runtime", func(b *testing.B) {
		m := benchManager(b)
		s := newSampler("/")
		defer s.close()
		now := time.Now()
		b.ReportAllocs()
		for b.Loop() {
			m.mu.Lock()
			m.stepLocked(s, now)
			m.mu.Unlock()
		}
	})
	b.Run("files", func(b *testing.B) {
		s := newSampler(limitedRoot(b))
		defer s.close()
		smp := Sample{At: time.Now()}
		s.limitNow(smp.At)
		b.ReportAllocs()
		for b.Loop() {
			s.readFiles(&smp)
		}
	})
	b.Run("allFiles", func(b *testing.B) {
		s := newSampler(limitedRoot(b))
		defer s.close()
		smp := Sample{At: time.Now()}
		b.ReportAllocs()
		for b.Loop() {
			smp.At = smp.At.Add(wholeEvery)
			s.readFiles(&smp)
		}
	})
}
