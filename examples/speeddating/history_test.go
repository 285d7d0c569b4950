package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A page of a history may be large, so it is asked for with what it may cost;
// where that is not left, smaller requests still get through.
func TestHistoryReservesItsPage(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	v := signUp(t, app.URL(), "Ann")
	requests := app.memory.Account("requests")
	var held int64
	for size := int64(1 << 40); size >= 64<<10; size /= 2 {
		for requests.Reserve(size) == nil {
			held += size
		}
	}
	requests.Release(512 << 10)
	require.Equal(t, "busy_server", v.code("GET", "/room/history", nil, http.StatusServiceUnavailable))
	v.mustDo("GET", "/user/me", nil, http.StatusOK)
	v.mustDo("GET", "/room/queue", nil, http.StatusOK)
	requests.Release(held - 512<<10)
	v.mustDo("GET", "/room/history", nil, http.StatusOK)
}

// A window's entity tag is of no use to another viewer.
func TestQueueTagIsTheViewers(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	tag := func(v *visitor, known string) (int, string) {
		req, err := http.NewRequest("GET", app.URL()+"/room/queue", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+v.Token)
		req.Header.Set("If-None-Match", known)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode, res.Header.Get("ETag")
	}
	a, b := signUp(t, app.URL(), "A"), signUp(t, app.URL(), "B")
	status, as := tag(a, "")
	require.Equal(t, http.StatusOK, status)
	status, _ = tag(a, as)
	require.Equal(t, http.StatusNotModified, status)
	status, _ = tag(b, as)
	require.Equal(t, http.StatusOK, status)
}
