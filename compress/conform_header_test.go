package compress

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Header fields of the handler.
var fieldsCases = []conformCase{
	{"handler's own coding", func(s *site) {
		s.start(sends(jsonBody, "Content-Encoding: deflate"))
		a := s.get()
		require.Equal(s, "deflate", a.Header.Get("Content-Encoding"))
		require.Equal(s, jsonBody, a.raw)
	}},
	{"handler's identity", func(s *site) {
		s.start(sends(jsonBody, "Content-Encoding: identity"))
		a := s.get()
		require.Equal(s, "identity", a.Header.Get("Content-Encoding"))
		require.Equal(s, jsonBody, a.raw)
	}},
	{"file server's 404", func(s *site) {
		s.start(http.FileServer(http.Dir(s.TempDir())).ServeHTTP)
		a := s.get()
		_ = a
		r, _ := http.NewRequest("GET", s.srv.URL+"/none", nil)
		r.Header.Set("Accept-Encoding", s.coding)
		resp, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.Equal(s, 404, resp.StatusCode)
		require.Equal(s, "404 page not found\n", string(b))
	}},
	{"strong ETag made distinct", func(s *site) {
		s.start(sends(jsonBody, `Etag: "v1"`))
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, `"v1-`+s.coding+`"`, a.Header.Get("Etag"))
		require.Equal(s, `"v1"`, s.get("Accept-Encoding: -").Header.Get("Etag"))
	}},
	{"weak ETag kept", func(s *site) {
		s.start(sends(jsonBody, `Etag: W/"v1"`))
		require.Equal(s, `W/"v1"`, s.get().Header.Get("Etag"))
	}},
	{"If-None-Match of the encoded form", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			w.Header().Set("Content-Type", "application/json")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(jsonBody))
		})
		tag := s.get().Header.Get("Etag")
		a := s.get("If-None-Match: \"other\", " + tag)
		require.Equal(s, 304, a.StatusCode)
		require.Equal(s, tag, a.Header.Get("Etag"))
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
		require.Equal(s, 304, s.get(`If-None-Match: "v1"`).StatusCode)
		require.Equal(s, 200, s.get(`If-None-Match: "v2-`+s.coding+`"`).StatusCode)
	}},
	{"If-Match of the encoded form", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v1"`)
			http.ServeContent(w, r, "a.json", time.Time{}, bytes.NewReader(jsonBody))
		})
		s.encoded(s.get(`If-Match: "v1-`+s.coding+`"`), jsonBody)
		require.Equal(s, 412, s.get(`If-Match: "v2-`+s.coding+`"`).StatusCode)
	}},
	{"a handler's tag may end like ours", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"v1-gzip"`)
			http.ServeContent(w, r, "a.png", time.Time{}, bytes.NewReader(jsonBody))
		})
		require.Equal(s, 304, s.get(`If-None-Match: "v1-gzip"`).StatusCode)
	}},
	{"Vary merged with the handler's", func(s *site) {
		s.start(sends(jsonBody, "Vary: Origin"))
		a := s.get()
		s.encoded(a, jsonBody)
		require.Contains(s, strings.Join(a.Header["Vary"], ", "), "Origin")
	}},
	{"no second Vary", func(s *site) {
		s.start(sends(jsonBody, "Vary: Origin, accept-encoding"))
		a := s.get()
		require.Equal(s, []string{"Origin, accept-encoding"}, a.Header["Vary"])
	}},
	{"Vary on the plain variant", declines("br;q=0")},
	{"Content-Length replaced", func(s *site) {
		s.start(sends(jsonBody, "Content-Length: "+strconv.Itoa(len(jsonBody))))
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, int64(len(a.raw)), a.ContentLength)
	}},
	{"Content-Length known", func(s *site) {
		s.start(sends(jsonBody))
		a := s.get()
		require.Equal(s, int64(len(a.raw)), a.ContentLength)
	}},
	{"more than the Content-Length", func(s *site) {
		var failed error
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "1000")
			_, failed = w.Write(jsonBody)
		})
		s.encoded(s.get(), jsonBody[:1000])
		require.ErrorIs(s, failed, http.ErrContentLength)
	}},
	{"less than the Content-Length", func(s *site) {
		s.start(sends(jsonBody, "Content-Length: "+strconv.Itoa(len(jsonBody)+1)))
		require.Error(s, s.get().err)
	}},
	{"no-transform", untouched("Cache-Control: max-age=1, no-transform")},
	{"stale digests dropped", func(s *site) {
		s.start(sends(jsonBody, "Content-Digest: sha-256=:x=:", "Repr-Digest: sha-256=:x=:", "Digest: x", "Content-Md5: x", "X-Kept: 1"))
		a := s.get()
		s.encoded(a, jsonBody)
		for _, name := range []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
			require.Empty(s, a.Header[name])
		}
		require.Equal(s, "1", a.Header.Get("X-Kept"))
	}},
	{"digests kept on the plain variant", func(s *site) {
		s.start(sends(jsonBody, "Repr-Digest: sha-256=:x=:"))
		require.NotEmpty(s, s.get("Accept-Encoding: -").Header["Repr-Digest"])
	}},
}

// What is worth it.
var worthCases = []conformCase{
	{"jpeg", untouched("Content-Type: image/jpeg")},
	{"mp4, woff2, zip, grpc, pdf", func(s *site) {
		for _, ct := range []string{"video/mp4", "font/woff2", "application/zip", "application/grpc", "application/pdf", "image/webp"} {
			require.False(s, CompressibleType(ct), ct)
		}
		untouched("Content-Type: font/woff2")(s)
	}},
	{"type parameters and case", func(s *site) {
		s.start(sends(jsonBody, "Content-Type: Text/HTML; Charset=utf-8"))
		s.encoded(s.get(), jsonBody)
	}},
	{"short bodies", func(s *site) {
		s.start(sends([]byte(`{"short":true}`)))
		a := s.get()
		s.plain(a, []byte(`{"short":true}`))
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
	}},
	{"incompressible bodies", func(s *site) {
		body := noise(20000)
		s.start(sends(body, `Etag: "v1"`))
		a := s.get()
		s.plain(a, body)
		require.Equal(s, `"v1"`, a.Header.Get("Etag"))
	}},
	{"type found from the body", func(s *site) {
		body := []byte("<!DOCTYPE html>" + strings.Repeat("<p>hello</p>", 500))
		s.start(func(w http.ResponseWriter, r *http.Request) {
			for _, b := range body {
				w.Write([]byte{b})
			}
		})
		a := s.get()
		s.encoded(a, body)
		require.Equal(s, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
	}},
	{"type found from the body: packed", func(s *site) {
		body := append([]byte("\xff\xd8\xff"), noise(3000)...)
		s.start(func(w http.ResponseWriter, r *http.Request) { w.Write(body) })
		a := s.get()
		s.plain(a, body)
		require.Equal(s, "image/jpeg", a.Header.Get("Content-Type"))
		require.Empty(s, a.Header["Vary"])
	}},
	{"no type wanted", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Write(jsonBody)
		})
		s.plain(s.get(), jsonBody)
	}},
	{"many small writes", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for _, b := range jsonBody {
				w.Write([]byte{b})
			}
		})
		s.encoded(s.get(), jsonBody)
	}},
	{"longer than a block", func(s *site) {
		body := cards(2000, 4)
		s.start(sends(body))
		s.encoded(s.get(), body)
	}},
}
