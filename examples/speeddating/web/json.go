package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// maxBody is how many bytes of JSON a body or a message's data may have; the
// longest legal one is a tenth of that. Decoding takes several times as many.
const maxBody = 16 << 10

// readJSON decodes one JSON document into v: its fields and no others, their
// types and no others. Every fault is the sender's and becomes a 4xx.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != "application/json" {
			return &dating.Error{Code: "unsupported_type", Message: "the body must be application/json"}
		}
	}
	body, err := readBody(w, r, maxBody, bodyTime)
	if tooLarge(err) {
		return errLargeJSON
	} else if err != nil {
		return invalid("the body could not be read")
	}
	return decode(body, v)
}

// bodyTime is how long a JSON body may take to arrive: memory is reserved for
// it meanwhile.
const bodyTime = 5 * time.Second

func readBody(w http.ResponseWriter, r *http.Request, limit int64, within time.Duration) ([]byte, error) {
	// Where the connection cannot do it, the server's ReadTimeout holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(within))
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

var errLargeJSON = &dating.Error{Code: tooLargeCode, Message: "more than 16 KiB of JSON"}

var errNoData = &dating.Error{Code: dating.Invalid, Message: "data is missing"}

// decode is the one strict decoder for HTTP bodies and WebSocket data.
func decode(data []byte, v any) error {
	if len(data) > maxBody {
		return errLargeJSON
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return errNoData
	}
	if !utf8.Valid(data) {
		return invalid("the text is not UTF-8")
	}
	if err := knownNames(data, v); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(wrong.Field + " must be " + jsonType(wrong.Type.Kind().String()))
	}
	if err != nil {
		return invalid(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("there is more than one JSON value")
	}
	return nil
}

// knownNames refuses names that v does not have, spelt as v spells them:
// encoding/json takes NAME for name.
func knownNames(data []byte, v any) error {
	var given map[string]json.RawMessage
	if json.Unmarshal(data, &given) != nil {
		return nil // Decode says what is wrong
	}
	typ := reflect.TypeOf(v).Elem()
	for field := range typ.Fields() {
		delete(given, field.Tag.Get("json"))
	}
	for name := range given {
		return invalid(fmt.Sprintf("unknown field %.40q", name))
	}
	return nil
}

func jsonType(goKind string) string {
	switch {
	case strings.HasPrefix(goKind, "int"), strings.HasPrefix(goKind, "uint"):
		return "a whole number"
	case strings.HasPrefix(goKind, "float"):
		return "a number"
	case goKind == "struct", goKind == "map":
		return "an object"
	case goKind == "slice":
		return "an array"
	default:
		return "a " + goKind
	}
}

func invalid(message string) error { return &dating.Error{Code: "invalid", Message: message} }

// writeJSON answers with v. What cannot be encoded is our own fault and is
// found by the tests, not by a user.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may have left; there is nobody to tell
}
