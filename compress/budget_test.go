package compress

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slowWriter is a client that does not read: Write blocks until it is let go.
type slowWriter struct {
	h      http.Header
	enter  chan struct{}
	leave  chan struct{}
	limit  int // writes that go through first
	writes int
}

func (w *slowWriter) Header() http.Header { return w.h }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Flush()              {}
func (w *slowWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes > w.limit {
		w.enter <- struct{}{}
		<-w.leave
	}
	return len(p), nil
}

func liveHeap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// perAnswer measures the live heap of one of n answers that wait for their
// clients, request and header included, as the peers were measured. Stacks,
// which the runtime shrinks by and by, are not in it. It is the least of
// three, because other tests leave things behind.
func perAnswer(n int, h http.Handler, coding string, writes int) int64 {
	return min(measureAnswer(n, h, coding, writes), measureAnswer(n, h, coding, writes), measureAnswer(n, h, coding, writes))
}

func measureAnswer(n int, h http.Handler, coding string, writes int) int64 {
	one := func(w *slowWriter) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", coding)
		return r
	}
	warm := &slowWriter{h: http.Header{}, limit: 1 << 30}
	h.ServeHTTP(warm, one(warm))
	enter, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	before := liveHeap()
	for range n {
		wg.Go(func() {
			w := &slowWriter{h: http.Header{}, enter: enter, leave: leave, limit: writes}
			h.ServeHTTP(w, one(w))
		})
	}
	for range n {
		<-enter
	}
	held := liveHeap() - before
	close(leave)
	go func() {
		for range enter { // streams write more than once
		}
	}()
	wg.Wait()
	close(enter)
	return held / int64(n)
}

func TestMemoryInFlight(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector's own memory is not what is measured")
	}
	body := cards(120, 1)
	for _, coding := range []string{"identity", "gzip", "br", "zstd"} {
		c := newTest(t, func(o *Options) { o.MaxBufferedBytes, o.MaxEncoders, o.MaxWaiting = 64<<20, 1, 1000 })
		got := perAnswer(64, c.Handler(sends(body)), coding, 0)
		t.Logf("%-8s answer of %d bytes to a slow client: %d bytes live (limit 16384)", coding, len(body), got)
		require.LessOrEqual(t, got, int64(16<<10))
		require.Zero(t, c.Stats().BufferedBytes)
	}
	for _, coding := range []string{"gzip", "br", "zstd"} {
		c := newTest(t, func(o *Options) { o.MaxBufferedBytes, o.MaxEncoders, o.MaxWaiting = 64<<20, 1, 1000 })
		got := perAnswer(64, c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 60 {
				io.WriteString(w, "data: "+string(body[i*500:i*500+500])+"\n\n")
				w.(http.Flusher).Flush()
			}
		})), coding, 58)
		t.Logf("%-8s event stream after 59 events: %d bytes live (limit 40960)", coding, got)
		require.LessOrEqual(t, got, int64(40<<10))
	}
}

// TestEngineBytes holds the constants for the parts of an engine to what
// they take.
func TestEngineBytes(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector's own memory is not what is measured")
	}
	body := append(cards(600, 1), prose(70<<10)...)
	words() // of which there is one for all
	for cd, limit := range map[coding]int64{gzipCoding: blockEngineBytes, brCoding: blockEngineBytes, zstdCoding: zstdEngineBytes, dczCoding: zstdDictEngineBytes, dcbCoding: blockEngineBytes + joinEngineBytes} {
		before := liveHeap()
		p := newEnginePool(1, 1, nil)
		e := p.acquire(cd)
		s := stream{coding: cd}
		if cd == dczCoding || cd == dcbCoding {
			e.out = e.withDictionary(e.out[:0], &s, body, body, [32]byte{})
		} else {
			e.out = e.whole(e.out[:0], &s, body)
			e.out = e.block(e.out[:0], &s, body, 8<<10)
		}
		got := liveHeap() - before
		t.Logf("%s: %d bytes (limit %d)", cd, got, limit)
		require.LessOrEqual(t, got, limit+limit/10)
		e.release()
		runtime.KeepAlive(p)
	}
}

// TestBounds drives more answers than there is room for, in every way at
// once: all arrive whole, no bound is passed, and everything is given back.
func TestBounds(t *testing.T) {
	a := &testAccount{limit: 5 << 20}
	c, err := New(Options{MaxEncoders: 1, MaxWaiting: 1, MaxBufferedBytes: 200 << 10, BlockBytes: 32 << 10, DictionaryBytes: 100 << 10, Account: a})
	require.NoError(t, err)
	large, small := cards(400, 1), cards(30, 2)
	srv := httptest.NewServer(c.Dictionary("/*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/large":
			w.Write(large)
		case "/flush":
			for b := large; len(b) > 0; b = b[min(len(b), 7000):] {
				w.Write(b[:min(len(b), 7000)])
				w.(http.Flusher).Flush()
			}
		default:
			w.Write(small)
		}
	})))
	defer srv.Close()
	srv.Client().Transport.(*http.Transport).DisableCompression = true
	var wg sync.WaitGroup
	for g := range 24 {
		wg.Go(func() {
			for i := range 12 {
				path := []string{"/large", "/flush", "/small"}[(g+i)%3]
				r, _ := http.NewRequest("GET", srv.URL+path, nil)
				r.Header.Set("Accept-Encoding", []string{"gzip", "br", "zstd"}[(g+i/3)%3])
				resp, err := srv.Client().Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := large
				if path == "/small" {
					want = small
				}
				if err != nil || !bytes.Equal(want, decode(t, resp.Header.Get("Content-Encoding"), raw)) {
					t.Error(path, resp.Header, err)
				}
			}
		})
	}
	wg.Wait()
	s := c.Stats()
	t.Logf("busy %d, memory %d, passed %v, peak of the account %d", s.RefusedBusy, s.RefusedMemory, s.Passed, a.peak.Load())
	require.Positive(t, s.RefusedBusy+s.RefusedMemory)
	require.Zero(t, s.BufferedBytes)
	require.LessOrEqual(t, s.DictionaryBytes, int64(100<<10))
	require.Equal(t, a.used.Load(), s.EncoderBytes+s.DictionaryBytes)
	require.Equal(t, a.used.Load(), c.Trim(1))
	require.Zero(t, a.used.Load())
	c.Close()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/small", nil)
	r.Header.Set("Accept-Encoding", "br")
	srv.Config.Handler.ServeHTTP(w, r)
	require.Equal(t, small, w.Body.Bytes(), "closed: plain")
	require.Zero(t, a.used.Load())
}

// TestNoMemory answers with nothing to answer with.
func TestNoMemory(t *testing.T) {
	for _, limit := range []int64{1, 2048, 3000, 6000, 20000, 40000} {
		c, err := New(Options{MaxEncoders: 1, MaxBufferedBytes: limit, BlockBytes: 8 << 10})
		require.NoError(t, err)
		for _, coding := range []string{"gzip", "br", "zstd"} {
			for _, flush := range []int{0, 1, 7, 100} {
				body := append(cards(60, 3), noise(9000)...)
				w := httptest.NewRecorder()
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Accept-Encoding", coding)
				c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					for i, b := 0, body; len(b) > 0; i++ {
						n := min(len(b), 1500)
						w.Write(b[:n])
						b = b[n:]
						if flush > 0 && i%flush == 0 {
							w.(http.Flusher).Flush()
						}
					}
				})).ServeHTTP(w, r)
				require.True(t, bytes.Equal(body, decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes())), "%d %s %d", limit, coding, flush)
				require.Zero(t, c.Stats().BufferedBytes)
			}
		}
	}
}

func TestRequestDecoders(t *testing.T) {
	s := &site{T: t, coding: "zstd", opts: func(o *Options) { o.MaxDecoders = 1 }}
	enter, leave := make(chan bool), make(chan bool)
	s.startRequests(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		enter <- true
		<-leave
	})
	done := make(chan answer)
	go func() { done <- s.send("POST", s.encode(jsonBody), "Content-Encoding: zstd") }()
	<-enter
	a := s.send("POST", s.encode(jsonBody), "Content-Encoding: zstd")
	require.Equal(t, 503, a.StatusCode)
	require.Equal(t, "1", a.Header.Get("Retry-After"))
	leave <- true
	require.Equal(t, 200, (<-done).StatusCode)
	require.Equal(t, uint64(1), s.c.Stats().RequestsRefused[503])
	// A window that the stream only claims to need is not granted beyond the budget.
	s.c.opts.MaxDecoders = 64
	c := newTest(t, func(o *Options) { o.MaxBufferedBytes = 1 << 20 })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/", bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x68, 1, 0, 0}))
	r.Header.Set("Content-Encoding", "zstd")
	c.Requests(http.NotFoundHandler()).ServeHTTP(w, r)
	require.Equal(t, 503, w.Code)
	require.Zero(t, c.Stats().BufferedBytes)
}

func TestHostileAcceptEncoding(t *testing.T) {
	line := []string{string(bytes.Repeat([]byte("gzip;q=0.1,"), 6000))}
	best := time.Hour
	for range 200 {
		start := time.Now()
		parseAccept(line)
		best = min(best, time.Since(start))
	}
	t.Logf("Accept-Encoding of %d bytes: %v (limit 50 µs)", len(line[0]), best)
	require.Less(t, best, 50*time.Microsecond)
}

func TestOptions(t *testing.T) {
	_, err := New(Options{BlockBytes: 1, MinBytes: -1, Padding: 5000, Codings: []string{"deflate"}, MaxRequestBytes: -1, DictionaryBytes: -1})
	for _, field := range []string{"MaxEncoders", "MaxBufferedBytes", "BlockBytes", "MinBytes", "Padding", "Codings", "MaxRequestBytes", "DictionaryBytes"} {
		require.ErrorContains(t, err, "Options."+field)
	}
}

func TestBufferClasses(t *testing.T) {
	last, size := 0, 0
	for n := 1; n <= 2<<20; n += 1 + n/100 {
		i, got := class(n)
		require.GreaterOrEqual(t, got, n)
		require.LessOrEqual(t, got, max(512, n+n/4+1), strconv.Itoa(n))
		require.GreaterOrEqual(t, i, last)
		require.Less(t, i, 52)
		j, same := class(got)
		require.Equal(t, [2]int{i, got}, [2]int{j, same})
		require.True(t, i != last || got == size || size == 0)
		last, size = i, got
	}
}
