package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// The admin token opens the routes under /admin: as a Bearer header for
// programs, or for browsers as a cookie that it was exchanged for. The cookie
// is the time when it ends and a MAC under the token: the server keeps
// nothing, and another token makes all of them void.
const (
	adminCookie = "admin"
	adminTime   = 12 * time.Hour
)

// adminAllowed refuses whoever shows neither.
func (s *Server) adminAllowed(r *http.Request) error {
	if s.AdminToken == "" {
		return &dating.Error{Code: dating.NotFound, Message: "no such page"}
	}
	if c, err := r.Cookie(adminCookie); err == nil && s.adminCookieHolds(c.Value, time.Now()) {
		return nil
	}
	given, ok := bearer(r)
	if !ok {
		return &dating.Error{Code: dating.Unauthenticated, Message: "the admin token is missing"}
	}
	return s.judgeAdminToken(r, given)
}

// judgeAdminToken hashes both sides so that the comparison tells nothing, not
// even a length. A wrong token uses one of the log-in attempts of its address;
// with none left the right one is refused, too.
func (s *Server) judgeAdminToken(r *http.Request, given string) error {
	sum := sha256.Sum256([]byte(given))
	right := subtle.ConstantTimeCompare(sum[:], s.admin[:]) == 1
	if err := s.logins.try(s.Conns.ClientAddr(r), !right); err != nil {
		return err
	}
	if !right {
		return &dating.Error{Code: dating.Unauthenticated, Message: "that is not the admin token"}
	}
	return nil
}

func (s *Server) adminCookieUntil(end time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(end.Unix()))
	mac := hmac.New(sha256.New, s.admin[:])
	mac.Write(b) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(b))
}

func (s *Server) adminCookieHolds(value string, now time.Time) bool {
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(raw) != 8+sha256.Size {
		return false
	}
	end := time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)
	return subtle.ConstantTimeCompare([]byte(value), []byte(s.adminCookieUntil(end))) == 1 && now.Before(end)
}

// adminEnter exchanges the token for the cookie.
func (s *Server) adminEnter(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	if s.AdminToken == "" {
		return s.adminAllowed(r)
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	if err := s.judgeAdminToken(r, in.Token); err != nil {
		return err
	}
	end := time.Now().Add(adminTime)
	http.SetCookie(w, &http.Cookie{
		Name: adminCookie, Value: s.adminCookieUntil(end), Path: "/admin", Expires: end,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.https(r),
	})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// adminCheck is for the page: 204 to who may see the figures, else 401.
func (s *Server) adminCheck(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// adminSocket is where the page gets the live figures from.
func (s *Server) adminSocket(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	return s.Live.Accept(w, r)
}
