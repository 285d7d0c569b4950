package connmgr

import (
	"net/netip"
	"strconv"
	"testing"
)

// BenchmarkAdmit is one admission, attachment and release among n others.
func BenchmarkAdmit(b *testing.B) {
	for _, n := range []int{0, 1_000, 100_000} {
		b.Run("among="+strconv.Itoa(n), func(b *testing.B) {
			m, err := New(Options{MaxConns: n + 1000, MaxPerUser: 2, MaxPerAddr: 2, RatePerAddr: 1e9, MaxRateAddrs: n + 1000})
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
				if _, err := m.Admit(Request{User: strconv.Itoa(i), Addr: addr}); err != nil {
					b.Fatal(err)
				}
			}
			conn := &testConn{}
			req := Request{User: "u", Addr: netip.MustParseAddr("192.0.2.1")}
			b.ReportAllocs()
			for b.Loop() {
				tk, err := m.Admit(req)
				if err != nil {
					b.Fatal(err)
				}
				tk.Attach(conn)
				tk.Release()
			}
		})
	}
}

// BenchmarkRefuse is one admission that the server's limit refuses.
func BenchmarkRefuse(b *testing.B) {
	m, err := New(Options{MaxConns: 1, MaxPerUser: 2, MaxPerAddr: 2})
	if err != nil {
		b.Fatal(err)
	}
	m.Admit(Request{User: "u"})
	b.ReportAllocs()
	for b.Loop() {
		m.Admit(Request{User: "v"})
	}
}
