package main

import (
	"context"
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
)

// FuzzHTTP sends any body to every route that takes one. Nothing but a 2xx or
// 4xx comes back.
func FuzzHTTP(f *testing.F) {
	routes := []string{"POST /auth/guest", "POST /auth/link", "POST /auth/login", "PUT /user/me", "PUT /media/selfie", "POST /intro", "POST /report", "POST /admin/review"}
	for i := range routes {
		for _, body := range []string{
			`{"name":"A","gender":"female"}`, `{"name":5}`, `{"email":"a@b.c","password":"12345678"}`, `{"userId":"x","reason":"y"}`,
			`{"socials":{"a":"b"}}`, `{"userId":"x","decision":"ban"}`, `{"name":"\ud800"}`, "{", "", "[[[[", "\xff\xd8\xff\xe0", "GIF89a",
		} {
			f.Add(i, body)
		}
	}
	var v *visitor
	f.Fuzz(func(t *testing.T, route int, body string) {
		if v == nil {
			v = fuzzVisitor(t)
		}
		method, path, _ := strings.Cut(routes[uint(route)%uint(len(routes))], " ")
		v.t = t
		status, answer, _ := v.do(method, path, body)
		if status >= 500 && status != http.StatusServiceUnavailable || status < 200 || status >= 300 && status < 400 {
			t.Fatalf("%s %s %q: %d %s", method, path, body, status, answer)
		}
		if status == http.StatusUnauthorized && !strings.Contains(path, "login") && !strings.Contains(path, "admin") {
			v = nil // the fuzzer found a way to log out, which is fair
		}
	})
}

// FuzzFrame sends any text frame over a WebSocket. The socket goes on
// answering, or closes with a documented code; the server goes on.
func FuzzFrame(f *testing.F) {
	for _, frame := range []string{
		`{"type":"ping","id":1}`, `{"type":"queue:join"}`, `{"type":"call:invite","id":1,"data":{"toUserId":"x","requestedSeconds":60}}`,
		`{"type":"rtc:offer","data":{"roomId":"r","description":{"type":"offer","sdp":"v=0"}}}`, `{"type":"room:chat","data":{"text":"x"}}`,
		`{"type":5}`, `[]`, `null`, `{`, ``, strings.Repeat("[", 1000), `{"type":"` + strings.Repeat("x", 70000) + `"}`, "\xff\xfe",
		`{"type":"ping","id":{"a":[1,2,{"b":null}]}}`, `{"type":"queue:more","data":{"cursor":"\u0000"}}`,
	} {
		f.Add(frame)
	}
	documented := map[int]bool{1000: true, 1007: true, 1008: true, 1009: true, 1002: true, 4008: true}
	var v *visitor
	f.Fuzz(func(t *testing.T, frame string) {
		if v == nil {
			v = fuzzVisitor(t)
		}
		v.t = t
		ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(v.base, "http")+"/ws", dialHeader(v.Token))
		if err != nil {
			require.NotNil(t, res)
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
			return
		}
		defer ws.Close()
		require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte(frame)))
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","id":"last"}`)) // it may be closed by now
		require.NoError(t, ws.SetReadDeadline(time.Now().Add(patience)))
		for {
			_, got, err := ws.ReadMessage()
			if e, ok := err.(*websocket.CloseError); ok {
				require.True(t, documented[e.Code], "%q closes with %v", frame, e)
				return
			}
			require.NoError(t, err, "%q", frame)
			if strings.Contains(string(got), `"id":"last"`) {
				return
			}
		}
	})
}

// fuzzVisitor signs up at a server of its own. The server lives as long as the
// process: a fuzz test has no end of its own that a worker would see.
func fuzzVisitor(t *testing.T) *visitor {
	t.Helper()
	url, err := fuzzServer()
	require.NoError(t, err)
	return signUp(t, url, fmt.Sprint("fuzz", time.Now().UnixNano()%1000))
}

var fuzzServer = sync.OnceValues(func() (url string, err error) {
	cfg, err := parseConfig(nil, func(string) string { return "" }, io.Discard)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "speeddating-fuzz")
	if err != nil {
		return "", err
	}
	cfg.addr, cfg.db, cfg.adminToken = "127.0.0.1:0", filepath.Join(dir, "fuzz.db"), "fuzz-admin"
	cfg.memoryLimit = 4 << 30 // as in startApp
	a, err := newApp(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	return a.URL(), nil
})
