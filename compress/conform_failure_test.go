package compress

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// Order and failure.
var failuresCases = []conformCase{
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
}
