package main

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/internal/pgtest"
	"github.com/plimsoll-go/plimsoll/internal/redistest"
)

// servers starts n servers on one PostgreSQL and one Redis.
func servers(t *testing.T, n int, change ...func(*config)) (apps []*app, rds *redistest.Server) {
	t.Helper()
	rds = redistest.New(t)
	pg := pgtest.New(t)
	db := pg.Database(t)
	for range n {
		apps = append(apps, startApp(t, append(change, func(c *config) { c.db, c.redis = db, rds.URL() })...))
	}
	return apps, rds
}

// Two people on different servers do everything that two on one can.
func TestEveningOnTwoServers(t *testing.T) {
	apps, _ := servers(t, 2)
	evening(t, apps[0].URL(), apps[1].URL())
}

// The same in two browsers, with moving pictures.
func TestBrowsersOnTwoServers(t *testing.T) {
	chromium(t)
	apps, _ := servers(t, 2)
	browsersTalk(t, apps[0].URL(), apps[1].URL())
}

// What is said of a person on one server holds on all: two sockets, the end of a
// session, a ban.
func TestRulesHoldOnAllServers(t *testing.T) {
	apps, _ := servers(t, 3, func(c *config) { c.adminToken = "secret" })
	at := func(v *visitor, i int) *visitor { o := *v; o.base = apps[i].URL(); return &o }
	ada := signUp(t, apps[0].URL(), "Ada")
	one, two := ada.open(), at(ada, 1).open()
	at(ada, 2).open()
	require.Equal(t, 4001, one.closed(), "the oldest of three sockets, on another server")
	at(ada, 0).open()
	require.Equal(t, 4001, two.closed())

	ben := signUp(t, apps[0].URL(), "Ben")
	ben.adopt(ben.mustDo("POST", "/auth/link", object{"email": "ben@example.com", "password": "long enough"}, http.StatusOK))
	there := at(ben, 1).open()
	at(ben, 2).mustDo("POST", "/auth/login", object{"email": "ben@example.com", "password": "long enough"}, http.StatusOK)
	require.Equal(t, 4002, there.closed(), "a login on a third server")
	require.Eventually(t, func() bool {
		status, _, _ := at(ben, 0).do("GET", "/user/me", nil)
		return status == http.StatusUnauthorized
	}, patience, time.Millisecond, "the old token is refused everywhere")

	cat := signUp(t, apps[0].URL(), "Cat")
	tab := at(cat, 1).open()
	admin := &visitor{t: t, base: apps[2].URL(), Token: "secret"}
	admin.mustDo("POST", "/admin/review", object{"userId": cat.ID, "decision": "ban"}, http.StatusNoContent)
	require.Equal(t, 4003, tab.closed())
}

// A server that stops sends its people to the others, with a hint, and they find
// their call there: also the one that the server itself had begun.
func TestDrainMovesCalls(t *testing.T) {
	apps, _ := servers(t, 3)
	ada, ben := signUp(t, apps[0].URL(), "Ada"), signUp(t, apps[1].URL(), "Ben")
	a, b := ada.open(), ben.open()
	room := meet(t, a, b, 300)
	a.must("room:chat", object{"roomId": room, "text": "one"})
	b.expect("room:chat")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, apps[0].Shutdown(ctx))
	require.Equal(t, 1012, a.closed())
	require.Contains(t, a.end.Error(), "retry-after=")
	require.False(t, a.seen("session:finalized"))

	ada.base = apps[2].URL()
	a = ada.open()
	require.Equal(t, room, a.hello["call"].(object)["roomId"])
	view := a.must("call:resume", object{"roomId": room})
	require.Len(t, view["chat"], 1)
	require.Equal(t, true, b.expect("peer:back")["restart"])
	a.must("rtc:offer", object{"roomId": room, "description": object{"type": "offer", "sdp": testSDP}})
	offer := b.expect("rtc:offer")
	b.must("rtc:answer", object{"roomId": room, "offer": offer["offer"], "description": object{"type": "answer", "sdp": testSDP}})
	a.expect("rtc:answer")
	b.must("room:chat", object{"roomId": room, "text": "two"})
	require.Equal(t, "two", a.expect("room:chat")["text"])
	require.False(t, b.seen("session:finalized"))
	b.must("call:end", object{"roomId": room})
	require.Equal(t, room, a.expect("session:finalized")["roomId"])
}

// While Redis is away a server says so, refuses what needs it, and lets the
// calls of its own go on; then all is as it was.
func TestRedisIsAway(t *testing.T) {
	apps, rds := servers(t, 2)
	ada, ben := signUp(t, apps[0].URL(), "Ada"), signUp(t, apps[0].URL(), "Ben")
	a, b := ada.open(), ben.open()
	cat, dan := signUp(t, apps[1].URL(), "Cat").open(), signUp(t, apps[0].URL(), "Dan").open()
	room := meet(t, a, b, 300)
	dan.must("queue:join", nil)
	cat.must("queue:join", nil)
	for !slices.Contains(cat.sees(), "Dan") {
	}
	rds.Pause(t)
	ready := func(base string) int {
		res, err := http.Get(base + "/readyz")
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	require.Eventually(t, func() bool { return ready(apps[0].URL()) == http.StatusServiceUnavailable }, patience, 20*time.Millisecond)
	a.must("room:chat", object{"roomId": room, "text": "we go on"})
	require.Equal(t, "we go on", b.expect("room:chat")["text"])
	a.must("rtc:offer", object{"roomId": room, "description": object{"type": "offer", "sdp": testSDP}})
	b.expect("rtc:offer")
	cat.fails("unavailable", "call:invite", object{"toUserId": dan.ID, "requestedSeconds": 60})
	rds.Resume(t)
	back := time.Now()
	require.Eventually(t, func() bool { return ready(apps[0].URL()) == http.StatusOK }, patience, 5*time.Millisecond)
	cat.must("call:invite", object{"toUserId": dan.ID, "requestedSeconds": 60})
	dan.expect("call:notify")
	t.Logf("back %v after the end of the fault", time.Since(back).Round(time.Millisecond))
}
