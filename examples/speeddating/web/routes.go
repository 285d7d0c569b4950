// Package web is all that a browser can reach: the page, the JSON interface
// and the WebSocket. It knows the rules only as package dating's methods and
// decides nothing itself but who is asking and how much at once.
package web

import (
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// account is asked for memory before it is used; a memory manager's accounts are.
type account interface {
	Reserve(bytes int64) error
	Release(bytes int64)
}

// Parts are what a Server is made of. All but the last three are required.
type Parts struct {
	Platform *dating.Platform
	Sockets  *Sockets
	Conns    *connmgr.Manager
	Compress *compress.Compressor
	Savings  Savings

	Requests   account      // of requests in flight
	Uploads    account      // of pictures while they are decoded
	UploadsMax int64        // what Uploads can give at most
	Admit      func() error // refuses new work under memory pressure

	Health  func() any            // the figures of every part, for /health
	Metrics func(io.Writer) error // the same for Prometheus
	Ready   func() []string       // why not to send people here; empty when ready
	Live    Live                  // who shows them all the time to admins
	Log     *slog.Logger

	Origins    []string       // other origins that may call us
	Proxies    []netip.Prefix // whose forwarded headers are believed
	AdminToken string         // empty: no admin routes
	TURN       signaling.TURN
}

// Live takes the sockets of those who look on.
type Live interface {
	Accept(w http.ResponseWriter, r *http.Request) error
}

// Server answers HTTP. It owns no goroutine; net/http's call it.
type Server struct {
	Parts
	platform  *dating.Platform
	logins    *attempts
	signups   *attempts
	uploading uploading
	admin     [sha256.Size]byte
}

// who may call a route.
type who int

const (
	anyone who = iota
	probe      // anyone, and never refused for load: health, metrics
	person     // with a session
	admin      // with the admin token; not refused either: it looks why others are
)

// reserves reports whether a request needs a place among those in flight.
func (w who) reserves() bool { return w == anyone || w == person }

// handler serves one route; s is the zero Session unless the route is for a
// person. A returned error becomes the answer.
type handler func(w http.ResponseWriter, r *http.Request, s dating.Session) error

// route is one line of the table: what may be called, by whom.
type route struct {
	pattern string
	who     who
	handle  handler
}

// New builds the HTTP side of the platform: all of it, and the probes alone
// for a listener that no crowd can fill.
func New(p Parts) (all, probes http.Handler, err error) {
	s := &Server{Parts: p, platform: p.Platform, admin: sha256.Sum256([]byte(p.AdminToken)), uploading: uploading{who: map[dating.UserID]struct{}{}}}
	if s.logins, err = newAttempts(10, loginRefill); err != nil {
		return nil, nil, err
	}
	if s.signups, err = newAttempts(signupBurst, signupRefill); err != nil {
		return nil, nil, err
	}
	probed := []route{
		{"GET /healthz", probe, s.healthz},
		{"GET /readyz", probe, s.readyz},
		{"GET /health", probe, s.health},
		{"GET /metrics", probe, s.metrics},
	}
	mux := s.mux(append(probed, []route{
		{"GET /stats/live", anyone, s.statsLive},
		{"POST /auth/guest", anyone, s.guest},
		{"POST /auth/link", person, s.link},
		{"POST /auth/login", anyone, s.login},
		{"POST /auth/logout", person, s.logout},
		{"GET /user/me", person, s.me},
		{"PUT /user/me", person, s.changeMe},
		{"PUT /media/selfie", person, s.putSelfie},
		{"GET /media/{id}", anyone, s.media},
		{"GET /room/queue", person, s.queue},
		{"GET /room/history", person, s.history},
		{"POST /intro", person, s.makeIntro},
		{"GET /intro/{code}", anyone, s.intro},
		{"POST /report", person, s.report},
		{"GET /turn/credentials", person, s.turn},
		{"GET /admin/review", admin, s.underReview},
		{"POST /admin/review", admin, s.decide},
		{"GET /admin/session", admin, s.adminCheck},
		{"POST /admin/session", anyone, s.adminEnter},
		{"GET /admin/ws", admin, s.adminSocket},
		{"GET /ws", person, s.socket},
	}...))
	assets, err := s.page()
	if err != nil {
		return nil, nil, err
	}
	for pattern, h := range assets {
		mux.Handle(pattern, secured(s.guard(anyone, h)))
	}

	sameOrigin := http.NewCrossOriginProtection()
	for _, origin := range p.Origins {
		if err := sameOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, nil, err
		}
	}
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, &dating.Error{Code: dating.Forbidden, Message: "requests from other origins are not accepted"})
	}))
	all = recoverer(p.Log, logged(p.Log, unsniffed(encoded(p, sameOrigin.Handler(jsonFaults(mux))))))
	return all, recoverer(p.Log, jsonFaults(s.mux(probed))), nil
}

func (s *Server) mux(routes []route) *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, s.guard(r.who, r.handle))
	}
	return mux
}

// guard lets through who may call the route, while there is room for the
// work, and turns a returned error into the answer.
func (s *Server) guard(who who, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var session dating.Session
		err := s.enter(who, r, &session)
		if err == nil {
			if who.reserves() {
				defer s.Requests.Release(requestBytes)
			}
			err = h(w, r, session)
		}
		if err == nil {
			return
		}
		if e, ok := refusal(err); !ok || e.Code == dating.Unavailable {
			s.Log.Warn("request", "path", r.URL.Path, "error", err)
		}
		writeError(w, err)
	})
}

// requestBytes is what one request in flight may cost: its goroutine, its
// buffers, its body and its answer.
const requestBytes = 48 << 10

var errNoRoom = &dating.Error{Code: dating.Overloaded, Message: "the server is at its load line; try again in a moment"}

// enter checks who is asking and reserves the request's memory.
func (s *Server) enter(who who, r *http.Request, session *dating.Session) error {
	if who == probe {
		return nil
	}
	if who == admin {
		return s.adminAllowed(r)
	}
	if s.Requests.Reserve(requestBytes) != nil {
		return errNoRoom
	}
	if who == person {
		found, err := s.authenticate(r)
		if err != nil {
			s.Requests.Release(requestBytes)
			return err
		}
		*session = found
	}
	return nil
}

// refusal reports whether err is a refusal of the rules, which is no fault.
func refusal(err error) (*dating.Error, bool) { return errors.AsType[*dating.Error](err) }

// jsonFaults makes the mux's own 404 and 405 speak JSON like everything else.
func jsonFaults(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			probe := &statusOnly{header: w.Header()}
			mux.ServeHTTP(probe, r)
			code := dating.NotFound
			if probe.status == http.StatusMethodNotAllowed {
				code = "method_not_allowed"
			}
			writeJSON(w, probe.status, struct {
				Error wireError `json:"error"`
			}{wireError{code, http.StatusText(probe.status)}})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// statusOnly takes a status and drops the body; headers such as Allow go
// through to the real answer.
type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header         { return w.header }
func (w *statusOnly) WriteHeader(status int)      { w.status = status }
func (w *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
