package compress

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// sink is a ResponseWriter that only counts.
type sink struct {
	h http.Header
	n int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// fixed serves body without an allocation of its own.
func fixed(contentType string, body []byte) http.HandlerFunc {
	types := []string{contentType}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = types
		w.Write(body)
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector allocates")
	}
	for _, c := range []struct {
		contentType, coding string
		limit               float64
	}{
		{"application/json", "gzip", 1}, {"application/json", "br", 1}, {"application/json", "zstd", 1},
		{"image/jpeg", "br", 0}, {"application/json", "", 0},
	} {
		h := newTest(t).Handler(fixed(c.contentType, cards(50, 1)))
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", c.coding)
		w := &sink{h: http.Header{}}
		got := testing.AllocsPerRun(200, func() {
			clear(w.h)
			h.ServeHTTP(w, r)
		})
		t.Logf("%s as %q: %.0f allocations a response (limit %.0f)", c.contentType, c.coding, got, c.limit)
		require.LessOrEqual(t, got, c.limit)
	}
}

func BenchmarkHandler(b *testing.B) {
	for _, size := range []int{3, 50, 120} {
		for _, coding := range []string{"gzip", "br", "zstd"} {
			body := cards(size, 1)
			b.Run(fmt.Sprintf("%s/%dB", coding, len(body)), func(b *testing.B) {
				h, w := newTest(b).Handler(fixed("application/json", body)), &sink{h: http.Header{}}
				r, _ := http.NewRequest("GET", "/", nil)
				r.Header.Set("Accept-Encoding", coding)
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					clear(w.h)
					w.n = 0
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.n), "out-bytes")
			})
		}
	}
	b.Run("passing/jpeg", func(b *testing.B) {
		h, w := newTest(b).Handler(fixed("image/jpeg", noise(40000))), &sink{h: http.Header{}}
		r, _ := http.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
		b.ReportAllocs()
		for b.Loop() {
			clear(w.h)
			h.ServeHTTP(w, r)
		}
	})
}

func BenchmarkDelta(b *testing.B) {
	for _, n := range []int{20, 120} {
		b.Run(fmt.Sprintf("Update/%drows", n), func(b *testing.B) {
			rows := make([]card, n)
			for i := range rows {
				rows[i] = card{UserID: fmt.Sprintf("7f3c1a22-9b1e-4c55-a0d4-2e6b8f90%04d", i), Name: "Ana", Gender: "female", SelfieURL: "https://media.example.com/selfies/0123456789abcdef.webp", LastActiveAt: "2026-11-23T04:01:02.000Z"}
			}
			d, _ := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20, Fields: []string{"name", "gender", "selfieUrl", "introducedBy", "lastActiveAt", "online"}})
			d.Update(rows, n)
			b.ReportAllocs()
			size, i := 0, 0
			for b.Loop() {
				i++
				rows[i%n].Online = !rows[i%n].Online
				a, z := i%n, i*7%n
				rows[a], rows[z] = rows[z], rows[a]
				frame, _ := d.Update(rows, n)
				size = len(frame)
			}
			b.ReportMetric(float64(size), "frame-bytes")
		})
	}
}
