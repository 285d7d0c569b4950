package compress

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
)

// Requests.
var requestsCases = []conformCase{
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
}

// Dictionaries, RFC 9842.
var dictionariesCases = []conformCase{
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
