package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	webpage "github.com/plimsoll-go/plimsoll/examples/speeddating/web/page"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// page gives the routes of the embedded page: index.html at /, the rest and
// the SDK's socket client below /assets/.
func page() map[string]handler {
	routes := map[string]handler{"GET /assets/plimsoll.js": asset("plimsoll.js", []byte(signaling.ClientJS))}
	names, _ := fs.Glob(webpage.FS, "*") // the pattern is constant and good
	for _, name := range names {
		content, err := webpage.FS.ReadFile(name)
		if err != nil {
			continue // a folder; the page has none
		}
		pattern := "GET /assets/" + name
		if name == "index.html" {
			pattern = "GET /{$}"
		}
		routes[pattern] = asset(name, content)
	}
	return routes
}

// asset serves one file, which a browser asks about again each time: the
// answer is a 304 until the server is a newer one.
func asset(name string, content []byte) handler {
	kind := mime.TypeByExtension(path.Ext(name))
	if path.Ext(name) == ".js" {
		kind = "text/javascript; charset=utf-8" // some systems' tables say otherwise
	}
	sum := sha256.Sum256(content)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
		return nil
	}
}
