package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func (s *Server) guest(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	if err := s.signups.take(s.Conns.ClientAddr(r)); err != nil {
		return err
	}
	if s.Admit() != nil {
		return errNoRoom
	}
	var in struct {
		Name      string `json:"name"`
		Gender    string `json:"gender"`
		IntroCode string `json:"introCode"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	cred, err := s.platform.SignUp(r.Context(), dating.Newcomer{Name: in.Name, Gender: in.Gender, IntroCode: in.IntroCode})
	return s.welcome(w, r, cred, http.StatusCreated, err)
}

func (s *Server) login(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	if err := s.logins.take(s.Conns.ClientAddr(r)); err != nil {
		return err
	}
	var in emailAndPassword
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	cred, err := s.platform.Login(r.Context(), in.Email, in.Password)
	return s.welcome(w, r, cred, http.StatusOK, err)
}

// welcome hands a new session to the browser.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request, cred dating.Credential, status int, err error) error {
	if err != nil {
		return err
	}
	s.setCookie(w, r, cred.Token, cred.ExpiresAt)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, cred)
	return nil
}

type emailAndPassword struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

func (s *Server) link(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	if err := s.logins.take(s.Conns.ClientAddr(r)); err != nil {
		return err
	}
	var in emailAndPassword
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	cred, err := s.platform.Link(r.Context(), who, in.Email, in.Password)
	return s.welcome(w, r, cred, http.StatusOK, err)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	if err := s.platform.Logout(r.Context(), who); err != nil {
		return err
	}
	s.setCookie(w, r, "", time.Unix(1, 0))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) me(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	profile, err := s.platform.Profile(r.Context(), who.User)
	if err == nil {
		private(w, profile)
	}
	return err
}

func (s *Server) changeMe(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	var in struct {
		Name    *string         `json:"name"`
		Gender  *string         `json:"gender"`
		Socials *dating.Socials `json:"socials"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	profile, err := s.platform.UpdateProfile(r.Context(), who.User, dating.ProfileChange{Name: in.Name, Gender: in.Gender, Socials: in.Socials})
	if err == nil {
		private(w, profile)
	}
	return err
}

// private answers with what is for one person only.
func private(w http.ResponseWriter, v any) {
	w.Header().Set("Cache-Control", "private, no-cache")
	writeJSON(w, http.StatusOK, v)
}

func (s *Server) putSelfie(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	if err := s.uploading.begin(who.User); err != nil {
		return err
	}
	defer s.uploading.end(who.User)
	// The budget is asked before the body is read, and again, by its
	// dimensions, before the picture is decoded.
	if s.Uploads.Reserve(maxUpload) != nil {
		return errNoRoom
	}
	defer s.Uploads.Release(maxUpload)
	upload, err := readBody(w, r, maxUpload, uploadTime)
	if tooLarge(err) {
		return &dating.Error{Code: tooLargeCode, Message: "the picture is larger than 2 MB"}
	} else if err != nil {
		return invalid("the picture could not be read")
	}
	n, err := decodedBytes(upload)
	if err != nil {
		return err
	}
	if maxUpload+n > s.UploadsMax {
		return &dating.Error{Code: tooLargeCode, Message: "the picture has more pixels than this server can take; make it smaller"}
	}
	if s.Uploads.Reserve(n) != nil {
		return errNoRoom
	}
	defer s.Uploads.Release(n)
	picture, err := reencode(upload)
	if err != nil {
		return err
	}
	url, err := s.platform.SetSelfie(r.Context(), who.User, picture, "image/jpeg")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		SelfieURL string `json:"selfieUrl"`
	}{url})
	return nil
}

func (s *Server) media(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	m, err := s.platform.Selfie(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	// An id names one picture for ever, so it may be kept for ever.
	etag := `"` + m.ID + `"`
	h := w.Header()
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", m.Type)
	h.Set("Content-Disposition", "inline")
	_, _ = w.Write(m.Bytes) // the client may have left
	return nil
}

func (s *Server) queue(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	window, err := s.platform.QueueWindow(r.Context(), who.User, r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	etag := `"` + window.Version + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", queueCaching(r))
	if window.Version != "" && matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeJSON(w, http.StatusOK, window)
	return nil
}

// queueCaching says how long the list may serve. RFC 9842 lets a browser use
// only what is fresh as a dictionary, so one that asks anew each time by
// itself, as fetch with cache "no-cache" does, may call it fresh for a while.
func queueCaching(r *http.Request) string {
	for asked := range strings.SplitSeq(r.Header.Get("Cache-Control"), ",") {
		if asked = strings.TrimSpace(asked); asked == "max-age=0" || asked == "no-cache" {
			return "private, max-age=60"
		}
	}
	return "private, no-cache"
}

// matches is RFC 9110's weak comparison of If-None-Match with one entity tag.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// historyBytes is what a page of a history may cost: dating.Rules.HistoryBytes
// as the database gives it, decoded, and as JSON again.
const historyBytes = 1 << 20

func (s *Server) history(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	if s.Requests.Reserve(historyBytes) != nil {
		return errNoRoom
	}
	defer s.Requests.Release(historyBytes)
	view, err := s.platform.History(r.Context(), who.User, r.URL.Query().Get("cursor"))
	if err == nil {
		private(w, view)
	}
	return err
}

func (s *Server) makeIntro(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	var in struct {
		ToUserID dating.UserID `json:"toUserId"`
	}
	if err := readJSON(w, r, &in); err != nil && err != error(errNoData) { // no body: to oneself
		return err
	}
	intro, err := s.platform.CreateIntro(r.Context(), who.User, in.ToUserID)
	if err == nil {
		writeJSON(w, http.StatusCreated, intro)
	}
	return err
}

func (s *Server) intro(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	intro, err := s.platform.Intro(r.Context(), r.PathValue("code"))
	if err == nil {
		writeJSON(w, http.StatusOK, intro)
	}
	return err
}

func (s *Server) report(w http.ResponseWriter, r *http.Request, who dating.Session) error {
	var in struct {
		UserID dating.UserID `json:"userId"`
		Reason string        `json:"reason"`
	}
	err := readJSON(w, r, &in)
	if err == nil {
		err = s.platform.Report(r.Context(), who.User, in.UserID, in.Reason)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Server) statsLive(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	w.Header().Set("Cache-Control", "no-cache")
	writeJSON(w, http.StatusOK, s.platform.LiveStats())
	return nil
}

func (s *Server) turn(w http.ResponseWriter, _ *http.Request, who dating.Session) error {
	credentials, err := s.TURN.Credentials(string(who.User), time.Now())
	if err != nil {
		return errors.Join(errInternal, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, credentials)
	return nil
}
