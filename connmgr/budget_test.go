package connmgr

import (
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestBudget measures what a connection costs beyond the caller's, at the
// worst: a user and an address each. doc.go says 100 bytes.
func TestBudget(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		require.EqualValues(t, 64, unsafe.Sizeof(slot{}))
	}
	for _, n := range []int{1_200, 19_000, 100_000} {
		requests := make([]Request, n)
		tickets := make([]Ticket, n)
		conns := make([]testConn, n)
		for i := range requests {
			requests[i].User = strconv.Itoa(i)
			requests[i].Addr = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		}
		base := heap()
		m, err := New(Options{MaxConns: n, MaxPerUser: 1, MaxPerAddr: 1})
		require.NoError(t, err)
		fixed := max(heap()-base, 0) // what an earlier test left may go meanwhile
		for i := range requests {
			tickets[i], err = m.Admit(requests[i])
			require.NoError(t, err)
			tickets[i].Attach(&conns[i])
		}
		perConn := float64(heap()-base) / float64(n)
		t.Logf("%d connections: %.1f B each, of these %.1f in New (limit 100)", n, perConn, float64(fixed)/float64(n))
		// Half a chunk of each slab may be unused: 12 KiB in all.
		require.LessOrEqual(t, perConn, 100+12<<10/float64(n))
		for _, tk := range tickets {
			tk.Release()
		}
		after := heap() - base
		t.Logf("%d B after all have left, %d B in New", after, fixed)
		require.LessOrEqual(t, after, fixed+32<<10)
		runtime.KeepAlive(m)
		runtime.KeepAlive(tickets)
		runtime.KeepAlive(conns)
		runtime.KeepAlive(requests)
	}
}

// TestNoGarbage: to come and go allocates nothing.
func TestNoGarbage(t *testing.T) {
	m, err := New(Options{MaxConns: 100, MaxPerUser: 1, MaxPerAddr: 100, RatePerAddr: 1e6, PerUser: EvictOldest})
	require.NoError(t, err)
	conn := &testConn{}
	req := Request{User: "u", Addr: netip.MustParseAddr("192.0.2.1")}
	first, err := m.Admit(req)
	require.NoError(t, err)
	defer first.Release()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		tk, _ := m.Admit(Request{User: "v", Addr: req.Addr})
		tk.Attach(conn)
		tk.Release()
	}))
}
