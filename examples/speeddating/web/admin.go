package web

import (
	"net/http"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func (s *Server) underReview(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	cases, err := s.platform.UnderReview(r.Context())
	if cases == nil {
		cases = []dating.ReviewCase{}
	}
	if err == nil {
		private(w, struct {
			Cases []dating.ReviewCase `json:"cases"`
		}{cases})
	}
	return err
}

func (s *Server) decide(w http.ResponseWriter, r *http.Request, _ dating.Session) error {
	var in struct {
		UserID   dating.UserID `json:"userId"`
		Decision string        `json:"decision"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	standing, ok := map[string]dating.Standing{"clear": dating.Good, "ban": dating.Out}[in.Decision]
	if !ok {
		return invalid(`decision must be "clear" or "ban"`)
	}
	if err := s.platform.Decide(r.Context(), in.UserID, standing); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
