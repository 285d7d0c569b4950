package compress

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func fetch(h http.Handler, path string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStatic(t *testing.T) {
	page := []byte("<!DOCTYPE html>" + strings.Repeat("<p>hello you</p>", 400))
	given := string(mustSmallest(t, gzipCoding, []byte(strings.Repeat("given ", 200))))
	fsys := fstest.MapFS{
		"index.html":     {Data: page},
		"app.js":         {Data: []byte(strings.Repeat("let a = 1;\n", 300))},
		"small.css":      {Data: []byte("a{}")},
		"pic.webp":       {Data: noise(3000)},
		"sub/index.html": {Data: page},
		"other.js":       {Data: []byte(strings.Repeat("given ", 200))},
		"other.js.gz":    {Data: []byte(given)},
	}
	a := &testAccount{limit: 1 << 30}
	c := newTest(t, func(o *Options) { o.Account = a })
	h, err := c.Static(fsys, 1<<20)
	require.NoError(t, err)
	for _, coding := range []string{"br", "gzip", "zstd"} {
		for _, path := range []string{"/", "/sub/", "/app.js"} {
			w := fetch(h, path, "Accept-Encoding: "+coding)
			require.Equal(t, coding, w.Header().Get("Content-Encoding"))
			require.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
			plain := fetch(h, path)
			require.Empty(t, plain.Header().Get("Content-Encoding"))
			require.Equal(t, plain.Body.Bytes(), decode(t, coding, w.Body.Bytes()))
			tag := w.Header().Get("Etag")
			require.NotEqual(t, tag, plain.Header().Get("Etag"))
			require.Equal(t, 304, fetch(h, path, "Accept-Encoding: "+coding, "If-None-Match: "+tag).Code)
			part := fetch(h, path, "Accept-Encoding: "+coding, "Range: bytes=5-9")
			require.Equal(t, 206, part.Code)
			require.Equal(t, plain.Body.String()[5:10], part.Body.String())
		}
	}
	require.Equal(t, given, fetch(h, "/other.js", "Accept-Encoding: gzip").Body.String(), "the one beside it")
	require.Equal(t, "a{}", fetch(h, "/small.css", "Accept-Encoding: br").Body.String())
	require.Empty(t, fetch(h, "/pic.webp", "Accept-Encoding: br").Header().Get("Vary"))
	require.Equal(t, 404, fetch(h, "/none").Code)
	require.Equal(t, 301, fetch(h, "/index.html").Code)
	_, err = c.Static(fsys, 0)
	require.Error(t, err)
}

func mustSmallest(t *testing.T, cd coding, b []byte) []byte {
	out, err := smallest(cd, b)
	require.NoError(t, err)
	return out
}

func TestStaticChanges(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.txt")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("old ", 500)), 0o600))
	h, err := newTest(t).Static(os.DirFS(dir), 1<<20)
	require.NoError(t, err)
	require.Equal(t, "br", fetch(h, "/a.txt", "Accept-Encoding: br").Header().Get("Content-Encoding"))
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("newer ", 500)), 0o600))
	w := fetch(h, "/a.txt", "Accept-Encoding: br")
	require.Contains(t, string(decode(t, "br", w.Body.Bytes())), "newer")
}

func TestBody(t *testing.T) {
	a := &testAccount{limit: 1 << 30}
	c := newTest(t, func(o *Options) { o.Account = a })
	body := cards(50, 1)
	b, err := c.NewBody("application/json", body)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			coding := []string{"gzip", "br", "zstd", ""}[i%4]
			w := fetch(b, "/", "Accept-Encoding: "+coding)
			if string(body) != string(decode(t, w.Header().Get("Content-Encoding"), w.Body.Bytes())) || w.Header().Get("Content-Encoding") != coding {
				t.Error(coding)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 304, fetch(b, "/", `If-None-Match: W/`+b.tag).Code)
	r := httptest.NewRequest("POST", "/", nil)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	require.Equal(t, 405, w.Code)
	b.Close()
	b.Close()
	require.Zero(t, c.Stats().BufferedBytes)
	require.Equal(t, body, fetch(b, "/", "Accept-Encoding: br").Body.Bytes())
	_, err = c.NewBody("a/b", make([]byte, 20<<20))
	require.Error(t, err)
}
