package signaling

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// rawClient is a client that costs this process little: a connection, and
// nothing in it.
func (s *server) rawClient(user string) net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "ws://"))
	require.NoError(s.t, err)
	fmt.Fprintf(conn, "GET /?user=%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user)
	r := bufio.NewReaderSize(conn, 512)
	for {
		line, err := r.ReadString('\n')
		require.NoError(s.t, err)
		if line == "\r\n" {
			break
		}
	}
	_, err = rawFrame(r) // hello
	require.NoError(s.t, err)
	return conn
}

// rawFrame reads one unmasked frame's payload.
func rawFrame(r io.Reader) ([]byte, error) {
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := int(h[1])
	if n == 126 {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, err
		}
		n = int(h[0])<<8 | int(h[1])
	} else if n == 127 {
		var l [8]byte
		if _, err := io.ReadFull(r, l[:]); err != nil {
			return nil, err
		}
		n = int(l[4])<<24 | int(l[5])<<16 | int(l[6])<<8 | int(l[7])
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// inUse is what the Go runtime holds for live objects and stacks.
func inUse() (heap, stack uint64) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

// TestIdleMemory holds a session's idle cost to its budget. The client ends of
// the connections are in this process too; what they cost is measured with a
// server that does nothing and taken off.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory is not the program's")
	}
	const n = 2000
	cost := func(connect func(i int)) float64 {
		for i := range 50 { // pools, stacks, maps
			connect(i)
		}
		time.Sleep(50 * time.Millisecond)
		h0, s0 := inUse()
		for i := range n {
			connect(50 + i)
		}
		time.Sleep(50 * time.Millisecond)
		h1, s1 := inUse()
		return (float64(h1) - float64(h0) + float64(s1) - float64(s0)) / n
	}
	// Two plain connections: the client's end and, for the comparison, the
	// server's, which belongs to the budget.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var keep []net.Conn
	pair := cost(func(int) {
		a, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		b, err := l.Accept()
		require.NoError(t, err)
		keep = append(keep, a, b)
	})
	for _, c := range keep {
		c.Close()
	}
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable; o.MaxPeers = 3 * n; o.OnOpen = nil })
		conns := make([]net.Conn, 0, n)
		bytes := cost(func(i int) { conns = append(conns, s.rawClient(fmt.Sprint("user", i))) }) - pair/2
		limit := 1536.0
		if portable || runtime.GOOS != "linux" {
			limit = 4608
		}
		t.Logf("idle socket: %.0f B of heap and stack, limit %.0f", bytes, limit)
		require.LessOrEqual(t, bytes, limit)
		if path := os.Getenv("PLIMSOLL_HEAP"); path != "" {
			writeHeap(t, path)
		}
		for _, c := range conns {
			c.Close()
		}
	})
}

func writeHeap(t *testing.T, path string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, pprof.Lookup("heap").WriteTo(f, 0))
}

// TestSizesBudget keeps the two structs of a session in the size class that they fit
// into exactly; one field more would cost each of them 32 bytes.
func TestSizesBudget(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		require.LessOrEqual(t, unsafe.Sizeof(Peer{}), uintptr(256))
		require.LessOrEqual(t, unsafe.Sizeof(socket{}), uintptr(256))
	}
}
