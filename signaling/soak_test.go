//go:build unix

package signaling

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSoak holds many sockets open for a while, of which some leave and are
// replaced all the time, and looks whether memory stays flat meanwhile and is
// given back when all have left. The clients are a process of their own, since
// it is the limit of open files that decides how many fit into one.
//
// SIGNALING_SOAK=5m makes it last that long, with 19,000 sockets or as many as
// the limit allows. The base is what the process holds after as many sockets
// have come and gone once: maps and tables stay as large as they were.
func TestSoak(t *testing.T) {
	long, _ := time.ParseDuration(os.Getenv("SIGNALING_SOAK"))
	if raceEnabled && long == 0 {
		t.Skip("the race detector's memory is not the program's")
	}
	if long > 0 {
		n := 19_000
		var limit syscall.Rlimit
		require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
		if room := int(limit.Cur) - 500; room < n {
			n = room
		}
		t.Run("parked", func(t *testing.T) { soak(t, false, n, long, 5*time.Second, 0.05) })
		return
	}
	both(t, func(t *testing.T, portable bool) { soak(t, portable, 400, time.Second, 200*time.Millisecond, 0.25) })
}

func soak(t *testing.T, portable bool, n int, long, every time.Duration, tolerance float64) {
	s := serve(t, func(o *Options) {
		o.Portable, o.MaxPeers, o.ResumeFor = portable, n+n/4+100, time.Second
		o.TotalQueueBytes = 64 << 20
		o.OnOpen, o.OnAway, o.OnBack, o.OnClose = nil, nil, nil, nil
		o.OnMessage = func(p *Peer, m Message) { p.Reply(m.ID, m.Data) }
	})
	cmd := exec.Command(os.Args[0], "-test.run=^TestSoakClient$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "SOAK_URL="+strings.TrimPrefix(s.url, "ws://"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		in.Close()
		cmd.Wait()
	}()
	answers := bufio.NewScanner(out)
	tell := func(command string, args ...any) {
		t.Helper()
		fmt.Fprintf(in, command+"\n", args...)
		require.True(t, answers.Scan(), "the client is gone")
		require.Equal(t, "ok", answers.Text())
	}
	settle := func(peers int) {
		t.Helper()
		require.Eventually(t, func() bool { st := s.hub.Stats(); return st.Peers == peers && st.Sockets == peers },
			30*time.Second, 10*time.Millisecond, "%+v", s.hub.Stats())
	}
	type sample struct{ heap, stack, rss float64 }
	look := func() sample {
		for range 3 {
			debug.FreeOSMemory()
			time.Sleep(10 * time.Millisecond)
		}
		heap, stack := inUse()
		return sample{float64(heap), float64(stack), residentBytes()}
	}

	// The runtime keeps the descriptor of every goroutine, 440 bytes, for the next.
	// How many there are at once, of net/http above all, is chance: here are
	// enough beforehand.
	var at sync.WaitGroup
	gate := make(chan struct{})
	for range 2000 {
		at.Go(func() { <-gate })
	}
	close(gate)
	at.Wait()

	tell("fill %d", n)
	settle(n)
	tell("leave")
	settle(0)
	base, goroutines := look(), runtime.NumGoroutine()

	tell("fill %d", n)
	settle(n)
	tell("churn")
	var samples []sample
	f, err := NewFrame(Data, "b", strings.Repeat("x", 200))
	require.NoError(t, err)
	for end := time.Now().Add(long); time.Now().Before(end); {
		s.hub.Broadcast(f)
		time.Sleep(every)
		samples = append(samples, look())
	}
	tell("still")
	settle(n)
	opened := s.hub.Stats().Opened
	tell("leave")
	settle(0)
	after := look()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // not in require.Eventually, which adds one
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)

	third := len(samples) / 3
	mean := func(part []sample) (m sample) {
		for _, x := range part {
			m.heap += x.heap / float64(len(part))
			m.stack += x.stack / float64(len(part))
			m.rss += x.rss / float64(len(part))
		}
		return m
	}
	first, last := mean(samples[:max(third, 1)]), mean(samples[len(samples)-max(third, 1):])
	t.Logf("%d sockets for %v, %d opened in all: heap and stack %.1f MiB in the first third, %.1f in the last (%+.1f %%), RSS %.1f and %.1f (%+.1f %%)",
		n, long, opened, (first.heap+first.stack)/(1<<20), (last.heap+last.stack)/(1<<20),
		100*((last.heap+last.stack)/(first.heap+first.stack)-1), first.rss/(1<<20), last.rss/(1<<20), 100*(last.rss/first.rss-1))
	t.Logf("all gone: heap %.0f KiB before, %.0f after (%+.1f %%), stacks %.0f and %.0f (in spans of 32), RSS %.1f MiB and %.1f (%+.1f %%); %d goroutines before, %d after",
		base.heap/(1<<10), after.heap/(1<<10), 100*(after.heap/base.heap-1), base.stack/(1<<10), after.stack/(1<<10),
		base.rss/(1<<20), after.rss/(1<<20), 100*(after.rss/base.rss-1), goroutines, runtime.NumGoroutine())
	require.LessOrEqual(t, last.heap+last.stack, (first.heap+first.stack)*(1+tolerance), "memory grows while sockets come and go")
	require.LessOrEqual(t, after.heap, base.heap*(1+tolerance), "memory stays when all have left")
	// Stacks belong to goroutines, which were counted; one of 2 KiB that stays
	// keeps a span of 32, and which ones share a span is chance.
	if long >= time.Minute {
		require.LessOrEqual(t, last.rss, first.rss*(1+tolerance))
		require.LessOrEqual(t, after.rss, base.rss*(1+tolerance))
	}
}

// residentBytes is what the system holds for this process, 0 if it does not
// say.
func residentBytes() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kib float64
	fmt.Sscan(rest, &kib)
	return kib * 1024
}

// TestSoakClient is the other process of TestSoak.
func TestSoakClient(t *testing.T) {
	addr := os.Getenv("SOAK_URL")
	if addr == "" {
		t.Skip("TestSoak runs it")
	}
	var mu sync.Mutex // guards all
	var all []net.Conn
	var serial int
	open := func() {
		mu.Lock()
		serial++
		user := serial
		mu.Unlock()
		c, err := soakDial(addr, user)
		if err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
			os.Exit(1)
		}
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
	}
	// part takes a random socket out and ends it in one of three ways.
	part := func() {
		mu.Lock()
		i := rand.IntN(len(all))
		c := all[i]
		all[i] = all[len(all)-1]
		all = all[:len(all)-1]
		mu.Unlock()
		switch rand.IntN(3) {
		case 0:
			c.Write([]byte{finBit | opClose, maskBit | 2, 0, 0, 0, 0, 3, 232})
		case 1:
			c.Write(soakEcho[:10]) // half a message
		}
		c.Close()
	}
	var churning context.CancelFunc
	var still sync.WaitGroup
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var n int
		switch fmt.Sscanf(commands.Text(), "fill %d", &n); {
		case n > 0:
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range n / 16 {
						open()
					}
				})
			}
			for range n % 16 {
				open()
			}
			wg.Wait()
		case commands.Text() == "churn":
			var ctx context.Context
			ctx, churning = context.WithCancel(context.Background())
			still.Go(func() {
				for ctx.Err() == nil {
					for range max(len(all)/1000, 1) {
						part()
						open()
						mu.Lock()
						c := all[rand.IntN(len(all))]
						mu.Unlock()
						c.Write(soakEcho)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		case commands.Text() == "still":
			churning()
			still.Wait()
		case commands.Text() == "leave":
			for len(all) > 0 {
				part()
			}
		}
		fmt.Println("ok")
	}
	os.Exit(0) // without the test's own words on standard output
}

var soakEcho = slices.Concat([]byte{finBit | opText, maskBit | 48, 0, 0, 0, 0}, []byte(`{"type":"echo","id":1,"data":"0123456789012345"}`))

// soakDial opens a socket whose pings are answered.
func soakDial(addr string, user int) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c, "GET /?user=u%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user)
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" {
			break
		}
	}
	go func() {
		var head [4]byte
		for {
			if _, err := io.ReadFull(r, head[:2]); err != nil {
				return
			}
			n := int(head[1])
			if n == 126 {
				if _, err := io.ReadFull(r, head[2:]); err != nil {
					return
				}
				n = int(head[2])<<8 | int(head[3])
			}
			if head[0] != finBit|opPing {
				r.Discard(n)
				continue
			}
			pong := make([]byte, 6+n)
			pong[0], pong[1] = finBit|opPong, maskBit|byte(n)
			if _, err := io.ReadFull(r, pong[6:]); err != nil {
				return
			}
			c.Write(pong)
		}
	}()
	return c, nil
}
