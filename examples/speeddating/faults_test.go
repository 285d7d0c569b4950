package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// The faults of the service that this platform replaces, each attacked over
// real sockets. The numbers are those of the list in docs/architecture.md.

// 1: one request with a number as name, or one event without a payload from a
// stranger, stopped the process.
func TestFault01MalformedInputStopsNothing(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	nobody := &visitor{t: t, base: app.URL()}
	for _, body := range []string{
		`{"name":5,"gender":"female"}`, `{"name":null}`, `{}`, `[]`, `"x"`, `7`, `{`, ``, `{"name":"A","gender":"female","x":1}`,
		`{"name":{"a":1},"gender":[]}`, `{"name":"` + strings.Repeat("x", 20<<10) + `"}`, `{"name":"A","gender":"female"}{}`, "\x00\xff",
	} {
		status, answer, _ := nobody.do("POST", "/auth/guest", body)
		require.True(t, status >= 400 && status < 500, "%.40q: %d %s", body, status, answer)
		require.Contains(t, string(answer), `"code"`)
	}
	_, res, err := nobody.tryOpen("")
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)

	v := signUp(t, app.URL(), "Eve").open()
	for _, kind := range []string{"queue:more", "call:invite", "call:accept", "call:decline", "call:extend-wait", "call:rescind",
		"call:resume", "rtc:offer", "rtc:answer", "rtc:ice", "room:chat", "room:giveSocial", "call:end", "nonsense", ""} {
		for _, data := range []string{"", `,"data":null`, `,"data":5`, `,"data":[]`, `,"data":{"roomId":7}`, `,"data":{"inviteId":{}}`} {
			v.raw(fmt.Sprintf(`{"type":%q%s}`, kind, data))
		}
		time.Sleep(60 * time.Millisecond) // stay below the rate limit
		_, code := v.ask(kind, nil)
		require.NotEmpty(t, code, kind)
	}
	v.must("ping", nil)
	alive(t, app.URL())
}

// 2: a closed tab stayed online for ever and kept its slot; at the limit
// nobody could connect until a restart.
func TestFault02ClosedTabsFreeTheirPlaces(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) { c.maxConnections = 4 })
	var tabs []*tab
	for i := range 4 {
		tabs = append(tabs, signUp(t, app.URL(), fmt.Sprint("p", i)).open())
	}
	late := signUp(t, app.URL(), "late")
	_, res, err := late.tryOpen("")
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	for i, b := range tabs {
		if i%2 == 0 {
			b.bye()
		} else {
			b.cut()
		}
	}
	require.Eventually(t, func() bool {
		b, _, err := late.tryOpen("")
		if err == nil {
			b.ws.Close()
		}
		return err == nil
	}, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		return late.mustDo("GET", "/stats/live", nil, http.StatusOK)["onlineUsers"].(float64) == 0
	}, patience, 100*time.Millisecond, "after the grace nobody is online")
}

// 3: the third socket of a user evicted the oldest only in a counter.
func TestFault03ThirdSocketReallyClosesTheOldest(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	v := signUp(t, app.URL(), "Tab")
	first, second := v.open(), v.open()
	third := v.open()
	require.Equal(t, 4001, first.closed())
	second.must("ping", nil)
	third.must("ping", nil)
	require.Eventually(t, func() bool {
		s := app.conns.Stats()
		return s.Conns == 2 && s.Closing == 0 && s.Evicted == 1 && s.Released == 1
	}, patience, 10*time.Millisecond, "the end of the evicted is counted once")
}

// 4: any user could join any room, read it and end it; a socket without a
// session could inject offers; anyone could accept for the callee.
func TestFault04OnlyMembersTouchACall(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	a, b, eve := signUp(t, app.URL(), "A").open(), signUp(t, app.URL(), "B").open(), signUp(t, app.URL(), "Eve").open()
	a.must("queue:join", nil)
	b.must("queue:join", nil)
	invite := a.must("call:invite", object{"toUserId": b.ID, "requestedSeconds": 60})
	for _, thief := range []*tab{eve, a} {
		_, code := thief.ask("call:accept", object{"inviteId": invite["inviteId"], "requestedSeconds": 60})
		require.Contains(t, []string{"forbidden", "not_found"}, code)
		_, code = thief.ask("call:decline", object{"inviteId": invite["inviteId"]})
		require.Contains(t, []string{"forbidden", "not_found"}, code)
	}
	b.must("call:accept", object{"inviteId": invite["inviteId"], "requestedSeconds": 60})
	room := a.expect("call:start")["roomId"]
	for kind, data := range map[string]object{
		"room:chat":       {"roomId": room, "text": "hi"},
		"room:giveSocial": {"roomId": room, "socials": object{"x": "y"}},
		"call:end":        {"roomId": room},
		"call:resume":     {"roomId": room},
		"rtc:offer":       {"roomId": room, "description": object{"type": "offer", "sdp": testSDP}},
		"rtc:ice":         {"roomId": room, "candidate": object{"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0"}},
	} {
		_, code := eve.ask(kind, data)
		require.Contains(t, []string{"forbidden", "not_found", "not_in_room"}, code, kind)
	}
	a.must("room:chat", object{"roomId": room, "text": "only us"})
	require.Equal(t, "only us", b.expect("room:chat")["text"])
	eve.must("ping", nil)
	for _, kind := range []string{"room:chat", "rtc:offer", "rtc:ice", "session:finalized"} {
		require.False(t, eve.seen(kind), kind)
		require.False(t, b.seen(kind), kind)
	}
}

// testSDP is a description that a relay should accept.
const testSDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n"

// 5: admin routes were open to every guest; four throw-away guests could ban
// anyone; a ban did not close open sockets.
func TestFault05AdminAndReports(t *testing.T) {
	t.Parallel()
	closed := startApp(t)
	guest := signUp(t, closed.URL(), "G")
	require.Equal(t, "not_found", guest.code("GET", "/admin/review", nil, http.StatusNotFound))

	app := startApp(t, func(c *config) {
		c.adminToken, c.maxPerUser = "correct-horse", 4
		c.rules.CallCounts = 50 * time.Millisecond
	})
	guest = signUp(t, app.URL(), "G")
	require.Equal(t, "unauthenticated", guest.code("GET", "/admin/review", nil, http.StatusUnauthorized))
	victim := signUp(t, app.URL(), "Victim")
	for i := range 6 {
		g := signUp(t, app.URL(), fmt.Sprint("throwaway", i))
		require.Equal(t, "forbidden", g.code("POST", "/report", object{"userId": victim.ID, "reason": "x"}, http.StatusForbidden))
	}
	v := victim.open()
	for i := range 4 {
		caller := signUp(t, app.URL(), fmt.Sprint("talker", i))
		c := caller.open()
		room := meet(t, c, v, 60)
		time.Sleep(100 * time.Millisecond)
		c.must("call:end", object{"roomId": room})
		v.expect("session:finalized")
		caller.mustDo("POST", "/report", object{"userId": victim.ID, "reason": "rude"}, http.StatusNoContent)
		require.Equal(t, "conflict", caller.code("POST", "/report", object{"userId": victim.ID, "reason": "again"}, http.StatusConflict))
		c.bye()
	}
	require.Equal(t, 4003, v.closed(), "the fourth reporter closes the socket")
	admin := &visitor{t: t, base: app.URL(), Token: "correct-horse"}
	cases := admin.mustDo("GET", "/admin/review", nil, http.StatusOK)["cases"].([]any)
	require.Len(t, cases, 1)
	require.Len(t, cases[0].(object)["reports"], 4)
	admin.mustDo("POST", "/admin/review", object{"userId": victim.ID, "decision": "clear"}, http.StatusNoContent)
	victim.open().must("queue:join", nil)
}

// 6: X-Forwarded-For was believed from anyone.
func TestFault06ForwardedForOnlyFromProxies(t *testing.T) {
	t.Parallel()
	open := func(app *app, i int) (*websocket.Conn, *http.Response, error) {
		v := signUp(t, app.URL(), fmt.Sprint("x", i))
		h := dialHeader(v.Token)
		h.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		return websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(app.URL(), "http")+"/ws", h)
	}
	limited := startApp(t, func(c *config) { c.maxPerAddr = 2 })
	behind := startApp(t, func(c *config) {
		c.maxPerAddr = 2
		c.trustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for i := range 4 {
		ws, res, err := open(limited, i)
		if i < 2 {
			require.NoError(t, err)
			defer ws.Close()
		} else {
			require.Error(t, err)
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		}
		ws, _, err = open(behind, i)
		require.NoError(t, err, "a proxy's word counts")
		defer ws.Close()
	}
}

// 7: an old token went on working after a login elsewhere; an uploaded HTML
// file was served as HTML.
func TestFault07OldTokensAndUploads(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	v := signUp(t, app.URL(), "Ann")
	guest := *v
	v.adopt(v.mustDo("POST", "/auth/link", object{"email": "ann@example.org", "password": "long enough"}, http.StatusOK))
	require.Equal(t, "unauthenticated", guest.code("GET", "/user/me", nil, http.StatusUnauthorized))
	old := *v
	socket := v.open()
	v.Token = ""
	v.adopt(v.mustDo("POST", "/auth/login", object{"email": "ann@example.org", "password": "long enough"}, http.StatusOK))
	require.Equal(t, 4002, socket.closed())
	require.Equal(t, "unauthenticated", old.code("GET", "/user/me", nil, http.StatusUnauthorized))
	_, res, err := old.tryOpen("")
	require.Error(t, err)
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	v.open()

	for _, bad := range [][]byte{
		[]byte("<html><script>alert(1)</script></html>"), []byte("GIF89a<script>"), bytes.Repeat([]byte{0xff, 0xd8, 0xff}, 1000), {},
	} {
		status, answer, _ := v.do("PUT", "/media/selfie", bad)
		require.True(t, status >= 400 && status < 500, "%d %s", status, answer)
	}
	status, _, _ := v.do("PUT", "/media/selfie", make([]byte, 3<<20))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	var picture bytes.Buffer
	require.NoError(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 700, 500))))
	polyglot := append(picture.Bytes(), "<script>alert(1)</script>"...)
	url := v.mustDo("PUT", "/media/selfie", polyglot, http.StatusOK)["selfieUrl"].(string)
	status, body, header := v.do("GET", url, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "image/jpeg", header.Get("Content-Type"))
	require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
	require.NotContains(t, string(body), "script")
}

// 8: half of all histories were lost; two calls that ended in the same
// millisecond mixed their chats; a call ended by both sides counted twice.
func TestFault08HistoriesInPairs(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) { c.rules.CallCounts = 50 * time.Millisecond })
	const pairs = 10
	var tabs [pairs][2]*tab
	var rooms [pairs]string
	for i := range pairs {
		tabs[i] = [2]*tab{signUp(t, app.URL(), fmt.Sprint("a", i)).open(), signUp(t, app.URL(), fmt.Sprint("b", i)).open()}
		rooms[i] = meet(t, tabs[i][0], tabs[i][1], 60)
		tabs[i][0].must("room:chat", object{"roomId": rooms[i], "text": fmt.Sprint("chat of ", i)})
	}
	time.Sleep(100 * time.Millisecond)
	var all sync.WaitGroup
	for i := range pairs {
		for _, side := range tabs[i] { // both end it, all at once
			all.Go(func() { side.raw(fmt.Sprintf(`{"type":"call:end","data":{"roomId":%q}}`, rooms[i])) })
		}
	}
	all.Wait()
	for i := range pairs {
		for _, side := range tabs[i] {
			side.expect("session:finalized")
			entries := side.mustDo("GET", "/room/history", nil, http.StatusOK)["calls"].([]any)
			require.Len(t, entries, 1)
			entry := entries[0].(object)
			require.Equal(t, rooms[i], entry["roomId"])
			chat := entry["chat"].([]any)
			require.Len(t, chat, 1)
			require.Equal(t, fmt.Sprint("chat of ", i), chat[0].(object)["text"])
			me := side.mustDo("GET", "/user/me", nil, http.StatusOK)
			require.EqualValues(t, 1, me["metrics"].(object)["calls"])
		}
	}
}

// 9: invites never expired; a person could be in several calls; closing one
// of two tabs took the user offline.
func TestFault09InvitesExpireAndTabsAreCounted(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) { c.rules.InviteFor = 500 * time.Millisecond })
	a, b, c := signUp(t, app.URL(), "A").open(), signUp(t, app.URL(), "B").open(), signUp(t, app.URL(), "C").open()
	for _, who := range []*tab{a, b, c} {
		who.must("queue:join", nil)
	}
	invite := a.must("call:invite", object{"toUserId": b.ID, "requestedSeconds": 60})
	b.expect("call:notify")
	c.fails("busy", "call:invite", object{"toUserId": b.ID, "requestedSeconds": 60})
	a.expect("call:expired")
	b.expect("call:expired")
	b.fails("not_found", "call:accept", object{"inviteId": invite["inviteId"], "requestedSeconds": 60})

	room := meet(t, a, b, 60)
	c.fails("busy", "call:invite", object{"toUserId": a.ID, "requestedSeconds": 60})
	a.fails("busy", "call:invite", object{"toUserId": c.ID, "requestedSeconds": 60})

	second := c.visitor.open()
	c.bye()
	second.must("queue:join", nil)
	time.Sleep(300 * time.Millisecond)
	require.EqualValues(t, 3, second.mustDo("GET", "/stats/live", nil, http.StatusOK)["onlineUsers"])
	a.must("call:end", object{"roomId": room})
}

// 10: reading the queue cost one statement per person; every change went to
// everybody.
func TestFault10QueueReadsCostNothing(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	var tabs []*tab
	for i := range 12 {
		b := signUp(t, app.URL(), fmt.Sprint("q", i)).open()
		b.must("queue:join", nil)
		tabs = append(tabs, b)
	}
	idle := signUp(t, app.URL(), "idle").open() // looks at no queue
	for _, b := range tabs {
		b.mustDo("GET", "/room/queue", nil, http.StatusOK)
	}
	before := app.platform.Stats().Store.Statements
	for range 20 {
		for _, b := range tabs {
			b.mustDo("GET", "/room/queue", nil, http.StatusOK)
		}
	}
	// Beats of the node may fall into this second; reads may not.
	require.LessOrEqual(t, app.platform.Stats().Store.Statements-before, uint64(5), "240 warm reads")

	etag := func() string {
		_, _, h := tabs[0].do("GET", "/room/queue", nil)
		return h.Get("ETag")
	}
	require.NotEmpty(t, etag())
	require.Equal(t, etag(), etag())
	idle.must("ping", nil)
	require.False(t, idle.seen("queue:update"), "who does not look hears nothing")
}

// 11: the cache was never asked; sessions, history and rooms grew for ever;
// the sweep tested a field that did not exist.
func TestFault11CachesHitAndSweepsArchive(t *testing.T) {
	t.Parallel()
	app := startApp(t, func(c *config) {
		c.rules.CallCounts, c.rules.HistoryFor = 50*time.Millisecond, 100*time.Millisecond
	})
	a, b := signUp(t, app.URL(), "A").open(), signUp(t, app.URL(), "B").open()
	room := meet(t, a, b, 60)
	time.Sleep(100 * time.Millisecond)
	a.must("call:end", object{"roomId": room})
	a.expect("session:finalized")
	for range 50 {
		a.mustDo("GET", "/user/me", nil, http.StatusOK)
	}
	_, body, _ := a.do("GET", "/health", nil)
	require.Contains(t, string(body), `"hits"`)
	time.Sleep(150 * time.Millisecond)
	result, err := app.memory.SweepNow(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, result.Archived, "both sides' histories")
	for _, side := range []*tab{a, b} {
		entries := side.mustDo("GET", "/room/history", nil, http.StatusOK)["calls"].([]any)
		require.Len(t, entries, 1, "live and archived alike")
	}
}
