package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// patience bounds every wait of these tests. They run beside others under the
// race detector on small machines, so it is long; nothing waits it out when
// all is well.
const patience = 60 * time.Second

// startApp serves the platform on a free port until the test ends.
func startApp(t *testing.T, change ...func(*config)) *app {
	t.Helper()
	cfg, err := parseConfig(nil, func(string) string { return "" }, io.Discard)
	require.NoError(t, err)
	cfg.addr, cfg.drain = "127.0.0.1:0", 100*time.Millisecond
	cfg.db = filepath.Join(t.TempDir(), "test.db")
	cfg.rules.MinCall = time.Second
	// Many servers share this process with browsers' drivers and the race
	// detector: each would see the others' memory as its own.
	cfg.memoryLimit = 4 << 30
	for _, f := range change {
		f(&cfg)
	}
	level := slog.LevelError
	if testing.Verbose() && os.Getenv("PLIMSOLL_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	a, err := newApp(t.Context(), cfg, log)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		select {
		case <-a.draining: // the test has stopped it
		default:
			require.NoError(t, a.Shutdown(ctx))
		}
	})
	return a
}

// alive asks that the server still serves, after what was done to it.
func alive(t *testing.T, base string) {
	t.Helper()
	res, err := http.Get(base + "/healthz")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// visitor is a person in front of the public interface.
type visitor struct {
	t     *testing.T
	base  string
	ID    dating.UserID
	Token string
	Name  string
}

type object = map[string]any

func signUp(t *testing.T, base, name string) *visitor {
	t.Helper()
	v := &visitor{t: t, base: base, Name: name}
	v.adopt(v.mustDo("POST", "/auth/guest", object{"name": name, "gender": "unspecified"}, http.StatusCreated))
	return v
}

func (v *visitor) adopt(answer object) {
	v.ID = dating.UserID(answer["userId"].(string))
	v.Token = answer["sessionToken"].(string)
}

// do makes a request with any body: nil, a JSON value, or raw bytes.
func (v *visitor) do(method, path string, body any) (status int, answer []byte, header http.Header) {
	v.t.Helper()
	var in io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		in, kind = bytes.NewReader(b), http.DetectContentType(b)
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		require.NoError(v.t, err)
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, in)
	require.NoError(v.t, err)
	if in != nil {
		req.Header.Set("Content-Type", kind)
	}
	if v.Token != "" {
		req.Header.Set("Authorization", "Bearer "+v.Token)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(v.t, err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	require.NoError(v.t, err)
	return res.StatusCode, answer, res.Header
}

func (v *visitor) mustDo(method, path string, body any, status int) object {
	v.t.Helper()
	got, answer, _ := v.do(method, path, body)
	require.Equal(v.t, status, got, "%s %s: %s", method, path, answer)
	var out object
	if len(answer) > 0 && answer[0] == '{' {
		require.NoError(v.t, json.Unmarshal(answer, &out))
	}
	return out
}

// code makes a request that is refused, and gives the error's code.
func (v *visitor) code(method, path string, body any, status int) string {
	v.t.Helper()
	answer := v.mustDo(method, path, body, status)
	return answer["error"].(object)["code"].(string)
}

// message is one message of the server.
type message struct {
	Type string          `json:"type"`
	ID   json.RawMessage `json:"id"`
	Data json.RawMessage `json:"data"`
}

func (m message) object(t *testing.T) object {
	t.Helper()
	var out object
	if len(m.Data) > 0 {
		require.NoError(t, json.Unmarshal(m.Data, &out), string(m.Data))
	}
	return out
}

// tab is one WebSocket of a visitor. A goroutine reads it until it ends.
type tab struct {
	*visitor
	ws    *websocket.Conn
	hello object

	mu     sync.Mutex
	got    []message
	count  int // since hello, for resume
	end    error
	change chan struct{}
	lastID int
}

func dialHeader(token string) http.Header {
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	return h
}

// tryOpen dials a tab; query begins with ? or is empty.
func (v *visitor) tryOpen(query string) (*tab, *http.Response, error) {
	url := "ws" + strings.TrimPrefix(v.base, "http") + "/ws" + query
	ws, res, err := websocket.DefaultDialer.DialContext(v.t.Context(), url, dialHeader(v.Token))
	if err != nil {
		return nil, res, err
	}
	b := &tab{visitor: v, ws: ws, change: make(chan struct{})}
	go b.read()
	v.t.Cleanup(func() { ws.Close() })
	return b, res, nil
}

func (v *visitor) open() *tab {
	v.t.Helper()
	b, res, err := v.tryOpen("")
	if err != nil && res != nil {
		v.t.Fatalf("dial: %v: %s", err, res.Status)
	}
	require.NoError(v.t, err)
	b.hello = b.expect("hello")
	return b
}

func (b *tab) read() {
	for {
		_, frame, err := b.ws.ReadMessage()
		var batch []message
		if err == nil {
			if frame[0] == '[' {
				err = json.Unmarshal(frame, &batch)
			} else {
				batch = make([]message, 1)
				err = json.Unmarshal(frame, &batch[0])
			}
		}
		b.mu.Lock()
		b.got = append(b.got, batch...)
		for _, m := range batch {
			if m.Type != "hello" {
				b.count++
			}
		}
		b.end = err
		close(b.change)
		b.change = make(chan struct{})
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait blocks until take, called with the messages not yet taken, says done.
func (b *tab) wait(what string, take func(got []message) (rest []message, done bool)) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		rest, done := take(b.got)
		b.got = rest
		end, change := b.end, b.change
		b.mu.Unlock()
		if done {
			return
		}
		if end != nil {
			b.t.Fatalf("%s waits for %s, but the socket ended: %v", b.Name, what, end)
		}
		select {
		case <-change:
		case <-deadline:
			b.t.Fatalf("%s waited in vain for %s; got %v", b.Name, what, kinds(rest))
		}
	}
}

func kinds(ms []message) []string {
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%s %.120s", m.Type, m.Data))
	}
	return out
}

// expect takes the next message of a type and gives its data; others stay.
func (b *tab) expect(kind string) object {
	b.t.Helper()
	var out object
	b.wait(kind, func(got []message) ([]message, bool) {
		for i, m := range got {
			if m.Type == kind {
				out = m.object(b.t)
				return append(got[:i:i], got[i+1:]...), true
			}
		}
		return got, false
	})
	return out
}

// sees waits for somebody in the queue, with the snapshot or after it, and gives
// the names.
func (b *tab) sees() (names []string) {
	b.t.Helper()
	b.wait("somebody in the queue", func(got []message) (rest []message, done bool) {
		for _, m := range got {
			if m.Type != "queue:snapshot" && m.Type != "queue:update" {
				rest = append(rest, m)
				continue
			}
			var in struct{ Cards, Added []dating.Card }
			require.NoError(b.t, json.Unmarshal(m.Data, &in))
			for _, c := range append(in.Cards, in.Added...) {
				names = append(names, c.Name)
			}
		}
		return rest, len(names) > 0
	})
	return names
}

// seen reports whether a message of that type has come and was not taken.
func (b *tab) seen(kind string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.got {
		if m.Type == kind {
			return true
		}
	}
	return false
}

// closed waits for the end of the socket and gives its close code, or 1006.
func (b *tab) closed() int {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		end, change := b.end, b.change
		b.mu.Unlock()
		if end != nil {
			if e, ok := end.(*websocket.CloseError); ok {
				return e.Code
			}
			return websocket.CloseAbnormalClosure
		}
		select {
		case <-change:
		case <-deadline:
			b.t.Fatalf("%s: the socket is still open", b.Name)
		}
	}
}

// raw sends a frame as it is.
func (b *tab) raw(frame string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.ws.WriteMessage(websocket.TextMessage, []byte(frame)) // the server may have closed: the test looks at that
}

// ask sends a message with an id and waits for its answer.
func (b *tab) ask(kind string, data any) (ok object, code string) {
	b.t.Helper()
	b.mu.Lock()
	b.lastID++
	id := b.lastID
	b.mu.Unlock()
	m := object{"type": kind, "id": id}
	if data != nil {
		m["data"] = data
	}
	raw, err := json.Marshal(m)
	require.NoError(b.t, err)
	b.raw(string(raw))
	b.wait("the answer to "+kind, func(got []message) ([]message, bool) {
		for i, m := range got {
			if string(m.ID) != fmt.Sprint(id) {
				continue
			}
			switch m.Type {
			case "ok":
				ok = m.object(b.t)
			case "error":
				code = m.object(b.t)["code"].(string)
			default:
				b.t.Fatalf("answer of type %s", m.Type)
			}
			return append(got[:i:i], got[i+1:]...), true
		}
		return got, false
	})
	return ok, code
}

func (b *tab) must(kind string, data any) object {
	b.t.Helper()
	ok, code := b.ask(kind, data)
	require.Empty(b.t, code, "%s: %s %v", b.Name, kind, data)
	return ok
}

// fails asks for something that is refused.
func (b *tab) fails(code, kind string, data any) {
	b.t.Helper()
	_, got := b.ask(kind, data)
	require.Equal(b.t, code, got, "%s: %s %v", b.Name, kind, data)
}

// cut ends the socket as a broken network does: no close frame.
func (b *tab) cut() { b.ws.NetConn().Close() }

// bye ends it as a browser does that says goodbye.
func (b *tab) bye() {
	_ = b.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	b.closed()
}

// meet brings two into a call of the given length and gives its room.
func meet(t *testing.T, caller, callee *tab, seconds int) string {
	t.Helper()
	caller.must("queue:join", nil)
	callee.must("queue:join", nil)
	invitation := object{"toUserId": callee.ID, "requestedSeconds": seconds}
	invite, code := caller.ask("call:invite", invitation)
	for end := time.Now().Add(patience); (code == "offline" || code == "busy") && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		invite, code = caller.ask("call:invite", invitation) // it takes a moment until another server knows who is free
	}
	require.Empty(t, code)
	notify := callee.expect("call:notify")
	require.Equal(t, invite["inviteId"], notify["inviteId"])
	callee.must("call:accept", object{"inviteId": notify["inviteId"], "requestedSeconds": seconds})
	start := caller.expect("call:start")
	other := callee.expect("call:start")
	require.Equal(t, start["roomId"], other["roomId"])
	require.Equal(t, true, start["isInitiator"])
	require.Equal(t, false, other["isInitiator"])
	require.Equal(t, []any{true, true}, []any{start["here"], other["here"]})
	return start["roomId"].(string)
}
