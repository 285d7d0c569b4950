package compress

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func newTest(t testing.TB, change ...func(*Options)) *Compressor {
	o := Options{MaxEncoders: 2, MaxBufferedBytes: 16 << 20}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestHandlerCodings(t *testing.T) {
	for _, size := range []int{1, 3, 20, 1200} {
		body := cards(size, 5)
		for _, coding := range []string{"gzip", "br", "zstd", ""} {
			for _, piece := range []int{len(body), 3000} {
				for _, pad := range []int{0, 300} {
					c := newTest(t, func(o *Options) { o.Padding = pad })
					h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Type", "application/json")
						for b := body; len(b) > 0; b = b[min(piece, len(b)):] {
							w.Write(b[:min(piece, len(b))])
						}
					}))
					r := httptest.NewRequest("GET", "/", nil)
					r.Header.Set("Accept-Encoding", coding)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					got := w.Result().Header
					require.Equal(t, body, decode(t, got.Get("Content-Encoding"), w.Body.Bytes()))
					if len(body) > 1000 {
						require.Equal(t, coding, got.Get("Content-Encoding"))
					}
					require.Equal(t, "Accept-Encoding", got.Get("Vary"))
					require.Zero(t, c.Stats().BufferedBytes)
				}
			}
		}
	}
}
