package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// contrastScript lists visible texts that a person with weak eyes could not
// read: less than 4.5:1 against their ground, 3:1 for large ones (WCAG 2.2,
// 1.4.3). Grounds that are pictures or videos are looked at by people instead.
const contrastScript = `(() => {
	const g = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
	const rgba = (c) => { g.clearRect(0, 0, 1, 1); g.fillStyle = c; g.fillRect(0, 0, 1, 1); return [...g.getImageData(0, 0, 1, 1).data].map((v, i) => i < 3 ? v : v / 255) };
	const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
	const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
	const ground = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) {
			const s = getComputedStyle(e);
			if (s.backgroundImage !== 'none' || e.matches('.stage, .stage *')) return null;
			const c = rgba(s.backgroundColor);
			if (c[3] > 0) layers.push(c);
			if (c[3] === 1) break;
		}
		return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
	};
	const bad = [];
	const open = document.querySelector('dialog[open]') ?? document.body;
	for (let n, w = document.createTreeWalker(open, NodeFilter.SHOW_TEXT); (n = w.nextNode());) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest('.hidden-words, .skip, :disabled, [aria-hidden=true]')) continue;
		const under = ground(e);
		if (!under) continue;
		const s = getComputedStyle(e);
		const [a, b] = [light(over(rgba(s.color), under)), light(under)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		const size = parseFloat(s.fontSize);
		if (ratio < (size >= 24 || size >= 18.66 && s.fontWeight >= 700 ? 3 : 4.5)) bad.push(n.data.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
	}
	return bad;
})()`

// layoutScript lists what does not fit: sideways scrolling, and things to
// press that are smaller than 24 pixels (WCAG 2.2, 2.5.8).
const layoutScript = `(() => {
	const bad = [];
	const wide = document.documentElement.scrollWidth - innerWidth;
	if (wide > 0) bad.push('scrolls sideways by ' + wide);
	for (const e of document.querySelectorAll('button, a[href], input, select, textarea, summary')) {
		const r = e.getBoundingClientRect();
		if (!e.checkVisibility() || e.closest('.skip')) continue;
		if (r.width < 24 || r.height < 24) bad.push((e.id || e.textContent).slice(0, 30) + ' is ' + Math.round(r.width) + ' by ' + Math.round(r.height));
		if (r.right > innerWidth + 1 || r.left < -1) bad.push((e.id || e.textContent).slice(0, 30) + ' is off the side');
	}
	return bad;
})()`

// readable looks at the screen as it is, in both schemes.
func (w *window) readable(what string) {
	w.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		w.call("Emulation.setEmulatedMedia", object{"features": []object{
			{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
		for _, script := range []string{contrastScript, layoutScript} {
			faults, err := json.Marshal(w.eval(script))
			require.NoError(w.t, err)
			require.Equal(w.t, "[]", string(faults), "%s, %s", what, scheme)
		}
	}
}

// look looks on a phone and on a desk.
func (w *window) look(what string) {
	w.t.Helper()
	for _, size := range [][2]int{{360, 740}, {1280, 800}} {
		w.resize(size[0], size[1])
		w.readable(fmt.Sprintf("%s at %d pixels", what, size[0]))
	}
}

func (w *window) resize(width, height int) {
	w.t.Helper()
	w.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// Every screen can be read and pressed on a phone and on a desk, in the light
// and in the dark.
func TestPageIsReadable(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	for i := range 3 {
		p := signUp(t, a.URL(), fmt.Sprintf("A person with quite a long name %d", i))
		p.open().must("queue:join", nil)
	}
	w := openWindow(t, a.URL(), "Ada", "")
	w.open("/")
	w.screen("landing")
	w.eval(`document.documentElement.style.setProperty('--soft', '#a09a98')`)
	require.NotEmpty(t, w.eval(contrastScript), "grey on white is found")
	w.eval(`document.documentElement.style.removeProperty('--soft')`)
	w.look("landing")
	w.write("#signup [name=name]", "Ada")
	w.click("#signup button[type=submit]")
	w.screen("picture")
	w.look("picture")
	w.click("#shot-skip")
	w.visible(".person")
	w.look("people")
	w.click(".person button")
	w.visible("#ask")
	w.look("asking")
	w.click("#ask button[type=submit]")
	w.visible("#wait")
	w.look("waiting")
	w.click("#wait-rescind")
	w.until(`document.querySelector('.person.met') !== null`)
	w.look("a person met")
	w.click("#free-toggle")
	w.visible("#people-empty")
	w.look("a break")
	for _, place := range []string{"history", "settings"} {
		w.click(fmt.Sprintf(`#tabs a[href="#%s"]`, place))
		w.screen(place)
		w.look(place)
	}
	w.eval(`fetch('/auth/logout', { method: 'POST' }).then(() => true)`)
	w.screen("stopped")
	require.Contains(t, w.text("#stopped-title"), "session has ended")
	w.look("the session has ended")
	w.clean()
}

// Everything works with the keyboard alone, and what a person wrote stays text.
func TestPageByKeyboard(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	const evil = `<img src=x onerror="faults.push('ran')">`
	ben := signUp(t, a.URL(), evil).open()
	ben.must("queue:join", nil)
	w := openWindow(t, a.URL(), "Ada", "")
	w.open("/")
	w.screen("landing")
	w.tabTo("#signup [name=name]")
	w.keys("Ada" + kb.Enter)
	w.screen("picture")
	w.tabTo("#shot-skip")
	w.keys(kb.Enter)
	w.visible(".person")
	require.Equal(t, evil, w.text(".person h2"))
	w.tabTo(".person button")
	w.keys(kb.Enter)
	w.visible("#ask")
	w.tabTo("#ask-range")
	before := w.text("#ask-out")
	w.keys(kb.ArrowRight)
	require.NotEqual(t, before, w.text("#ask-out"))
	w.keys(kb.Escape) // it was a mistake
	w.until(`!document.querySelector('#ask').open`)
	w.keys(kb.Enter) // the focus is back on the card
	w.visible("#ask")
	w.tabTo("#ask button[type=submit]")
	w.keys(kb.Enter)
	invite := ben.expect("call:notify")
	w.visible("#wait")
	w.until(`said.some((s) => s.includes('is invited'))`)
	ben.must("call:decline", object{"inviteId": invite["inviteId"]})
	w.until(`!document.querySelector('#wait').open`)
	w.until(`said.some((s) => s.includes('would rather not'))`)
	w.until(`document.querySelector('.person.met') !== null`)
	w.clean()
}

// tabTo presses Tab until the element has the focus, which must be visible.
func (w *window) tabTo(selector string) {
	w.t.Helper()
	for range 40 {
		if w.eval(fmt.Sprintf(`document.activeElement?.matches(%q) ?? false`, selector)) == true {
			outline := w.eval(`getComputedStyle(document.activeElement).outlineStyle`)
			require.NotEqual(w.t, "none", outline, "the focus on %s cannot be seen", selector)
			return
		}
		w.keys(kb.Tab)
	}
	w.t.Fatalf("the Tab key does not reach %s", selector)
}

func (w *window) keys(keys string) {
	w.t.Helper()
	require.NoError(w.t, chromedp.Do(w.ctx, chromedp.KeyEvent(keys)), w.name)
}
