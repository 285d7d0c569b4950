package web

import (
	"net/http"
	"strconv"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Codes of this layer, beside those of the rules.
const (
	tooLargeCode    dating.Code = "too_large"
	unsupportedCode dating.Code = "unsupported_type"
	invalidImage    dating.Code = "invalid_image"
	unknownType     dating.Code = "unknown_type"
	internalCode    dating.Code = "internal"
)

var errInternal = &dating.Error{Code: internalCode, Message: "something went wrong here; it was logged"}

// statuses maps each code to its HTTP status. What is missing here is a 503:
// a fault of a part behind us.
var statuses = map[dating.Code]int{
	dating.Invalid:         http.StatusBadRequest,
	dating.InvalidTarget:   http.StatusBadRequest,
	dating.InvalidDuration: http.StatusBadRequest,
	invalidImage:           http.StatusBadRequest,
	dating.Unauthenticated: http.StatusUnauthorized,
	dating.Forbidden:       http.StatusForbidden,
	dating.UnderReview:     http.StatusForbidden,
	dating.Banned:          http.StatusForbidden,
	dating.NotFound:        http.StatusNotFound,
	dating.UserNotFound:    http.StatusNotFound,
	dating.Busy:            http.StatusConflict,
	dating.Offline:         http.StatusConflict,
	dating.Cooldown:        http.StatusConflict,
	dating.Conflict:        http.StatusConflict,
	tooLargeCode:           http.StatusRequestEntityTooLarge,
	unsupportedCode:        http.StatusUnsupportedMediaType,
	dating.TooMany:         http.StatusTooManyRequests,
	internalCode:           http.StatusInternalServerError,
}

// wireError is an error as clients see it, over HTTP and over WebSocket.
type wireError struct {
	Code    dating.Code `json:"code"`
	Message string      `json:"message"`
}

// wire tells of err what a client may know: its code, and the message if it is
// a refusal of ours. The cause of a fault stays in the log.
func wire(err error) wireError {
	code := dating.CodeOf(err)
	if e, ok := refusal(err); ok && code != dating.Unavailable {
		return wireError{code, e.Message}
	}
	return wireError{code, "this part of the service does not answer right now; try again"}
}

func writeError(w http.ResponseWriter, err error) {
	e := wire(err)
	status, known := statuses[e.Code]
	if !known {
		status = http.StatusServiceUnavailable
	}
	if w.Header().Get("Retry-After") == "" && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) {
		w.Header().Set("Retry-After", strconv.Itoa(retrySeconds()))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, struct {
		Error wireError `json:"error"`
	}{e})
}
