package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// chromium finds the browser. Without one a test is skipped loudly on a
// user's machine and fails where CI is set.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium: CI must install it (Debian: apt-get install chromium)")
	}
	t.Skip("SKIPPED: no Chromium on this machine, so nothing is known about the page in a real browser; install chromium or set CHROMIUM")
	return ""
}

// window is one page in a browser with a profile of its own.
type window struct {
	t    *testing.T
	ctx  context.Context
	base string
	name string
}

// openWindow starts a browser with an empty profile. camera is a motion JPEG
// to use for one; without it Chromium's own moving test picture is.
func openWindow(t *testing.T, base, name, camera string) *window {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("mute-audio", true),
		chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true),
		// Candidates carry the loopback address and no .local name, which
		// nothing resolves in a container.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,WebRtcHideLocalIpsWithMdns"),
		chromedp.Flag("allow-loopback-in-peer-connection", true),
		chromedp.WindowSize(1280, 800),
		chromedp.UserDataDir(t.TempDir()),
	)
	if camera != "" {
		options = append(options, chromedp.Flag("use-file-for-fake-video-capture", camera))
	}
	allocator, stopBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		cancel()
		stopBrowser()
	})
	w := &window{t: t, ctx: ctx, base: base, name: name}
	require.NoError(t, chromedp.Do(ctx)) // starts it
	w.call("Page.addScriptToEvaluateOnNewDocument", object{"source": watchScript}, nil)
	return w
}

// watchScript runs before the page: it keeps every RTCPeerConnection for its
// figures, what the page did wrong, and what it said in its live region, where
// a slow machine would look too late.
const watchScript = `
window.links = [];
window.faults = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...a) { super(...a); links.push(this); }
};
addEventListener('securitypolicyviolation', (e) => faults.push('CSP: ' + e.violatedDirective + ' ' + e.blockedURI));
window.said = [];
addEventListener('DOMContentLoaded', () => {
  const live = document.querySelector('#live');
  if (live) new MutationObserver(() => said.push(live.textContent)).observe(live, { childList: true, characterData: true, subtree: true });
});
addEventListener('error', (e) => faults.push('error: ' + e.message));
addEventListener('unhandledrejection', (e) => faults.push('rejection: ' + e.reason));
`

// call is one command of the DevTools protocol.
func (w *window) call(method string, params, result any) {
	w.t.Helper()
	if result == nil {
		result = &struct{}{}
	}
	require.NoError(w.t, chromedp.Do(w.ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		return target.Call(ctx, method, params, result)
	})), "%s: %s", w.name, method)
}

// try evaluates an expression, which may be a promise, and gives its value.
func (w *window) try(js string) (any, error) {
	var answer struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := chromedp.Do(w.ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		return target.Call(ctx, "Runtime.evaluate",
			object{"expression": js, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &answer)
	}))
	if err == nil && answer.ExceptionDetails != nil {
		err = fmt.Errorf("%s: %s", answer.ExceptionDetails.Text, answer.ExceptionDetails.Exception.Description)
	}
	return answer.Result.Value, err
}

func (w *window) eval(js string) any {
	w.t.Helper()
	v, err := w.try(js)
	require.NoError(w.t, err, "%s: %s", w.name, js)
	return v
}

// until waits for an expression to become true. An error counts as not yet:
// the page may just be loading.
func (w *window) until(js string) {
	w.t.Helper()
	w.within(patience, js)
}

func (w *window) within(d time.Duration, js string) {
	w.t.Helper()
	deadline := time.Now().Add(d)
	for {
		v, err := w.try(js)
		if v == true {
			return
		}
		if time.Now().After(deadline) || w.ctx.Err() != nil {
			screen, _ := w.try(`(document.querySelector('[data-screen]:not([hidden])')?.innerText ?? '') + ' | ' + JSON.stringify(window.faults)`)
			w.t.Fatalf("%s waited in vain for %s (%v, %v); the page says: %v", w.name, js, v, err, screen)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// visible waits for an element that a person could see.
func (w *window) visible(selector string) {
	w.t.Helper()
	w.until(fmt.Sprintf(`document.querySelector(%q)?.checkVisibility() === true`, selector))
}

func (w *window) screen(name string) {
	w.t.Helper()
	w.visible("[data-screen=" + name + "]")
}

// click presses with a real mouse, once the element is there and enabled.
func (w *window) click(selector string) {
	w.t.Helper()
	w.until(fmt.Sprintf(`(() => { const e = document.querySelector(%q); return !!e && e.checkVisibility() && !e.disabled })()`, selector))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	require.NoError(w.t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector))), "%s: click %s", w.name, selector)
}

func (w *window) write(selector, text string) {
	w.t.Helper()
	w.visible(selector)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	require.NoError(w.t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS(selector), text)), "%s: write into %s", w.name, selector)
}

func (w *window) open(path string) {
	w.t.Helper()
	require.NoError(w.t, chromedp.Do(w.ctx, chromedp.Navigate(w.base+path)), w.name)
}

func (w *window) reload() {
	w.t.Helper()
	require.NoError(w.t, chromedp.Do(w.ctx, chromedp.Reload()), w.name)
}

// signUp comes in by the page, without a picture, and gives the user id.
func (w *window) signUp() string {
	w.t.Helper()
	w.open("/")
	w.write("#signup [name=name]", w.name)
	w.click("#signup button[type=submit]")
	w.click("#shot-skip")
	w.screen("people")
	return w.eval(`fetch('/user/me').then((r) => r.json()).then((me) => me.userId)`).(string)
}

// slide sets a length wish as a person with a mouse would, also outside of
// what the slider offers, because tests are in a hurry.
func (w *window) slide(selector string, seconds int) {
	w.t.Helper()
	w.eval(fmt.Sprintf(`(() => { const r = document.querySelector(%q); r.min = r.step = 1; r.value = %d; r.dispatchEvent(new Event('input')) })()`, selector, seconds))
}

// invite asks the person with this name, as soon as their card can be pressed.
func (w *window) invite(name string, seconds int) {
	w.t.Helper()
	button := fmt.Sprintf(`button[aria-label=%q]`, "Invite "+name)
	w.click(button)
	w.visible("#ask")
	w.slide("#ask-range", seconds)
	w.click("#ask button[type=submit]")
}

// moving waits until the other's video moves: its clock advances and frames
// are being decoded.
func (w *window) moving() {
	w.t.Helper()
	const frames = `async () => {
		const link = links.findLast((l) => l.connectionState === 'connected');
		if (!link) return 0;
		for (const s of (await link.getStats()).values()) if (s.type === 'inbound-rtp' && s.kind === 'video') return s.framesDecoded ?? 0;
		return 0;
	}`
	w.until(`(async () => {
		const frames = ` + frames + `, video = document.querySelector('#remote');
		const [f, t] = [await frames(), video.currentTime];
		await new Promise((r) => setTimeout(r, 300));
		return f > 0 && await frames() > f && video.currentTime > t && video.videoWidth > 0;
	})()`)
}

func (w *window) chat(text string) {
	w.t.Helper()
	w.write("#chat-text", text)
	w.click("#chat-form button")
}

// reads waits for a line of the chat, on its side of it.
func (w *window) reads(text string, mine bool) {
	w.t.Helper()
	w.until(fmt.Sprintf(`[...document.querySelectorAll('#chat-log .line')].some((l) => l.textContent === %q && l.classList.contains('mine') === %t)`, text, mine))
}

// clean demands that the page broke no rule of its security policy and threw
// nothing.
func (w *window) clean() {
	w.t.Helper()
	faults, err := json.Marshal(w.eval(`faults`))
	require.NoError(w.t, err)
	require.Equal(w.t, "[]", string(faults), w.name)
}

func (w *window) text(selector string) string {
	w.t.Helper()
	s, _ := w.eval(fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ''`, selector)).(string)
	return strings.TrimSpace(s)
}
