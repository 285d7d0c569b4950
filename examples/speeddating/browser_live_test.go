package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

const adminToken = "the admin's token"

// Without a token there is nothing under /admin; with one it opens the door,
// and nothing else does.
func TestAdminDoor(t *testing.T) {
	t.Parallel()
	closed, open := startApp(t), startApp(t, func(c *config) { c.adminToken = adminToken })
	ask := func(base, method, path, body string, head ...string) *http.Response {
		t.Helper()
		return answered(t, method, base+path, body, head...)
	}
	for _, path := range []string{"/admin/live", "/admin/live.js", "/admin/session", "/admin/ws", "/admin/review"} {
		require.Equal(t, 404, ask(closed.URL(), "GET", path, "").StatusCode, path)
	}
	require.Equal(t, 404, ask(closed.URL(), "POST", "/admin/session", `{"token":""}`).StatusCode)
	require.Equal(t, 200, ask(open.URL(), "GET", "/admin/live", "").StatusCode)
	for _, path := range []string{"/admin/session", "/admin/ws", "/admin/review"} {
		require.Equal(t, 401, ask(open.URL(), "GET", path, "").StatusCode, path)
		require.Equal(t, 401, ask(open.URL(), "GET", path, "", "Cookie", "admin=AAAA").StatusCode, path)
		require.Equal(t, 401, ask(open.URL(), "GET", path, "", "Authorization", "Bearer x").StatusCode, path)
	}
	require.Equal(t, 204, ask(open.URL(), "GET", "/admin/session", "", "Authorization", "Bearer "+adminToken).StatusCode)
	require.Equal(t, 401, ask(open.URL(), "POST", "/admin/session", `{"token":"guess"}`).StatusCode)
	entered := ask(open.URL(), "POST", "/admin/session", fmt.Sprintf(`{"token":%q}`, adminToken))
	require.Equal(t, 204, entered.StatusCode)
	cookie := entered.Cookies()[0]
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.Equal(t, 204, ask(open.URL(), "GET", "/admin/session", "", "Cookie", "admin="+cookie.Value).StatusCode)
	flipped := map[bool]string{true: "B", false: "C"}[cookie.Value[9] != 'B']
	forged := cookie.Value[:9] + flipped + cookie.Value[10:]
	require.Equal(t, 401, ask(open.URL(), "GET", "/admin/session", "", "Cookie", "admin="+forged).StatusCode)
	for range 30 {
		ask(open.URL(), "POST", "/admin/session", `{"token":"guess"}`)
	}
	require.Equal(t, 429, ask(open.URL(), "POST", "/admin/session", `{"token":"guess"}`).StatusCode)
}

// answered is the answer to a request with these header fields, names and
// values.
func answered(t *testing.T, method, url, body string, head ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res
}

// Guesses by header are limited like log-ins; what is right, and what is no
// guess, uses none of them.
func TestAdminTokenGuesses(t *testing.T) {
	t.Parallel()
	a := startApp(t, func(c *config) {
		c.adminToken, c.trustedProxies = adminToken, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	ask := func(addr string, head ...string) *http.Response {
		t.Helper()
		return answered(t, "GET", a.URL()+"/admin/session", "", append(head, "X-Forwarded-For", addr)...)
	}
	const own, other = "192.0.2.1", "192.0.2.2"
	for range 30 {
		require.Equal(t, 204, ask(own, "Authorization", "Bearer "+adminToken).StatusCode)
		require.Equal(t, 401, ask(own).StatusCode)
		require.Equal(t, 401, ask(own, "Cookie", "session="+adminToken).StatusCode)
	}
	wrong := 0
	for ; ask(own, "Authorization", fmt.Sprint("Bearer ", wrong)).StatusCode == 401; wrong++ {
		require.Less(t, wrong, 12)
	}
	require.GreaterOrEqual(t, wrong, 10)
	refused := ask(own, "Authorization", "Bearer "+adminToken) // or guessing would go on
	require.Equal(t, 429, refused.StatusCode)
	require.Regexp(t, `^[1-5]$`, refused.Header.Get("Retry-After"))
	require.Equal(t, 204, ask(other, "Authorization", "Bearer "+adminToken).StatusCode)
}

// The dashboard tells what holds the memory, and what happened when it was
// tight.
func TestDashboard(t *testing.T) {
	t.Parallel()
	a := startApp(t, func(c *config) { c.adminToken = adminToken })
	for i := range 3 {
		signUp(t, a.URL(), fmt.Sprintf("Person %d", i)).open().must("queue:join", nil)
	}
	w := openWindow(t, a.URL(), "Admin", "")
	w.open("/admin/live")
	w.visible("#enter")
	w.write("#enter [name=token]", "a guess")
	w.click("#enter button")
	w.visible("#enter .wrong")
	w.look("the admin's door")
	w.write("#enter [name=token]", adminToken)
	w.click("#enter button")
	w.visible("#board")
	w.until(`document.querySelector('#v-sockets').textContent === '3' && document.querySelector('#v-free').textContent === '3'`)
	w.until(`document.querySelector('#level').textContent === 'normal'`)
	accounts := len(a.memory.Stats().Accounts)
	require.Equal(t, fmt.Sprint(accounts), fmt.Sprint(w.eval(`document.querySelectorAll('#accounts tbody tr').length`)))
	w.look("the dashboard")

	// Somebody fills what all share.
	people := a.memory.Account("people")
	m := a.memory.Stats()
	var held int64
	for _, name := range []string{"people", "queues", "connections", "requests"} {
		account := a.memory.Account(name)
		for step := int64(1 << 20); account.Reserve(step) == nil; held += step {
			t.Cleanup(func() { account.Release(step) })
			if float64(held) > 0.82*float64(m.Budget) {
				break
			}
		}
	}
	require.Error(t, people.Reserve(m.Budget))
	w.until(`['2', '3'].includes(document.querySelector('#level').dataset.level)`)
	w.until(`document.querySelector('#events').textContent.includes('The level is')`)
	w.until(`document.querySelector('#events').textContent.includes('gave back')`)
	w.until(`document.querySelector('#events').textContent.includes('Refused: people')`)
	w.look("the dashboard when it is tight")
	w.click(`[data-span=hour]`)
	w.click(`[data-scale=fit]`)
	w.until(fmt.Sprintf(`document.querySelectorAll('#past path').length === %d`, accounts+1)) // and their sum
	require.GreaterOrEqual(t, a.memory.Stats().Level, memmgr.High)

	// It can be looked at while it is tight, and a page that is opened anew
	// knows what was.
	w.reload()
	w.visible("#board")
	w.until(`document.querySelector('#events').textContent.includes('gave back')`)
	w.within(10*time.Second, `document.querySelector('#link').textContent === 'live'`)
	w.clean()
}
