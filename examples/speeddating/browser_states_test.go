package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// wire is a TCP relay in front of the server that a test can cut.
type wire struct {
	URL string
	l   net.Listener
	to  string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T, base string) *wire {
	t.Helper()
	u, err := url.Parse(base)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{URL: "http://" + l.Addr().String(), l: l, to: u.Host, conns: map[net.Conn]bool{}}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { w.relay(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut()
		relays.Wait()
	})
	return w
}

func (w *wire) relay(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return
	}
	w.conns[c], w.conns[s] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
		delete(w.conns, s)
	}()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends when either end closes
			done <- struct{}{}
		}()
	}
	<-done
	c.Close()
	s.Close()
	<-done
}

// cut breaks every connection and lets no new one through until mend.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.conns {
		c.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// says waits until the page says so, to the eye and to those who listen.
func (w *window) says(selector, text string) {
	w.t.Helper()
	w.until(fmt.Sprintf(`document.querySelector(%q).checkVisibility() && document.querySelector(%q).textContent.includes(%q)`, selector, selector, text))
}

func (w *window) announces(text string) {
	w.t.Helper()
	w.until(fmt.Sprintf(`['#live', '#alert'].some((s) => document.querySelector(s).textContent.includes(%q))`, text))
}

// A cut is said, healed and forgotten: a short one by resuming, with a call
// going on beside it, a long one with a new session.
func TestPageReconnects(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	line := newWire(t, a.URL())
	ada, ben := openWindow(t, line.URL, "Ada", ""), openWindow(t, a.URL(), "Ben", "")
	ada.signUp()
	ben.signUp()
	ada.invite("Ben", 300)
	ben.click("#incoming button[type=submit]")
	ada.moving()
	ben.moving()

	ada.click("#cam") // off
	ada.until(`document.querySelector('#cam').dataset.off === 'true' && !document.querySelector('#cam').disabled`)
	ada.readable("a camera that is off, with the mouse on its button")
	ada.until(`(() => { const [box, words] = ['#self', '#self-text'].map((s) => document.querySelector(s).getBoundingClientRect()); return Math.abs(box.top + box.bottom - words.top - words.bottom) < 4 })()`)
	ben.says("#cover-text", "No picture from Ada")
	ada.click("#cam")
	ben.moving()
	ben.until(`!document.querySelector('#cover').checkVisibility()`)

	line.cut()
	ada.says("#call-state", "You are reconnecting…")
	ben.says("#call-state", "Ada is reconnecting…")
	ben.announces("Ada is reconnecting…")
	line.mend()
	ada.says("#call-state", "Connected")
	ben.says("#call-state", "Connected")
	ada.chat("Here I am again.")
	ben.reads("Here I am again.", false)
	ada.moving()
	ada.look("a call")
	ada.until(`[...document.querySelectorAll('.skip, .top *')].every((e) => !e.checkVisibility({ visibilityProperty: true }))`) // no key leads behind it
	for i := range 5 {
		ada.chat(fmt.Sprint("Line ", i))
		ada.reads(fmt.Sprint("Line ", i), true)
	}
	ada.resize(360, 480) // a keyboard has opened
	ada.until(`(() => { const [log, line] = ['#chat-log', '#chat-log .line:last-child'].map((s) => document.querySelector(s).getBoundingClientRect()); return line.top >= log.top && line.bottom <= log.bottom })()`)
	ada.resize(1280, 800)
	require.EqualValues(t, 1, ben.eval(`links.length`), "a socket that comes back needs no new video connection")

	line.cut() // now for longer than the grace
	ben.screen("after")
	require.Contains(t, ben.text("#after-text"), "did not come back")
	line.mend()
	ada.screen("after")
	ada.look("after a call")
	ada.click("#after-back")
	ada.screen("people")

	line.cut()
	ada.says("#notice-text", "Trying again")
	ada.announces("Trying to reconnect.")
	line.mend()
	ada.click("#notice-action") // try now
	ada.says("#state-text", "Connected")
	ada.until(`!document.querySelector('#notice').checkVisibility()`)
	ada.until(`document.querySelectorAll('.person').length === 0`) // Ben still reads his summary
	ben.click(`#tabs a[href="#history"]`)                          // any way out of it will do
	ben.click("#talks summary")
	ben.look("a history")
	ada.until(`document.querySelector('.person.met h2')?.textContent === 'Ben'`)
	ada.clean()
	ben.clean()
}

// Each reason why there is no place here is said in words, with what to do.
func TestPageSaysWhy(t *testing.T) {
	t.Parallel()
	const places = 12
	a := startApp(t, func(c *config) { c.maxConnections = places })
	w := openWindow(t, a.URL(), "Ada", "")
	w.open("/")
	w.screen("landing")
	// Signed up by hand, because a page never sees its token.
	answer := w.eval(`fetch('/auth/guest', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Ada","gender":"female"}' }).then((r) => r.json())`).(object)
	ada := &visitor{t: t, base: a.URL(), Name: "Ada"}
	ada.adopt(answer)

	var full []*tab
	for i := range places {
		full = append(full, signUp(t, a.URL(), fmt.Sprint("P", i)).open())
	}
	w.reload()
	w.says("#notice-text", "All places are taken at the moment.")
	w.announces("All places are taken")
	full[0].bye()
	w.says("#state-text", "Connected")

	for _, b := range full[1:] {
		b.bye()
	}
	ada.open()
	ada.open() // the third of one person: the oldest goes
	w.says("#stopped-title", "Open in another window")
	w.click("#stopped-action")
	w.says("#state-text", "Connected")

	ada.mustDo("POST", "/auth/link", object{"email": "ada@example.org", "password": "correct horse"}, 200)
	(&visitor{t: t, base: a.URL()}).mustDo("POST", "/auth/login", object{"email": "ada@example.org", "password": "correct horse"}, 200)
	w.says("#stopped-title", "This session has ended")
	w.says("#stopped-text", "logged in somewhere else")
	w.announces("This session has ended")
	w.click("#stopped-action")
	w.write("#login [name=email]", "ada@example.org")
	w.write("#login [name=password]", "wrong password")
	w.click("#login button[type=submit]")
	w.says("#login .wrong", "do not fit")
	w.eval(`document.querySelector('#login [name=password]').value = ''`)
	w.write("#login [name=password]", "correct horse")
	w.click("#login button[type=submit]")
	w.screen("people")
	w.says("#state-text", "Connected")

	require.NoError(t, a.platform.Decide(t.Context(), ada.ID, dating.Out))
	w.until(`document.querySelector('[data-screen=stopped]').checkVisibility()`)
	require.Contains(t, strings.ToLower(w.text("#stopped-title")), "closed")
	w.clean()
}
