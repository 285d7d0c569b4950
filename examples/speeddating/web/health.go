package web

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	_, _ = io.WriteString(w, "ok\n") // who asked may have left
	return nil
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	if why := s.Ready(); len(why) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, strings.Join(why, "\n")+"\n")
		return nil
	}
	_, _ = io.WriteString(w, "ready\n")
	return nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, Document(s.Health()))
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request, _ dating.Session) error {
	var b bytes.Buffer
	if err := s.Metrics(&b); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // who asked may have left
	return nil
}
