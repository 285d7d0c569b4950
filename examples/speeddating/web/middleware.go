package web

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// recoverer turns a panic into a 500 and a log line, so that one request can
// never end the process.
func recoverer(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				log.Error("handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				writeError(w, errInternal)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// logged writes one debug line a request.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		next.ServeHTTP(w, r)
		log.Debug("request", "method", r.Method, "path", r.URL.Path, "took", time.Since(start))
	})
}

// unsniffed has browsers take every answer for what it says it is. With that a
// JSON answer is never a document, and needs none of the headers of one.
func unsniffed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// secured sets the headers that keep the page to itself: no foreign script or
// frame, and camera and microphone for nobody else.
func secured(page http.Handler) http.Handler {
	const policy = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; " +
		"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), geolocation=()")
		page.ServeHTTP(w, r)
	})
}

// encoded has bodies decoded and answers encoded, those of GET /room/queue as
// what changed since the client's last one, where it speaks RFC 9842.
func encoded(p Parts, next http.Handler) http.Handler {
	next = p.Compress.Requests(next)
	answers, lists := p.Compress.Handler(next), p.Compress.Dictionary("/room/queue*", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !p.Savings.HTTP:
			r.Header.Del("Accept-Encoding") // also for what is encoded already, such as the page
			next.ServeHTTP(w, r)
		case r.URL.Path == "/room/queue":
			lists.ServeHTTP(w, r)
		default:
			answers.ServeHTTP(w, r)
		}
	})
}

// RefuseEncoding answers a request whose encoded body is not taken, or whose
// client accepts no coding of ours, in the shape of every other refusal.
func RefuseEncoding(w http.ResponseWriter, _ *http.Request, status int, message string) {
	code := dating.Invalid
	switch status {
	case http.StatusNotAcceptable:
		code = "not_acceptable"
	case http.StatusRequestEntityTooLarge:
		code = tooLargeCode
	case http.StatusUnsupportedMediaType:
		code = unsupportedCode
	case http.StatusServiceUnavailable:
		code = dating.Overloaded
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, struct {
		Error wireError `json:"error"`
	}{wireError{code, strings.TrimPrefix(message, "compress: ")}})
}
