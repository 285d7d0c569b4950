package compress

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"slices"
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

type conformCase struct {
	name string
	run  func(*site)
}

func conformance() []conformCase {
	return slices.Concat(negotiationCases, statusesCases, fieldsCases, worthCases, streamsCases, interfacesCases, failuresCases, requestsCases, dictionariesCases)
}

func TestConformance(t *testing.T) {
	cases := conformance()
	t.Logf("%d cases, each for gzip, br and zstd", len(cases))
	for _, coding := range []string{"gzip", "br", "zstd"} {
		for _, c := range cases {
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
