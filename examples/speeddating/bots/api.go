package bots

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4"
)

// api is the platform's HTTP interface, as far as a bot needs it.
type api struct {
	base string
	http *http.Client
}

func newAPI(base string) *api {
	return &api{base: base, http: &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			MaxConnsPerHost:     8,
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     10 * time.Second,
		},
	}}
}

// A statusError is an answer that is not 2xx.
type statusError struct {
	status int
	code   string
	after  time.Duration // Retry-After, 0 if there is none
}

func (e *statusError) Error() string {
	return fmt.Sprintf("bots: the server answered %d %s", e.status, e.code)
}

func newStatusError(res *http.Response) *statusError {
	e := &statusError{status: res.StatusCode}
	var body struct {
		Error struct{ Code string }
	}
	json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&body)
	e.code = body.Error.Code
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		e.after = time.Duration(s) * time.Second
	}
	return e
}

// do makes one request. out, if not nil, takes the JSON of the answer.
func (a *api) do(ctx context.Context, method, path, token, contentType string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return newStatusError(res)
	}
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		return err
	}
	return json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(out)
}

// signUp makes a guest with a portrait.
func (a *api) signUp(ctx context.Context, name, gender string, portrait []byte) (id, token string, err error) {
	body, err := json.Marshal(map[string]string{"name": name, "gender": gender})
	if err != nil {
		return "", "", err
	}
	var out struct{ UserID, SessionToken string }
	if err := a.do(ctx, http.MethodPost, "/auth/guest", "", "application/json", body, &out); err != nil {
		return "", "", err
	}
	if out.UserID == "" || out.SessionToken == "" {
		return "", "", errors.New("bots: sign-up without userId or sessionToken")
	}
	return out.UserID, out.SessionToken, a.do(ctx, http.MethodPut, "/media/selfie", out.SessionToken, "image/jpeg", portrait, nil)
}

// queue reads the whole queue as the owner of token sees it, at most 1000
// people.
func (a *api) queue(ctx context.Context, token string) ([]card, error) {
	var all []card
	for cursor := ""; len(all) < 1000; {
		var page struct {
			Cards  []card
			Cursor string
		}
		path := "/room/queue"
		if cursor != "" {
			path += "?cursor=" + url.QueryEscape(cursor)
		}
		if err := a.do(ctx, http.MethodGet, path, token, "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Cards...)
		if page.Cursor == "" || page.Cursor == cursor || len(page.Cards) == 0 {
			break
		}
		cursor = page.Cursor
	}
	return all, nil
}

// iceServers asks for STUN and TURN servers.
func (a *api) iceServers(ctx context.Context, token string) ([]webrtc.ICEServer, error) {
	var out struct {
		ICEServers []struct {
			URLs       stringList
			Username   string
			Credential string
		}
	}
	if err := a.do(ctx, http.MethodGet, "/turn/credentials", token, "", nil, &out); err != nil {
		return nil, err
	}
	var servers []webrtc.ICEServer
	for _, s := range out.ICEServers {
		server := webrtc.ICEServer{URLs: s.URLs, Username: s.Username}
		if s.Credential != "" {
			server.Credential = s.Credential
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// stringList is one string or an array of them, as urls may be.
type stringList []string

func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// A card is a person in the queue.
type card struct {
	UserID        string
	Name          string
	CooldownUntil *time.Time
}
