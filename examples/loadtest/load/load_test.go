package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// TestHistogram compares quantiles with those of the sorted values: at most a
// bucket, 1/32, too high.
func TestHistogram(t *testing.T) {
	for i := range 36*sub - 1 {
		require.Equal(t, i, bucketOf(top(i)-time.Microsecond), "the last of bucket %d", i)
		require.Equal(t, i+1, bucketOf(top(i)), "the first of bucket %d", i+1)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	var h histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rnd.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	got := h.summary()
	require.EqualValues(t, len(all), got.Count)
	require.Equal(t, all[len(all)-1], got.Max)
	for _, q := range []struct {
		share float64
		got   time.Duration
	}{{0.50, got.P50}, {0.95, got.P95}, {0.99, got.P99}} {
		want := all[int(q.share*float64(len(all)))-1]
		require.GreaterOrEqual(t, q.got, want)
		require.LessOrEqual(t, q.got, want+want/sub+time.Microsecond)
	}
	require.Equal(t, Latency{}, new(histogram).summary())
	h.add(-time.Second) // a clock that was set back
	h.add(1 << 62)
}

func TestDescription(t *testing.T) {
	for n := range int64(100) {
		sdp := description(n, "actpass")
		require.Equal(t, n, sessionID(sdp))
		require.InDelta(t, sdpBytes, len(sdp), 300)
		require.True(t, strings.HasPrefix(sdp, "v=0\r\n"))
		require.True(t, strings.HasSuffix(sdp, "\r\n"))
	}
	for i := range 60 {
		got, n := candidateNumber(iceCandidate(7, i)["candidate"].(string))
		require.Equal(t, i, got)
		require.EqualValues(t, 7, n)
	}
	require.EqualValues(t, -1, sessionID("v=0"))
	for _, s := range []string{"", "candidate:1 1 udp 1 192.0.2.1 x typ host", "a b c d e 1"} {
		got, _ := candidateNumber(s)
		require.Equal(t, -1, got)
	}
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		got                      []int
		lost, doubled, reordered int64
	}{
		{[]int{0, 1, 2, 3}, 0, 0, 0},
		{nil, 4, 0, 0},
		{[]int{0, 1, newSession, 2, 3}, 0, 0, 0},
		{[]int{2, 3, newSession, 0, 1}, 0, 0, 0},
		{[]int{0, 2, 3}, 1, 0, 0},
		{[]int{0, 1, 1, 2, 3, 3}, 0, 2, 0},
		{[]int{0, 2, 1, 3}, 0, 0, 1},
		{[]int{3, 3, 0}, 2, 1, 1},
		{[]int{0, 1, 2, 3, 9, -1}, 0, 0, 0},
	} {
		var f figures
		f.compare("chat", test.got, 4, func(int) bool { return true })
		require.Equal(t, []int64{test.lost, test.doubled, test.reordered},
			[]int64{f.lost.Load(), f.doubled.Load(), f.reordered.Load()}, "%v", test.got)
		require.Equal(t, test.lost+test.doubled+test.reordered > 0 || slices.Max(append(test.got, 0)) > 3, len(f.errors) > 0, "%v", test.got)
	}
}

func TestReasons(t *testing.T) {
	var f figures
	f.fail("call", fmt.Errorf("call:invite: %w", &sigclient.Error{Code: "busy", Message: "for 17 s"}))
	f.fail("call", fmt.Errorf("call:accept: %w", context.DeadlineExceeded))
	f.fail("connect", fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused"), Addr: &net.TCPAddr{Port: 1}}))
	f.fail("sign-up", statusError(503))
	require.Equal(t, map[string]int64{
		"call call:invite: busy": 1, "call call:accept: timeout": 1, "connect: dial: connection refused": 1, "sign-up: status 503": 1,
	}, f.errors)
	for i := range 1000 {
		f.count(fmt.Sprint(i))
	}
	require.Len(t, f.errors, maxErrors+1)
}

func TestOptions(t *testing.T) {
	_, err := Run(t.Context(), Options{URL: "localhost:8080", Users: -1, SourceAddresses: 1000, Cuts: -1, ChatLines: 1000, Duration: -1})
	for _, want := range []string{"Options.URL", "Options.Users", "Options.SourceAddresses", "Options.Cuts", "Options.ChatLines", "Options.Duration"} {
		require.ErrorContains(t, err, want)
	}
}

func TestNoServer(t *testing.T) {
	r, err := Run(t.Context(), Options{URL: "http://127.0.0.1:1", Users: 3, Ramp: time.Millisecond, Duration: 10 * time.Millisecond})
	require.NoError(t, err)
	require.False(t, r.OK())
	require.EqualValues(t, 0, r.Connected)
	require.EqualValues(t, 3, r.Errors["sign-up: dial: connect: connection refused"], "%v", r.Errors)
	var text bytes.Buffer
	require.NoError(t, r.WriteText(&text))
	require.Contains(t, text.String(), "3, connected at the end 0")
}

// startPlatform builds the platform and runs it in a process of its own.
func startPlatform(t *testing.T, args ...string) (url string, pid int) {
	exe := filepath.Join(t.TempDir(), "speeddating")
	out, err := exec.Command("go", "build", "-o", exe, "../../speeddating").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(exe, append([]string{"-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "load.db"), "-log-level", "warn", "-drain", "100ms"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return url, cmd.Process.Pid
}

// TestPlatform is a short load on the real platform, with sockets that are cut
// all the time: everybody has calls, and nothing is lost.
func TestPlatform(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the platform")
	}
	url, pid := startPlatform(t)
	r, err := Run(t.Context(), Options{
		URL: url, PID: pid, Users: 30, Ramp: time.Second, Duration: 8 * time.Second, Pace: 3 * time.Second, Call: time.Second,
		QueueEvery: time.Second, Cuts: 200, OwnHTTP: true, SourceAddresses: 3, Patience: 60 * time.Second,
		Progress: func(line string) { t.Log(line) },
	})
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, r.WriteText(&text))
	t.Logf("\n%s", text.String())
	require.True(t, r.OK(), "%v", r.Errors)
	require.Greater(t, r.CallsCompleted, int64(5))
	require.Greater(t, r.Checked, int64(100))
	require.Positive(t, r.Resumed)
	require.Positive(t, r.QueueRead.Count)
	require.Positive(t, r.Server.RSSPeak)
	require.Positive(t, r.Health.StatementsPerMinute)
	require.Positive(t, r.Health.SessionsHitRate)
	require.Positive(t, r.Kinds["room:chat"].Bytes)
	require.GreaterOrEqual(t, len(r.Steps), 8)
	last := r.Steps[len(r.Steps)-1]
	require.Positive(t, last.RSS)
	require.EqualValues(t, 30, slices.MaxFunc(r.Steps, func(a, b Step) int { return int(a.Connected - b.Connected) }).Connected)
	require.True(t, slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Notify.Count > 0 && s.Notify.P50 > 0 }))

	address, err := neturl.Parse(url)
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	require.Equal(t, pid, FindServer(port))
	require.Zero(t, FindServer(1))
}

// TestSearch looks for the bound of a server that has one.
func TestSearch(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the platform")
	}
	url, _ := startPlatform(t, "-max-connections", "21")
	opt := Options{URL: url, Users: 5, Ramp: 100 * time.Millisecond, Duration: 200 * time.Millisecond, Patience: time.Second}
	var tried []int
	best, err := Search(t.Context(), opt, time.Minute, 100, func(trial Trial) {
		tried = append(tried, trial.Users)
		require.Equal(t, trial.Users <= 21, trial.OK, "%d: %s", trial.Users, trial.Why)
	})
	require.NoError(t, err)
	require.Equal(t, []int{5, 10, 20, 40, 30, 25, 22}, tried)
	require.Equal(t, 20, best.Users)

	best, err = Search(t.Context(), opt, time.Nanosecond, 8, func(Trial) {})
	require.NoError(t, err, "nobody was invited, so nobody waited")
	require.Equal(t, 8, best.Users)
}

// TestPage holds that the page stands alone and that what it shows cannot
// break it.
func TestPage(t *testing.T) {
	r := &Report{Users: 2, Connected: 1, Window: time.Minute, Errors: map[string]int64{"<script>": 3},
		Kinds: map[string]Kind{"room:chat": {Messages: 60, Bytes: 6e6}}, Health: &ServerHealth{Layers: map[string]Layer{"queue": {100, 2}}}}
	for i := range 20 {
		s := Step{At: float64(i), Window: i > 5, Connected: int64(i), RSS: 1 << 20}
		if i%3 > 0 {
			s.Notify = Latency{Count: 1, P50: time.Millisecond, P95: time.Millisecond, P99: 2 * time.Millisecond}
		}
		r.Steps = append(r.Steps, s)
	}
	var b bytes.Buffer
	require.NoError(t, r.WriteHTML(&b, time.Unix(0, 0)))
	page := b.String()
	for _, want := range []string{"1 of 2 were connected", "3 things went wrong", "Invite → notify", "<path d=\"M", "98.0 % less", "&lt;script&gt;"} {
		require.Contains(t, page, want)
	}
	for _, banned := range []string{"<script", "http://", "https://", "NaN", "src="} {
		require.NotContains(t, page, banned)
	}
	b.Reset()
	require.NoError(t, new(Report).WriteHTML(&b, time.Unix(0, 0)), "nothing to show")
	require.NotContains(t, b.String(), "<svg")
}
