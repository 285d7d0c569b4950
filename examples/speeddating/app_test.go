package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEvening is the whole platform over real sockets: two people sign up,
// find each other in the queue, talk, share, part, and remember.
func TestEvening(t *testing.T) {
	t.Parallel()
	base := startApp(t).URL()
	evening(t, base, base)
}

// evening is Ada's, who comes to one server, and Ben's, who comes to another
// one, or the same. After a reload Ada is at Ben's.
func evening(t *testing.T, adas, bens string) {
	ada, ben := signUp(t, adas, "Ada"), signUp(t, bens, "Ben")
	a, b := ada.open(), ben.open()
	require.Equal(t, string(ada.ID), a.hello["userId"])
	require.Equal(t, false, a.hello["resumed"])

	a.must("queue:join", nil)
	require.Empty(t, a.expect("queue:snapshot")["cards"])
	b.must("queue:join", nil)
	require.Equal(t, []string{"Ada"}, b.sees())
	require.Equal(t, []string{"Ben"}, a.sees())

	room := meet(t, a, b, 7)
	a.must("rtc:offer", object{"roomId": room, "description": object{"type": "offer", "sdp": testSDP}})
	offer := b.expect("rtc:offer")
	require.Equal(t, string(ada.ID), offer["from"])
	require.NotEmpty(t, offer["at"])
	a.must("room:chat", object{"roomId": room, "text": "hello <b>Ben</b>"})
	require.Equal(t, "hello <b>Ben</b>", b.expect("room:chat")["text"])
	b.must("room:chat", object{"roomId": room, "text": "hello Ada"})
	a.must("room:giveSocial", object{"roomId": room, "socials": object{"instagram": "ada"}})
	require.Equal(t, object{"instagram": "ada"}, b.expect("room:socialShared")["socials"])

	// A reload: the socket goes, another comes, and the partner hears of it.
	a.cut()
	ada.base = bens
	a2 := ada.open()
	require.NotNil(t, a2.hello["call"], "hello knows the call")
	resumed := a2.must("call:resume", object{"roomId": room})
	require.Len(t, resumed["chat"], 2)
	require.Equal(t, true, b.expect("peer:back")["restart"])

	if a2.base != adas { // and the old server knows that the call is with another tab
		b.must("room:chat", object{"roomId": room, "text": "there you are"})
		require.Equal(t, "there you are", a2.expect("room:chat")["text"])
	}
	for _, side := range []*tab{a2, b} {
		end := side.expect("session:finalized")
		require.Equal(t, "time", end["reason"])
		require.InDelta(t, 7, end["durationSeconds"], 1)
	}
	for _, side := range []*visitor{ada, ben} {
		entries := side.mustDo("GET", "/room/history", nil, http.StatusOK)["calls"].([]any)
		require.Len(t, entries, 1)
		require.GreaterOrEqual(t, len(entries[0].(object)["chat"].([]any)), 2)
		me := side.mustDo("GET", "/user/me", nil, http.StatusOK)
		require.EqualValues(t, 1, me["metrics"].(object)["calls"])
	}
	a2.must("queue:join", nil)
	b.must("queue:join", nil)
	a2.fails("cooldown", "call:invite", object{"toUserId": ben.ID, "requestedSeconds": 60})
	require.Eventually(t, func() bool {
		cards := ada.mustDo("GET", "/room/queue", nil, http.StatusOK)["cards"].([]any)
		return len(cards) == 1 && cards[0].(object)["cooldownUntil"] != nil
	}, patience, 50*time.Millisecond)
	live := ada.mustDo("GET", "/stats/live", nil, http.StatusOK)
	require.EqualValues(t, 2, live["onlineUsers"])
	require.EqualValues(t, 0, live["activeCalls"])
}
