//go:build unix

package signaling

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const healthy = 40 // sockets beside the slow ones

// TestBesideSlowReaders compares how long a broadcast takes to forty healthy
// sockets with and without ten others that read nothing. The healthy are a
// process of their own, so that their turns are not the server's, and the
// broadcasts are paced, so that what is measured is not how many there are.
// The runs take turns, and the medians of their p99 are compared.
//
// With PLIMSOLL_LONG each run has 20,000 broadcasts, and ten slow sockets may
// move the p99 by no more than a tenth, or by what it moves between runs
// without them if that is more.
func TestBesideSlowReaders(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's time is not the program's")
	}
	messages, every, runs := 1000, time.Millisecond, 1
	long := os.Getenv("PLIMSOLL_LONG") != ""
	if long {
		messages, every, runs = 20_000, every/2, 3
	}
	both(t, func(t *testing.T, portable bool) {
		var without, with []time.Duration
		for range runs {
			without = append(without, besideSlow(t, portable, 0, messages, every))
			with = append(with, besideSlow(t, portable, 10, messages, every))
		}
		slices.Sort(without)
		slices.Sort(with)
		a, b := without[runs/2], with[runs/2]
		noise := float64(without[runs-1])/float64(a) - 1
		t.Logf("p99 of the healthy: %v, with 10 slow ones %v (%+.1f %%); runs without %v, with %v",
			a, b, 100*(float64(b)/float64(a)-1), without, with)
		if long {
			require.LessOrEqual(t, float64(b), float64(a)*(1+max(0.10, noise)))
		}
	})
}

// besideSlow broadcasts and returns the p99 of the healthy.
func besideSlow(t *testing.T, portable bool, slow, messages int, every time.Duration) (p99 time.Duration) {
	s := serve(t, func(o *Options) {
		o.Portable, o.SendBuffer, o.ReceiveBuffer = portable, 16<<10, 16<<10
		o.TotalQueueBytes, o.QueueMessages, o.WriteTimeout = 8<<20, 1000, time.Minute
	})
	for i := range slow {
		c := s.rawClient(fmt.Sprint("slow", i))
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		defer c.Close()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHealthyClients$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "HEALTHY_URL="+strings.TrimPrefix(s.url, "ws://"), fmt.Sprint("HEALTHY_MESSAGES=", messages))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	said := bufio.NewScanner(out)
	require.True(t, said.Scan(), "the client is gone")
	require.Equal(t, "ready", said.Text())

	pad := strings.Repeat("x", 200)
	most := int64(0)
	for n := range messages {
		time.Sleep(every) // and not until a given time: what is late must not come at once
		f, err := NewFrame(Data, "b", fmt.Sprintf("#%d %d %s", n, time.Now().UnixNano(), pad))
		require.NoError(t, err)
		require.NotZero(t, s.hub.Broadcast(f))
		most = max(most, s.hub.Stats().QueueBytes)
	}
	require.True(t, said.Scan(), "the client is gone")
	ns, err := strconv.ParseInt(said.Text(), 10, 64)
	require.NoError(t, err, "the healthy: %s", said.Text())
	require.EqualValues(t, slow, s.hub.Stats().Closed[4008], "dropped as too slow")
	if slow > 0 {
		require.LessOrEqual(t, most, int64(slow)*(64<<10)*11/10, "64 KiB and a tenth for each that is slow")
	}
	return time.Duration(ns)
}

// TestHealthyClients is the other process of TestBesideSlowReaders. It prints
// the p99 in nanoseconds, or what a socket lost.
func TestHealthyClients(t *testing.T) {
	addr := os.Getenv("HEALTHY_URL")
	if addr == "" {
		t.Skip("TestBesideSlowReaders runs it")
	}
	messages, _ := strconv.Atoi(os.Getenv("HEALTHY_MESSAGES"))
	var took [healthy][]time.Duration
	var fault [healthy]error
	var readers sync.WaitGroup
	for i := range healthy {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		fmt.Fprintf(c, "GET /?user=fast%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", i)
		r := bufio.NewReaderSize(c, 32<<10)
		for line := ""; line != "\r\n"; {
			line, err = r.ReadString('\n')
			require.NoError(t, err)
		}
		_, err = rawFrame(r) // hello
		require.NoError(t, err)
		readers.Go(func() { took[i], fault[i] = readAll(c, r, messages) })
	}
	fmt.Println("ready")
	readers.Wait()
	var all []time.Duration
	for i := range healthy {
		if fault[i] != nil {
			fmt.Println(fault[i])
			os.Exit(1)
		}
		all = append(all, took[i]...)
	}
	slices.Sort(all)
	fmt.Println(all[len(all)*99/100].Nanoseconds())
	os.Exit(0) // without the test's own words on standard output
}

// readAll reads messages, each of which must be the next, and answers pings.
func readAll(c net.Conn, r *bufio.Reader, messages int) (took []time.Duration, err error) {
	for len(took) < messages {
		head, err := r.Peek(1)
		if err != nil {
			return nil, err
		}
		ping := head[0] == finBit|opPing
		b, err := rawFrame(r)
		if err != nil {
			return nil, err
		}
		if ping {
			c.Write(append([]byte{finBit | opPong, maskBit | byte(len(b)), 0, 0, 0, 0}, b...))
			continue
		}
		now := time.Now().UnixNano()
		for i := bytes.IndexByte(b, '#'); i >= 0; i = bytes.IndexByte(b, '#') {
			b = b[i+1:]
			number, rest, _ := bytes.Cut(b, []byte(" "))
			stamp, _, _ := bytes.Cut(rest, []byte(" "))
			if string(number) != strconv.Itoa(len(took)) {
				return nil, fmt.Errorf("message %s came in place of %d", number, len(took))
			}
			sent, err := strconv.ParseInt(string(stamp), 10, 64)
			if err != nil {
				return nil, err
			}
			took = append(took, time.Duration(now-sent))
		}
	}
	return took, nil
}
