package web

import (
	"embed"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	livepage "github.com/plimsoll-go/plimsoll/examples/speeddating/live/page"
	webpage "github.com/plimsoll-go/plimsoll/examples/speeddating/web/page"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// page gives the routes of the embedded pages: index.html at / with the rest
// and the SDK's socket client and delta decoder below /assets/, and what is
// for admins below /admin/. Each file is encoded once for each coding, whoever
// asks.
func (s *Server) page() (map[string]handler, error) {
	client, err := s.Compress.NewBody(javaScript, []byte(signaling.ClientJS))
	decoder, deltaErr := s.Compress.NewBody(javaScript, compress.DeltaJS)
	routes := map[string]handler{"GET /assets/plimsoll.js": asset(client), "GET /assets/delta.js": asset(decoder)}
	return routes, errors.Join(err, deltaErr,
		s.files(webpage.FS, "index.html", "/{$}", "/assets/", routes, asset),
		s.files(livepage.FS, "live.html", "/admin/live", "/admin/", routes, s.adminAsset))
}

const javaScript = "text/javascript; charset=utf-8"

// files adds a route for each file of a page: the document itself, and the
// others below a prefix.
func (s *Server) files(from embed.FS, document, at, below string, routes map[string]handler, serve func(*compress.Body) handler) error {
	names, err := fs.Glob(from, "*")
	errs := []error{err}
	for _, name := range names {
		content, err := from.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if path.Ext(name) == ".js" {
			kind = javaScript // some systems' tables say otherwise
		}
		body, err := s.Compress.NewBody(kind, content)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pattern := "GET " + below + name
		if name == document {
			pattern = "GET " + at
		}
		routes[pattern] = serve(body)
	}
	return errors.Join(errs...)
}

// adminAsset is an asset that does not exist on a server without an admin
// token. It holds no figures: those come over the socket.
func (s *Server) adminAsset(body *compress.Body) handler {
	serve := asset(body)
	return func(w http.ResponseWriter, r *http.Request, who dating.Session) error {
		if s.AdminToken == "" {
			return s.adminAllowed(r)
		}
		return serve(w, r, who)
	}
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
