package web

import (
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	webpage "github.com/plimsoll-go/plimsoll/examples/speeddating/web/page"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// page gives the routes of the embedded page: index.html at /, the rest and
// the SDK's socket client below /assets/. Each file is encoded once for each
// coding, whoever asks.
func page(c *compress.Compressor) (map[string]handler, error) {
	files := map[string][]byte{"plimsoll.js": []byte(signaling.ClientJS)}
	names, err := fs.Glob(webpage.FS, "*")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		files[name], err = webpage.FS.ReadFile(name)
		errs = append(errs, err)
	}
	routes := make(map[string]handler, len(files))
	for name, content := range files {
		kind := mime.TypeByExtension(path.Ext(name))
		if path.Ext(name) == ".js" {
			kind = "text/javascript; charset=utf-8" // some systems' tables say otherwise
		}
		body, err := c.NewBody(kind, content)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pattern := "GET /assets/" + name
		if name == "index.html" {
			pattern = "GET /{$}"
		}
		routes[pattern] = asset(body)
	}
	return routes, errors.Join(errs...)
}

// asset serves one file, which a browser asks about again each time: the
// answer is a 304 until the server is a newer one.
func asset(body *compress.Body) handler {
	return func(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
		w.Header().Set("Cache-Control", "no-cache")
		body.ServeHTTP(w, r)
		return nil
	}
}
