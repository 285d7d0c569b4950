package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const cookieName = "session"

// token returns what the request shows of a session: the Bearer header, or
// else the cookie.
func token(r *http.Request) string {
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(value)
	}
	if c, err := r.Cookie(cookieName); err == nil {
		return c.Value
	}
	return ""
}

// authenticate gives the session of the request, or dating.Unauthenticated.
func (s *Server) authenticate(r *http.Request) (dating.Session, error) {
	return s.platform.Authenticate(r.Context(), token(r))
}

// setCookie hands the session to a browser, out of reach of its scripts.
func setCookie(w http.ResponseWriter, r *http.Request, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
}

func clearCookie(w http.ResponseWriter, r *http.Request) {
	setCookie(w, r, "", time.Unix(1, 0))
}
