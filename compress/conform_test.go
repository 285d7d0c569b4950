package compress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// The matrix: what must hold for a middleware that encodes, over a real
// server, case by case and for each coding.

// site is a server with one handler behind the middleware.
type site struct {
	*testing.T
	coding string
	opts   func(*Options)
	outer  func(http.Handler) http.Handler // between the server and the middleware
	http2  bool
	c      *Compressor
	srv    *httptest.Server
}

func (s *site) start(h http.HandlerFunc) {
	s.c = newTest(s, func(o *Options) {
		if s.opts != nil {
			s.opts(o)
		}
	})
	var handler http.Handler = s.c.Handler(h)
	if s.outer != nil {
		handler = s.outer(handler)
	}
	s.srv = httptest.NewUnstartedServer(handler)
	s.srv.Config.ErrorLog = discardLog()
	s.srv.EnableHTTP2 = s.http2
	if s.http2 {
		s.srv.StartTLS()
	} else {
		s.srv.Start()
	}
	s.srv.Client().Transport.(*http.Transport).DisableCompression = true
	s.Cleanup(s.srv.Close)
}

type answer struct {
	*http.Response
	raw []byte
	err error // of reading the body
}

// get sends a request; fields are "Name: value" lines. Without an
// Accept-Encoding among them the case's coding is accepted; "-" is none.
func (s *site) send(method, body string, fields ...string) answer {
	r, err := http.NewRequest(method, s.srv.URL, nil)
	require.NoError(s, err)
	if body != "" {
		r, err = http.NewRequest(method, s.srv.URL, strings.NewReader(body))
		require.NoError(s, err)
	}
	r.Header.Set("Accept-Encoding", s.coding)
	first := true
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Accept-Encoding" {
			if first {
				r.Header.Del(name)
			}
			first = false
			if value == "-" {
				continue
			}
		}
		r.Header.Add(name, value)
	}
	resp, err := s.srv.Client().Do(r)
	require.NoError(s, err)
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return answer{resp, raw, err}
}

func (s *site) get(fields ...string) answer { return s.send("GET", "", fields...) }

// encoded requires an encoded answer with this body.
func (s *site) encoded(a answer, body []byte) {
	s.Helper()
	require.NoError(s, a.err)
	require.Equal(s, s.coding, a.Header.Get("Content-Encoding"))
	require.True(s, listed(strings.Join(a.Header.Values("Vary"), ","), "Accept-Encoding"), "Vary: %v", a.Header["Vary"])
	require.True(s, bytes.Equal(body, decode(s, s.coding, a.raw)), "body")
	require.Zero(s, s.c.Stats().BufferedBytes)
}

// plain requires a plain answer with this body.
func (s *site) plain(a answer, body []byte) {
	s.Helper()
	require.NoError(s, a.err)
	require.Empty(s, a.Header.Get("Content-Encoding"))
	require.True(s, bytes.Equal(body, a.raw), "body")
}

var jsonBody = cards(40, 9)

// send answers with the body and some header fields.
func sends(body []byte, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		typed := false
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
			typed = typed || name == "Content-Type"
		}
		if !typed {
			w.Header().Set("Content-Type", "application/json")
		}
		w.Write(body)
	}
}

func accepts(value ...string) func(*site) {
	return func(s *site) {
		s.start(sends(jsonBody))
		s.encoded(s.get(acceptLines(s, value)...), jsonBody)
	}
}

func declines(value ...string) func(*site) {
	return func(s *site) {
		s.start(sends(jsonBody))
		a := s.get(acceptLines(s, value)...)
		s.plain(a, jsonBody)
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
	}
}

func acceptLines(s *site, values []string) (lines []string) {
	for _, v := range values {
		lines = append(lines, "Accept-Encoding: "+strings.ReplaceAll(v, "X", s.coding))
	}
	return lines
}

// untouched is a type or state that stays plain, without Vary.
func untouched(fields ...string) func(*site) {
	return func(s *site) {
		s.start(sends(jsonBody, fields...))
		a := s.get()
		s.plain(a, jsonBody)
		require.Empty(s, a.Header["Vary"])
	}
}

var conformance = []struct {
	name string
	run  func(*site)
}{
	// Negotiation, RFC 9110, section 12.5.3.
	{"accept", accepts("X")},
	{"accept among others", accepts("compress, deflate, X")},
	{"no accept-encoding", declines("-")},
	{"empty accept-encoding", declines("")},
	{"q=0", declines("X;q=0")},
	{"q=0.000", declines("X;q=0.000")},
	{"Q=0", declines("X;Q=0")},
	{"white space around the weight", declines("X ; q=0")},
	{"white space accepted", accepts(" X ;\tq=0.5 ")},
	{"token is not a part of another", declines("notX, Xed")},
	{"coding in capitals", func(s *site) {
		s.start(sends(jsonBody))
		s.encoded(s.get("Accept-Encoding: "+strings.ToUpper(s.coding)), jsonBody)
	}},
	{"x-gzip", func(s *site) {
		s.coding = "gzip"
		s.start(sends(jsonBody))
		s.encoded(s.get("Accept-Encoding: x-gzip"), jsonBody)
	}},
	{"several lines", accepts("identity;q=0.1", "X")},
	{"star", func(s *site) {
		s.opts = func(o *Options) { o.Codings = []string{s.coding} }
		s.start(sends(jsonBody))
		s.encoded(s.get("Accept-Encoding: *"), jsonBody)
	}},
	{"star does not revive q=0", func(s *site) {
		s.opts = func(o *Options) { o.Codings = []string{s.coding} }
		s.start(sends(jsonBody))
		s.plain(s.get("Accept-Encoding: *, "+s.coding+";q=0"), jsonBody)
	}},
	{"star q=0 leaves what is named", accepts("X, *;q=0")},
	{"nothing acceptable", func(s *site) {
		s.start(sends(jsonBody))
		a := s.get("Accept-Encoding: *;q=0")
		require.Equal(s, http.StatusNotAcceptable, a.StatusCode)
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
	}},
	{"identity preferred", declines("identity, X;q=0.5")},
	{"identity refused: short bodies too", func(s *site) {
		s.start(sends([]byte(`{"a":1}`)))
		s.encoded(s.get("Accept-Encoding: identity;q=0, "+s.coding), []byte(`{"a":1}`))
	}},
	{"highest weight wins", func(s *site) {
		s.start(sends(jsonBody))
		s.encoded(s.get("Accept-Encoding: gzip;q=0.3, br;q=0.3, zstd;q=0.3, "+s.coding+";q=0.9"), jsonBody)
	}},
	{"malformed weights are passed over", declines("X;q=2, X;q=abc, X;q=0.1234, X;q=")},
	{"hostile accept-encoding", func(s *site) {
		s.start(sends(jsonBody))
		s.plain(s.get("Accept-Encoding: "+strings.Repeat("gzip;q=0.1,", 6000)), jsonBody)
	}},
	{"request header intact", func(s *site) {
		var got []string
		s.start(func(w http.ResponseWriter, r *http.Request) { got = r.Header["Accept-Encoding"] })
		s.get()
		require.Equal(s, []string{s.coding}, got)
	}},

	// Methods and statuses.
	{"HEAD", func(s *site) {
		s.start(sends(jsonBody))
		a := s.send("HEAD", "")
		require.Empty(s, a.raw)
		require.Equal(s, s.coding, a.Header.Get("Content-Encoding"))
		require.Empty(s, a.Header.Get("Content-Length"))
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
	}},
	{"HEAD with a length and no body", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "5000")
		})
		a := s.send("HEAD", "")
		require.Empty(s, a.raw)
		require.NotEqual(s, "5000", a.Header.Get("Content-Length")+a.Header.Get("Content-Encoding"))
	}},
	{"204", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(204)
		})
		a := s.get()
		require.Equal(s, 204, a.StatusCode)
		s.plain(a, nil)
	}},
	{"304", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(304)
		})
		a := s.get()
		require.Equal(s, 304, a.StatusCode)
		s.plain(a, nil)
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
	}},
	{"no bytes after 204 and 304 on the wire", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			code, _ := strconv.Atoi(r.URL.Path[1:])
			w.WriteHeader(code)
		})
		got := s.wire("GET /204 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: " + s.coding + "\r\n\r\n" +
			"GET /304 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: " + s.coding + "\r\nConnection: close\r\n\r\n")
		require.Equal(s, 2, strings.Count(got, "HTTP/1.1 "))
		require.True(s, strings.HasSuffix(got, "\r\n\r\n"))
		require.Equal(s, 2, strings.Count(got, "\r\n\r\n"))
	}},
	{"status without a body", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(200)
		})
		s.plain(s.get(), nil)
	}},
	{"nothing at all", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {})
		a := s.get()
		s.plain(a, nil)
		require.Equal(s, 200, a.StatusCode)
	}},
	{"error status with a body", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(418)
			w.Write(jsonBody)
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, 418, a.StatusCode)
	}},
	{"103 and then 200", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(103)
			sends(jsonBody)(w, r)
		})
		s.encoded(s.get(), jsonBody)
		require.Equal(s, 1, strings.Count(s.wire(s.request()), " 103 "))
	}},
	{"103 and then 404", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(404)
			w.Write(jsonBody)
		})
		a := s.get()
		require.Equal(s, 404, a.StatusCode)
		s.encoded(a, jsonBody)
	}},
	{"206", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(jsonBody))
		})
		a := s.get("Range: bytes=100-2999")
		require.Equal(s, 206, a.StatusCode)
		s.plain(a, jsonBody[100:3000])
	}},
	{"206 without Content-Range support", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(206)
			w.Write(jsonBody)
		})
		s.plain(s.get(), jsonBody)
	}},
	{"Accept-Ranges goes", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(jsonBody))
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Empty(s, a.Header["Accept-Ranges"])
	}},

	// Header fields of the handler.
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

	// What is worth it.
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

	// Streams.
	{"Flush of twenty bytes reaches the client", func(s *site) {
		next := make(chan bool)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := 0; <-next; i++ {
				fmt.Fprintf(w, "data: number %03d\n\n\n\n", i)
				w.(http.Flusher).Flush()
			}
		})
		r, _ := http.NewRequest("GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		go func() { next <- true }()
		resp, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		require.Equal(s, s.coding, resp.Header.Get("Content-Encoding"))
		in := decoder(s, s.coding, resp.Body)
		for i := range 50 {
			if i > 0 {
				next <- true
			}
			line := make([]byte, 20)
			_, err := io.ReadFull(in, line)
			require.NoError(s, err)
			require.Equal(s, fmt.Sprintf("data: number %03d\n\n\n\n", i), string(line))
		}
		next <- false
		rest, err := io.ReadAll(in)
		require.NoError(s, err)
		require.Empty(s, rest)
		resp.Body.Close()
	}},
	{"Flush before the first Write sends the header", func(s *site) {
		next := make(chan bool)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-next
			io.WriteString(w, "data: x\n\n")
		})
		r, _ := http.NewRequest("GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		resp, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		next <- true
		b, err := io.ReadAll(decoder(s, s.coding, resp.Body))
		require.NoError(s, err)
		require.Equal(s, "data: x\n\n", string(b))
	}},
	{"Flush of nothing ever", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.(http.Flusher).Flush()
		})
		s.encoded(s.get(), nil)
	}},
	{"Flush without a type", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(jsonBody)
		})
		s.plain(s.get(), jsonBody)
	}},
	{"stream of long blocks and flushes", func(s *site) {
		body := cards(1500, 6)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i, b := 0, body; len(b) > 0; i++ {
				n := min(1+i*i*37%90000, len(b))
				w.Write(b[:n])
				b = b[n:]
				if i%3 == 0 {
					w.(http.Flusher).Flush()
				}
			}
		})
		s.encoded(s.get(), body)
	}},
	{"late Flush of a complete body", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody, "Content-Length: "+strconv.Itoa(len(jsonBody)))(w, r)
			w.(http.Flusher).Flush()
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, int64(len(a.raw)), a.ContentLength)
	}},

	// Interfaces.
	{"Hijack", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nhi")
				conn.Close()
			}
		})
		require.Contains(s, s.wire(s.request()), "299 Own")
	}},
	{"Hijack after a Write", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 2\r\n\r\nhi")
				conn.Close()
			}
		})
		require.Contains(s, s.wire(s.request()), "299 Own")
		require.Eventually(s, func() bool { return s.c.Stats().BufferedBytes == 0 }, 5*time.Second, time.Millisecond)
	}},
	{"WebSocket upgrade", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err == nil {
				conn.WriteMessage(websocket.TextMessage, []byte("hello"))
				conn.Close()
			}
		})
		conn, _, err := websocket.DefaultDialer.Dial("ws"+s.srv.URL[4:], http.Header{"Accept-Encoding": {s.coding}})
		require.NoError(s, err)
		defer conn.Close()
		_, msg, err := conn.ReadMessage()
		require.NoError(s, err)
		require.Equal(s, "hello", string(msg))
	}},
	{"ResponseController: deadlines and full duplex", func(s *site) {
		var errs error
		s.start(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			errs = errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.EnableFullDuplex())
			sends(jsonBody)(w, r)
			errs = errors.Join(errs, rc.Flush())
		})
		s.encoded(s.get(), jsonBody)
		require.NoError(s, errs)
	}},
	{"ReaderFrom: plain", func(s *site) {
		direct := false
		s.outer = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&spyWriter{w, &direct}, r) })
		}
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			w.(io.ReaderFrom).ReadFrom(strings.NewReader(string(jsonBody)))
		})
		s.plain(s.get(), jsonBody)
		require.True(s, direct, "the server may use sendfile")
	}},
	{"ReaderFrom: encoded", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			n, err := w.(io.ReaderFrom).ReadFrom(bytes.NewReader(jsonBody))
			if err != nil || n != int64(len(jsonBody)) {
				panic(err)
			}
		})
		s.encoded(s.get(), jsonBody)
	}},
	{"StringWriter", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.(io.StringWriter).WriteString(string(jsonBody))
		})
		s.encoded(s.get(), jsonBody)
	}},

	// Order and failure.
	{"first status wins", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(201)
			w.WriteHeader(500)
			w.Write(jsonBody)
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, 201, a.StatusCode)
	}},
	{"too late for status and header", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Early", "1")
			w.Header().Set("X-Gone", "1")
			sends(jsonBody)(w, r)
			w.WriteHeader(500)
			w.Header().Set("X-Early", "2")
			w.Header().Set("X-Late", "1")
			w.Header().Set("Content-Type", "image/png")
			w.Header().Del("X-Gone")
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, 200, a.StatusCode)
		require.Equal(s, "1", a.Header.Get("X-Early"))
		require.Equal(s, "1", a.Header.Get("X-Gone"))
		require.Empty(s, a.Header.Get("X-Late"))
		require.Equal(s, "application/json", a.Header.Get("Content-Type"))
	}},
	{"abort: the client sees an error", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			panic(http.ErrAbortHandler)
		})
		r, _ := http.NewRequest("GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		_, err := s.srv.Client().Do(r)
		require.Error(s, err)
		require.Zero(s, s.c.Stats().BufferedBytes)
	}},
	{"abort of a stream: the client sees an error", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		require.Error(s, s.get().err)
		require.Zero(s, s.c.Stats().BufferedBytes)
	}},
	{"panic before anything is written: 500", func(s *site) {
		s.outer = recovers
		s.start(func(w http.ResponseWriter, r *http.Request) { panic("boom") })
		require.Equal(s, 500, s.get().StatusCode)
	}},
	{"panic with a body held back: 500 and none of it", func(s *site) {
		s.outer = recovers
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			panic("boom")
		})
		a := s.get()
		require.Equal(s, 500, a.StatusCode)
		s.plain(a, []byte("recovered\n"))
		require.Zero(s, s.c.Stats().BufferedBytes)
	}},
	{"nothing leaks from one response to another", func(s *site) {
		s.outer = recovers
		s.start(func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.Header.Get("N"))
			body := cards(n%37, uint64(n))
			switch n % 7 {
			case 0:
				w.Write(body)
				panic("boom")
			case 1:
				sends(body)(w, r)
				w.(http.Flusher).Flush()
				w.Write(body)
				return
			}
			w.Header().Set("X-N", strconv.Itoa(n))
			sends(body)(w, r)
		})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 15 {
					n := g*15 + i
					a := s.get("N: " + strconv.Itoa(n))
					body := cards(n%37, uint64(n))
					switch n % 7 {
					case 0:
						if a.StatusCode != 500 {
							s.Error("status", a.StatusCode)
						}
						continue
					case 1:
						body = append(body, body...)
					default:
						if a.Header.Get("X-N") != strconv.Itoa(n) {
							s.Error("header")
						}
					}
					if !bytes.Equal(body, decode(s, a.Header.Get("Content-Encoding"), a.raw)) {
						s.Error("body")
					}
				}
			})
		}
		wg.Wait()
		require.Zero(s, s.c.Stats().BufferedBytes)
	}},
	{"trailers", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			sends(jsonBody)(w, r)
			w.Header().Set("X-Sum", "42")
			w.Header().Set(http.TrailerPrefix+"X-More", "43")
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, "42", a.Trailer.Get("X-Sum"))
		require.Equal(s, "43", a.Trailer.Get("X-More"))
		require.Empty(s, a.Header.Get("X-Sum"))
	}},
	{"trailers not announced", func(s *site) {
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			w.Header().Set(http.TrailerPrefix+"X-More", "43")
		})
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, "43", a.Trailer.Get("X-More"))
	}},
	{"HTTP/2", func(s *site) {
		s.http2 = true
		s.start(func(w http.ResponseWriter, r *http.Request) {
			sends(jsonBody)(w, r)
			w.Header().Set(http.TrailerPrefix+"X-More", "43")
		})
		a := s.get()
		require.Equal(s, 2, a.ProtoMajor)
		s.encoded(a, jsonBody)
		require.Equal(s, "43", a.Trailer.Get("X-More"))
	}},
	{"HTTP/1.0", func(s *site) {
		s.start(sends(jsonBody))
		got := s.wire("GET / HTTP/1.0\r\nAccept-Encoding: " + s.coding + "\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
		require.NoError(s, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(s, err)
		s.encoded(answer{resp, b, nil}, jsonBody)
		require.Empty(s, resp.TransferEncoding)
	}},
	{"stacked twice", func(s *site) {
		second := newTest(s)
		s.outer = second.Handler
		s.start(sends(jsonBody, `Etag: "v1"`))
		a := s.get()
		s.encoded(a, jsonBody)
		require.Equal(s, []string{"Accept-Encoding"}, a.Header["Vary"])
		require.Equal(s, `"v1-`+s.coding+`"`, a.Header.Get("Etag"))
	}},
	{"under a timeout handler", func(s *site) {
		s.outer = func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "slow") }
		s.start(sends(jsonBody))
		s.encoded(s.get(), jsonBody)
	}},
	{"client leaves", func(s *site) {
		started, failed := make(chan bool), make(chan error, 1)
		s.start(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.(http.Flusher).Flush()
			started <- true
			for range 1000000 {
				if _, err := w.Write(noise(60000)); err != nil {
					failed <- err
					return
				}
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := http.NewRequestWithContext(ctx, "GET", s.srv.URL, nil)
		r.Header.Set("Accept-Encoding", s.coding)
		_, err := s.srv.Client().Do(r)
		require.NoError(s, err)
		<-started
		cancel()
		require.Error(s, <-failed)
		require.Eventually(s, func() bool { return s.c.Stats().BufferedBytes == 0 }, 10*time.Second, time.Millisecond)
	}},

	// Requests.
	{"request body decoded", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || r.ContentLength != -1 || r.Header.Get("Content-Encoding") != "" {
				panic(fmt.Sprint(err, r.ContentLength))
			}
			w.Write(b)
		})
		require.Equal(s, jsonBody, s.send("POST", s.encode(jsonBody), "Content-Encoding: "+s.coding, "Accept-Encoding: -").raw)
	}},
	{"request with two codings", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		twice := s.encode([]byte(s.encode(jsonBody)))
		require.Equal(s, jsonBody, s.send("POST", twice, "Content-Encoding: "+s.coding+", "+s.coding, "Accept-Encoding: -").raw)
		a := s.send("POST", twice, "Content-Encoding: gzip, gzip, gzip")
		require.Equal(s, 415, a.StatusCode)
	}},
	{"request bomb: 413", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			var large *http.MaxBytesError
			if n > 1<<20 || !errors.As(err, &large) {
				panic(fmt.Sprint(n, err))
			}
		})
		a := s.send("POST", s.encode(make([]byte, 6<<20)), "Content-Encoding: "+s.coding)
		require.Equal(s, 413, a.StatusCode)
		require.Zero(s, s.c.Stats().BufferedBytes)
	}},
	{"request garbage: 400", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		require.Equal(s, 400, s.send("POST", "this is not encoded", "Content-Encoding: "+s.coding).StatusCode)
		cut := s.encode(jsonBody)
		require.Equal(s, 400, s.send("POST", cut[:len(cut)/2], "Content-Encoding: "+s.coding).StatusCode)
	}},
	{"request with an unknown coding: 415", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) {})
		a := s.send("POST", "x", "Content-Encoding: magic")
		require.Equal(s, 415, a.StatusCode)
		require.Equal(s, "gzip, br, zstd", a.Header.Get("Accept-Encoding"))
	}},
	{"request without a coding", func(s *site) {
		s.startRequests(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 5 {
				panic("length")
			}
			io.Copy(w, r.Body)
		})
		require.Equal(s, "plain", string(s.send("POST", "plain", "Content-Encoding: identity").raw))
	}},

	// Dictionaries, RFC 9842.
	{"dictionary", func(s *site) {
		old, now := cards(120, 1), bytes.Replace(cards(120, 1), []byte("nonbinary"), []byte("female"), 3)
		body := old
		s.opts = func(o *Options) { o.DictionaryBytes, o.Codings = 1<<20, []string{s.coding} }
		s.start(nil)
		s.srv.Config.Handler = s.c.Dictionary("/list*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sends(body)(w, r) }))
		a := s.get()
		s.encoded(a, old)
		if s.coding == "gzip" {
			return
		}
		require.Equal(s, `match="/list*"`, a.Header.Get("Use-As-Dictionary"))
		require.Contains(s, strings.Join(a.Header["Vary"], ","), "Available-Dictionary")
		body = now
		sum := sha256.Sum256(old)
		with := map[string]string{"br": "dcb", "zstd": "dcz"}[s.coding]
		a = s.get("Available-Dictionary: :"+base64.StdEncoding.EncodeToString(sum[:])+":", "Accept-Encoding: "+s.coding+", "+with)
		require.Equal(s, with, a.Header.Get("Content-Encoding"))
		require.Equal(s, now, decodeWith(s, with, a.raw, old))
		require.Less(s, len(a.raw), len(now)/100, "99 %% less")
		other := sha256.Sum256(now[1:])
		a = s.get("Available-Dictionary: :" + base64.StdEncoding.EncodeToString(other[:]) + ":")
		s.encoded(a, now)
		s.encoded(s.get("Available-Dictionary: nonsense"), now)
	}},
}

func TestConformance(t *testing.T) {
	t.Logf("%d cases, each for gzip, br and zstd", len(conformance))
	for _, coding := range []string{"gzip", "br", "zstd"} {
		for _, c := range conformance {
			t.Run(coding+"/"+c.name, func(t *testing.T) { c.run(&site{T: t, coding: coding}) })
		}
	}
}

func (s *site) startRequests(h http.HandlerFunc) {
	s.start(nil)
	s.srv.Config.Handler = s.c.Requests(h)
}

func (s *site) encode(b []byte) string {
	c := newTest(s, func(o *Options) { o.Codings, o.BlockBytes = []string{s.coding}, 1<<20 })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "identity;q=0, "+s.coding)
	c.Handler(sends(b)).ServeHTTP(w, r)
	return w.Body.String()
}

func (s *site) request() string {
	return "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: " + s.coding + "\r\n\r\n"
}

// wire sends bytes and returns all bytes that come back.
func (s *site) wire(request string) string {
	conn, err := net.Dial("tcp", s.srv.Listener.Addr().String())
	require.NoError(s, err)
	defer conn.Close()
	io.WriteString(conn, request)
	b, err := io.ReadAll(conn)
	require.NoError(s, err)
	return string(b)
}

func recovers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				w.Header().Del("Content-Type")
				http.Error(w, "recovered", 500)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

type spyWriter struct {
	http.ResponseWriter
	direct *bool
}

func (w *spyWriter) ReadFrom(r io.Reader) (int64, error) {
	*w.direct = true
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, r)
}
