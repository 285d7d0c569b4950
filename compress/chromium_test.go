package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDictionaryInChromium has a real browser re-read a list until it names
// its dictionary, and decode the difference in both codings.
func TestDictionaryInChromium(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing")
		}
		t.Skip("SKIPPED: chromium is not installed, dictionaries are not tested in a browser")
	}
	old, now := cards(120, 1), bytes.Replace(cards(120, 1), []byte("nonbinary"), []byte("female"), 3)
	sum := sha256.Sum256(now)
	lists := make(map[string]http.Handler)
	for path, coding := range map[string]string{"/a": "zstd", "/b": "br"} {
		c := newTest(t, func(o *Options) { o.DictionaryBytes, o.Codings = 1<<20, []string{coding} })
		lists[path] = c.Dictionary(path+"*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("Content-Type", "application/json")
			if r.Header.Get("Available-Dictionary") == "" {
				w.Write(old)
			} else {
				w.Write(now)
			}
		}))
	}
	done := make(chan string, 1)
	var mu sync.Mutex
	var encoded [2]string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a", "/b":
			lists[r.URL.Path].ServeHTTP(w, r)
			mu.Lock()
			encoded[r.URL.Path[1]-'a'] = w.Header().Get("Content-Encoding")
			mu.Unlock()
		case "/done":
			select {
			case done <- r.URL.Query().Get("r"):
			default:
			}
		default:
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!DOCTYPE html><script type="module">
const results = []
try {
  for (const path of ['/a', '/b'])
    for (let i = 0; i < 100; i++) {
      const text = new Uint8Array(await (await fetch(path, { cache: 'no-cache' })).arrayBuffer())
      if (text.length == %d) {
        const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', text))
        results.push([...sum].map((b) => b.toString(16).padStart(2, '0')).join(''))
        break
      }
      await new Promise((go) => setTimeout(go, 100))
    }
} catch (e) { results.push(e) }
fetch('/done?r=' + encodeURIComponent(results))
</script>`, len(now))
		}
	}))
	defer srv.Close()
	profile, err := os.MkdirTemp("", "plimsoll-chromium")
	require.NoError(t, err)
	defer os.RemoveAll(profile) // the browser's children may still write there
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--user-data-dir="+profile, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1))
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		cmd.Wait()
	}()
	want := hex.EncodeToString(sum[:])
	select {
	case got := <-done:
		require.Equal(t, want+","+want, got)
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return encoded == [2]string{"dcz", "dcb"}
		}, 5*time.Second, time.Millisecond)
	case <-ctx.Done():
		t.Fatal("the page did not finish")
	}
}
