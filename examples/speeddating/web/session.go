package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const cookieName = "session"

// token returns what the request shows of a session: the Bearer header, or
// else the cookie.
func token(r *http.Request) string {
	if value, ok := bearer(r); ok {
		return value
	}
	if c, err := r.Cookie(cookieName); err == nil {
		return c.Value
	}
	return ""
}

// bearer returns the token in the Authorization header.
func bearer(r *http.Request) (string, bool) {
	scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(value), ok && strings.EqualFold(scheme, "Bearer")
}

// authenticate gives the session of the request, or dating.Unauthenticated.
func (s *Server) authenticate(r *http.Request) (dating.Session, error) {
	return s.platform.Authenticate(r.Context(), token(r))
}

// setCookie hands the session to a browser, out of reach of its scripts.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.https(r),
	})
}

// https reports whether the browser speaks TLS, to us or to a proxy of ours.
func (s *Server) https(r *http.Request) bool {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") != "https" {
		return r.TLS != nil
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
}
