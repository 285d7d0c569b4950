package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestEncodedRefusals sends bodies that do not decode, and asks for codings
// that there are not: also these refusals have the shape of all others.
func TestEncodedRefusals(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	gzipped := func(p []byte) []byte {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		zw.Write(p)
		zw.Close()
		return b.Bytes()
	}
	guest := []byte(`{"name":"Ada","gender":"female"}`)
	for _, c := range []struct {
		method, path, field, value string
		body                       []byte
		status                     int
		code, also                 string // and a header that must be there
	}{
		{"POST", "/auth/guest", "Content-Encoding", "gzip", gzipped(guest), 201, "", ""},
		{"POST", "/auth/guest", "Content-Encoding", "compress", guest, 415, "unsupported_type", "Accept-Encoding"},
		{"POST", "/auth/guest", "Content-Encoding", "gzip", guest, 400, "invalid", ""},
		{"POST", "/auth/guest", "Content-Encoding", "gzip", gzipped(guest)[:20], 400, "invalid", ""},
		{"POST", "/auth/guest", "Content-Encoding", "gzip", gzipped(make([]byte, 64<<20)), 413, "too_large", ""},
		{"POST", "/auth/guest", "Content-Encoding", "zstd", []byte("no frame"), 400, "invalid", ""},
		{"GET", "/health", "Accept-Encoding", "deflate, *;q=0", nil, 406, "not_acceptable", "Accept-Encoding"},
	} {
		req, err := http.NewRequest(c.method, app.URL()+c.path, bytes.NewReader(c.body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(c.field, c.value)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, c.status, res.StatusCode, "%s %s: %s", c.value, c.code, text)
		if c.code == "" {
			continue
		}
		var answer struct {
			Error struct{ Code, Message string }
		}
		require.NoError(t, json.Unmarshal(text, &answer), "%s", text)
		require.Equal(t, c.code, answer.Error.Code, "%s", text)
		require.NotEmpty(t, answer.Error.Message)
		require.Contains(t, res.Header.Get("Content-Type"), "application/json")
		if c.also != "" {
			require.NotEmpty(t, res.Header.Get(c.also))
		}
	}
}

// TestRefusals holds statuses, codes and the order of refusals to
// docs/protocol.md.
func TestRefusals(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	v := signUp(t, app.URL(), "Ada")
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		code         string
	}{
		{"POST", "/auth/guest", `{"NAME":"A","gender":"female"}`, 400, "invalid"},
		{"POST", "/auth/guest", "{\"name\":\"\xff\",\"gender\":\"female\"}", 400, "invalid"},
		{"POST", "/auth/guest", `{"name":" ","gender":"female"}`, 400, "invalid"},
		{"POST", "/auth/guest", `{"name":"A","gender":"x"}`, 400, "invalid"},
		{"POST", "/auth/login", `{"email":"a@b.example","password":"wrong password"}`, 401, "unauthenticated"},
		{"POST", "/report", object{"userId": v.ID, "reason": "x"}, 400, "invalid_target"},
		{"POST", "/report", object{"userId": "nobody", "reason": "x"}, 404, "user_not_found"},
		{"GET", "/intro/none", nil, 404, "not_found"},
		{"GET", "/media/none", nil, 404, "not_found"},
		{"GET", "/room/history?cursor=%00", nil, 400, "invalid"},
		{"GET", "/room/queue?cursor=%00", nil, 400, "invalid"},
		{"GET", "/nowhere", nil, 404, "not_found"},
		{"DELETE", "/user/me", nil, 405, "method_not_allowed"},
		{"PUT", "/media/selfie", []byte("no picture"), 400, "invalid_image"},
		{"GET", "/ws", nil, 400, "invalid"},
	} {
		require.Equal(t, c.code, v.code(c.method, c.path, c.body, c.status), "%s %s %v", c.method, c.path, c.body)
	}
	v.mustDo("POST", "/intro", nil, http.StatusCreated)

	a, b := v.open(), signUp(t, app.URL(), "Ben").open()
	ask := func(to, seconds any) string {
		_, code := a.ask("call:invite", object{"toUserId": to, "requestedSeconds": seconds})
		return code
	}
	require.Equal(t, "invalid_target", ask(v.ID, 1))
	require.Equal(t, "user_not_found", ask("nobody", 60.5))
	require.Equal(t, "invalid_duration", ask(b.ID, 60.5))
	require.Equal(t, "invalid_duration", ask(b.ID, "60"))
	require.Equal(t, "invalid_duration", ask(b.ID, 1801))
	require.Equal(t, "busy", ask(b.ID, 60), "here, but not free")
	a.fails("unknown_type", "nonsense", nil)
	a.fails("too_large", "room:chat", object{"roomId": "x", "text": strings.Repeat("x", 17<<10)})
	require.Contains(t, a.hello, "call")
	require.Contains(t, a.hello, "invite")
}

// TestForeignPages keeps other origins away, and what they try evicts nobody.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) { c.allowedOrigins = []string{"https://friend.example"} })
	v := signUp(t, app.URL(), "Ada")
	first, second := v.open(), v.open()
	for range 3 {
		h := dialHeader(v.Token)
		h.Set("Origin", "https://evil.example")
		_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(app.URL(), "http")+"/ws", h)
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, res.StatusCode)
		require.Equal(t, "invalid", v.code("GET", "/ws", nil, http.StatusBadRequest))
	}
	first.must("ping", nil)
	second.must("ping", nil)

	for origin, status := range map[string]int{"https://evil.example": 403, "https://friend.example": 200, app.URL(): 200} {
		req, err := http.NewRequest("PUT", app.URL()+"/user/me", strings.NewReader(`{"name":"Eve"}`))
		require.NoError(t, err)
		req.AddCookie(&http.Cookie{Name: "session", Value: v.Token})
		req.Header.Set("Origin", origin)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, status, res.StatusCode, origin)
	}
}

// TestUploads takes pictures as cameras make them, one at a time, in a process
// whose memory is its own.
func TestUploads(t *testing.T) {
	t.Parallel()
	app := startProcess(t, "-db", filepath.Join(t.TempDir(), "uploads.db"), "-memory-limit", "1200MiB")
	v := signUp(t, app.url, "Ada")
	var big bytes.Buffer
	require.NoError(t, jpeg.Encode(&big, image.NewGray(image.Rect(0, 0, 4000, 3000)), nil))
	v.mustDo("PUT", "/media/selfie", big.Bytes(), http.StatusOK)
	// 12 megapixels of 16 bytes; the header is enough to say no.
	deep := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), 4000), 3000)
	deep = append(deep, 16, 6, 0, 0, 0)
	deep = append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), binary.BigEndian.AppendUint32(deep, crc32.ChecksumIEEE(deep))...)
	require.Equal(t, "too_large", v.code("PUT", "/media/selfie", deep, http.StatusRequestEntityTooLarge))

	slow, err := net.Dial("tcp", strings.TrimPrefix(app.url, "http://"))
	require.NoError(t, err)
	defer slow.Close()
	fmt.Fprintf(slow, "PUT /media/selfie HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n", v.Token)
	line, err := bufio.NewReader(slow).ReadString('\n') // sent as the body is asked for
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	v.code("PUT", "/media/selfie", big.Bytes(), http.StatusTooManyRequests)
	signUp(t, app.url, "Ben").mustDo("PUT", "/media/selfie", big.Bytes(), http.StatusOK)
}

// TestProbes gets health checks through when every place is taken, on a
// listener of their own.
func TestProbes(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) { c.probeAddr, c.maxConnections = "127.0.0.1:0", 8 })
	var crowd []net.Conn
	for range 100 {
		if c, err := net.Dial("tcp", strings.TrimPrefix(app.URL(), "http://")); err == nil {
			crowd = append(crowd, c)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/health", "/metrics"} {
		res, err := http.Get("http://" + app.probeListener.Addr().String() + path)
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, http.StatusOK, res.StatusCode, path)
	}
	res, err := http.Get("http://" + app.probeListener.Addr().String() + "/user/me")
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusNotFound, res.StatusCode)
	for _, c := range crowd {
		c.Close()
	}
}
