package main

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A person makes the place their own: picture, name, contacts, account, a link
// for a friend; and after a call shares nothing, but reports.
func TestPageSettings(t *testing.T) {
	t.Parallel()
	a := startApp(t, func(c *config) { c.rules.CallCounts = time.Millisecond })
	w := openWindow(t, a.URL(), "Ada", "")
	w.signUp()
	me := func(field string) any {
		return w.eval(`fetch('/user/me').then((r) => r.json()).then((me) => me.` + field + `)`)
	}
	w.click(`#tabs a[href="#settings"]`)

	w.click("#profile-picture")
	w.click("#shot-camera")
	w.click("#shot-take")
	w.click("#shot-keep")
	w.screen("settings")
	require.NotEmpty(t, me("selfieUrl"))
	w.until(`document.querySelector('#profile-face img')?.naturalWidth > 0`)

	w.write("#profile [name=name]", " Lovelace")
	w.click("#profile button[type=submit]")
	w.announces("Saved.")
	require.Equal(t, "Ada Lovelace", me("name"))

	w.write("#socials [name=instagram]", "@ada")
	w.click("#socials button[type=submit]")
	w.until(`fetch('/user/me').then((r) => r.json()).then((me) => me.socials.instagram === '@ada')`)

	w.write("#account [name=email]", "ada@example.org")
	w.write("#account [name=password]", "short")
	w.click("#account button[type=submit]")
	w.says("#account .wrong", "eight characters")
	w.write("#account [name=password]", " but longer now")
	w.click("#account button[type=submit]")
	w.says("#account-text", "You log in with ada@example.org.")

	w.click("#intro-make")
	w.visible("#intro-link")
	link, err := url.Parse(w.eval(`document.querySelector('#intro-link').value`).(string))
	require.NoError(t, err)
	code := link.Query().Get("intro")
	ben := &visitor{t: t, base: a.URL(), Name: "Ben"}
	ben.adopt(ben.mustDo("POST", "/auth/guest", object{"name": "Ben", "gender": "male", "introCode": code}, 201))
	tab := ben.open()
	tab.must("queue:join", nil)
	w.click(`#tabs a[href="#people"]`)
	w.says(".person .by", "Introduced by Ada Lovelace")

	id := me("userId")
	tab.must("call:invite", object{"toUserId": id, "requestedSeconds": 60})
	w.click("#incoming button[type=submit]")
	w.screen("call")
	room := tab.expect("call:start")["roomId"]
	w.click("#share")
	w.says("#share-list", "@ada")
	w.click("#share-form button[type=submit]")
	require.Equal(t, object{"instagram": "@ada"}, tab.expect("room:socialShared")["socials"])
	tab.must("call:end", object{"roomId": room})
	w.screen("after")
	require.Contains(t, w.text("#after-text"), "Ben ended the conversation.")
	w.says("#after-socials", "@ada")
	w.click("#after-report")
	w.write("#report-reason", "He sold me a bridge.")
	w.click("#report-form button[type=submit]")
	w.announces("The report has been sent.")
	w.click("#after-back")
	tab.must("queue:join", nil)
	w.until(`document.querySelectorAll('.person').length === 0`) // whom one has reported one does not see

	w.click(`#tabs a[href="#settings"]`)
	w.click("#logout")
	w.screen("landing")
	require.EqualValues(t, 401, w.eval(`fetch('/user/me').then((r) => r.status)`))
	w.clean()
}
