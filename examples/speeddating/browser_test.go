package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/bots"
)

// Two people in two browsers: everything that the platform is for, over real
// WebRTC, and a reload in the middle of it.
func TestBrowsersTalk(t *testing.T) {
	t.Parallel()
	base := startApp(t).URL()
	browsersTalk(t, base, base)
}

// browsersTalk has Ada's browser on one server and Ben's on another one, or the
// same.
func browsersTalk(t *testing.T, adas, bens string) {
	const seconds = 30
	ada, ben := openWindow(t, adas, "Ada", ""), openWindow(t, bens, "Ben", "")
	adaID, benID := ada.signUp(), ben.signUp()

	ada.invite("Ben", seconds)
	ada.visible("#wait")
	ben.visible("#incoming")
	ben.slide("#incoming-range", seconds)
	require.Contains(t, ben.text("#incoming-agreed"), fmt.Sprint(seconds))
	ben.click("#incoming button[type=submit]")
	ada.screen("call")
	ben.screen("call")
	began := time.Now()
	ada.moving()
	ben.moving()

	ada.chat("Hello Ben!")
	ben.reads("Hello Ben!", false)
	ben.chat(`<b onclick="alert(1)">Hello Ada!</b>`)
	ada.reads(`<b onclick="alert(1)">Hello Ada!</b>`, false)
	ada.reads("Hello Ben!", true)

	ben.clean()
	ben.reload() // and back into the same call, with its chat, by itself
	ben.screen("call")
	ben.reads("Hello Ben!", false)
	ben.moving()
	ada.moving()
	require.Equal(t, "Connected", ben.text("#call-state"))
	ben.chat("I am back.")
	ada.reads("I am back.", false)
	t.Logf("back in the call with picture after %v", time.Since(began).Round(time.Millisecond))

	ada.within(seconds*time.Second+patience, `document.querySelector('[data-screen=after]').checkVisibility()`)
	ben.screen("after")
	require.GreaterOrEqual(t, time.Since(began), (seconds-2)*time.Second)
	require.Contains(t, ada.text("#after-text"), "Your time was up.")
	require.Contains(t, ben.text("#after-text"), "Your time was up.")

	for _, side := range []struct {
		*window
		other, otherID string
	}{{ada, "Ben", benID}, {ben, "Ada", adaID}} {
		calls := side.history()
		require.Len(t, calls, 1)
		require.Equal(t, side.otherID, calls[0].WithUserID)
		require.InDelta(t, seconds, calls[0].DurationSeconds, 1)
		require.Len(t, calls[0].Chat, 3)

		side.click("#after-back")
		side.screen("people")
	}
	for _, side := range []struct {
		*window
		other string
	}{{ada, "Ben"}, {ben, "Ada"}} {
		side.until(fmt.Sprintf(`[...document.querySelectorAll('.person.met')].some((p) => p.innerText.includes(%q) && p.innerText.includes('Again in 24 h') && p.querySelector('button').disabled)`, side.other))
		side.click(`#tabs a[href="#history"]`)
		side.click("#talks summary")
		side.until(fmt.Sprintf(`(() => { const t = document.querySelector('#talks .talk'); return t.innerText.includes(%q) && t.innerText.includes('I am back.') })()`, side.other))
		side.clean()
	}
}

// One person alone with a bot has a call with picture and chat, and comes back
// into it. A bot likes to talk for minutes, so here the person ends it.
func TestBrowserAndBot(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	const seconds = 45
	ctx, sendHome := context.WithCancel(t.Context())
	crowd := make(chan error, 1)
	go func() {
		crowd <- bots.Run(ctx, bots.Options{BaseURL: a.URL(), N: 2, Busy: -1, Patience: time.Hour, Hesitation: 300 * time.Millisecond, Wish: seconds * time.Second})
	}()
	defer func() {
		sendHome()
		require.NoError(t, <-crowd)
	}()

	ada := openWindow(t, a.URL(), "Ada", "")
	ada.signUp()
	ada.until(`document.querySelectorAll('.person button:enabled').length === 2`)
	name := ada.text(".person h2")
	ada.invite(name, seconds)
	ada.screen("call")
	began := time.Now()
	ada.moving()
	ada.chat("Hello!")
	ada.reads("Hello!", true)
	ada.until(`document.querySelector('#chat-log .line:not(.mine)') !== null`) // bots are polite
	ada.clean()
	ada.reload()
	ada.screen("call")
	ada.reads("Hello!", true)
	ada.moving()
	ada.within(seconds*time.Second+patience, `document.querySelector('[data-screen=after]').checkVisibility()`)
	require.GreaterOrEqual(t, time.Since(began), (seconds-2)*time.Second)
	require.Contains(t, ada.text("#after-text"), "Your time was up.")
	calls := ada.history()
	require.Len(t, calls, 1)
	require.GreaterOrEqual(t, len(calls[0].Chat), 2)
	ada.click("#after-back")
	ada.until(fmt.Sprintf(`document.querySelector('.person.met')?.innerText.includes(%q) && document.querySelector('.person.met button').disabled`, name))
	ada.clean()
}

type pastCall struct {
	WithUserID      string           `json:"withUserId"`
	DurationSeconds int              `json:"durationSeconds"`
	Chat            []map[string]any `json:"chat"`
}

// history is what the server kept for this person.
func (w *window) history() []pastCall {
	w.t.Helper()
	raw := w.eval(`fetch('/room/history').then((r) => r.text())`).(string)
	var page struct {
		Calls []pastCall `json:"calls"`
	}
	require.NoError(w.t, json.Unmarshal([]byte(raw), &page), raw)
	return page.Calls
}
