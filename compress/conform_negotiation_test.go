package compress

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Negotiation, RFC 9110, section 12.5.3.
var negotiationCases = []conformCase{
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
}

// Methods and statuses.
var statusesCases = []conformCase{
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
}
