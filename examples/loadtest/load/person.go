package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// A person is one simulated user. Its one goroutine is its socket's, which
// takes messages; calls and timers use it from theirs.
type person struct {
	r     *runner
	index int
	id    string
	token string
	http  *http.Client
	call  atomic.Pointer[call]
	gone  atomic.Bool

	window compress.Replica // of the queue; used by the socket's goroutine

	mu     sync.Mutex
	client *sigclient.Client // nil before it connected
	open   bool
	lost   time.Time // when the socket was, zero while it is there
	etag   string
	poll   *time.Timer
}

// arrive signs up, connects, and joins the queue.
func (p *person) arrive(ctx context.Context) {
	f := &p.r.figures
	if p.http = p.r.http; p.http == nil {
		p.http = p.r.newHTTP(1, p.index)
	}
	if !p.try(ctx, "sign-up", &f.signUp, p.signUp) {
		return
	}
	var client *sigclient.Client
	if !p.try(ctx, "connect", &f.connect, func(ctx context.Context) (err error) {
		client, err = sigclient.Dial(ctx, sigclient.Options{
			URL:       p.r.opt.URL + "/ws",
			Header:    http.Header{"Authorization": {"Bearer " + p.token}, "Origin": {p.r.opt.URL}},
			Dialer:    p.r.websocket(p.index),
			OnMessage: p.take,
			OnState:   p.changed,
			MaxDelay:  4 * time.Second,
			Spread:    p.spread,
		})
		return err
	}) {
		return
	}
	p.mu.Lock()
	p.client = client
	p.mu.Unlock()
	if p.join(ctx) {
		p.readySoon(p.r.opt.Pace)
	}
	p.pollSoon(ctx, p.r.opt.QueueEvery)
}

// try does what people do before they are connected, where faults are expected
// again and again, and records how long it took in the end.
func (p *person) try(ctx context.Context, what string, h *histogram, do func(context.Context) error) bool {
	f := &p.r.figures
	for end := time.Now().Add(2 * p.r.opt.Patience); ; {
		start := time.Now()
		err := do(ctx)
		if err == nil {
			f.always(h, time.Since(start))
			return true
		}
		f.fail(what, err)
		if !p.r.opt.Faults || time.Now().After(end) || !wait(ctx, time.Second) {
			return false
		}
	}
}

func (p *person) signUp(ctx context.Context) error {
	body := fmt.Appendf(nil, `{"name":"Load %d","gender":"unspecified"}`, p.index)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.r.opt.URL+"/auth/guest", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return statusError(res.StatusCode)
	}
	var out struct{ UserID, SessionToken string }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return err
	}
	p.id, p.token = out.UserID, out.SessionToken
	if p.id == "" || p.token == "" {
		return errors.New("answer without userId or sessionToken")
	}
	return nil
}

// A statusError is an HTTP status that was not expected.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// changed follows the socket. The first open comes before Dial returns.
func (p *person) changed(s sigclient.State) {
	f := &p.r.figures
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.Name {
	case "open":
		if !p.open {
			f.connected.Add(1)
		}
		p.open = true
		if !p.lost.IsZero() {
			f.always(&f.back, time.Since(p.lost))
			p.lost = time.Time{}
		}
		if s.Resumed {
			f.resumed.Add(1)
		} else if p.client != nil {
			f.announce("session replaced")
			c := p.call.Load()
			switch {
			case c == nil:
				go p.rejoin(context.Background())
			case p.r.opt.Faults:
				c.broke(p)
				go p.comeBack(c)
			default:
				c.abandon()
				go p.join(context.Background())
			}
		}
	default:
		if p.open {
			f.connected.Add(-1)
			p.lost = time.Now()
		}
		p.open = false
		if s.Name == "closed" && !p.gone.Load() {
			f.count(fmt.Sprintf("socket closed for good: code %d", s.Code))
		} else if s.Name == "reconnecting" && s.Code != 1006 && s.Code != 0 {
			f.announce(fmt.Sprintf("socket closed: code %d", s.Code))
		}
	}
}

// spread is how the page does it: who is in a call comes back at once, and those
// who wait take the longer the more they are, up to 4 s, within the grace.
func (p *person) spread() time.Duration {
	if p.call.Load() != nil {
		return 0
	}
	return min(4*time.Second, time.Duration(p.r.opt.Users)*time.Millisecond/2)
}

// comeBack finds out what became of the call after the session was replaced: it
// goes on, or the hello says that it does not.
func (p *person) comeBack(c *call) {
	f := &p.r.figures
	var in *struct{ RoomID string }
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	c.mu.Lock()
	room := c.room
	c.mu.Unlock()
	if err := client.Hello("call", &in); err != nil || in == nil || room != "" && in.RoomID != room {
		if in != nil {
			f.count("hello with another call")
		}
		f.announce("call over, says hello")
		c.overFor(p)
		return
	}
	c.mu.Lock()
	c.room = in.RoomID
	c.mu.Unlock()
	var view struct{ Chat []struct{ Text string } }
	err := c.insist(func() error {
		return p.request(context.Background(), "call:resume", map[string]any{"roomId": in.RoomID}, &view)
	})
	if err != nil {
		f.fail("call:resume", err)
		if e, ok := errors.AsType[*sigclient.Error](err); ok && e.Code == "not_found" {
			c.overFor(p)
		}
		return
	}
	var lines []string
	for _, line := range view.Chat {
		lines = append(lines, line.Text)
	}
	c.resumed(p, lines)
}

// take takes one message of the server.
func (p *person) take(m sigclient.Message) {
	p.r.figures.messages.Add(1)
	if p.r.figures.inWindow.Load() {
		p.r.kinds.add(m.Type, len(m.Data))
	}
	switch m.Type {
	case "queue:snapshot", "queue:update", "queue:delta", "queue:marks":
		p.r.figures.presence.Add(1)
		if m.Type == "queue:delta" && p.index%followers == 0 {
			p.follow(m.Data)
		}
		return
	case "metrics:update", "ok":
		return
	case "error":
		var e sigclient.Error
		json.Unmarshal(m.Data, &e)
		p.r.figures.fail("refused", &e)
		if c := p.call.Load(); c != nil && p.r.opt.Faults { // only descriptions and candidates are sent without an id
			c.mu.Lock()
			c.unrelayed = true
			c.mu.Unlock()
		}
		return
	}
	if c := p.call.Load(); c != nil {
		c.take(p, m)
	}
}

// Every followers-th person reads its window of the queue whole, as a page would:
// for all, that would cost this one process more than the server spends on them.
const followers = 16

// follow checks that a frame fits what came before it, and that nobody is in
// the window twice.
func (p *person) follow(frame []byte) {
	if err := p.window.Apply(frame); err != nil {
		p.r.figures.fail("queue:delta", err)
		return
	}
	rows, _ := p.window.Value.([]any)
	seen := make(map[any]bool, len(rows))
	for _, row := range rows {
		card, _ := row.(map[string]any)
		id := card["userId"]
		if id == nil || seen[id] {
			p.r.figures.count("queue:delta: twice in the window")
			return
		}
		seen[id] = true
	}
}

// drop cuts the socket, and reports whether there was one.
func (p *person) drop() bool {
	p.mu.Lock()
	client, open := p.client, p.open
	p.mu.Unlock()
	if client == nil || !open {
		return false
	}
	client.Drop()
	return true
}

// request sends a message and waits for its answer.
func (p *person) request(ctx context.Context, kind string, data, out any) error {
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	if client == nil {
		return sigclient.ErrClosed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.r.opt.Patience)
	defer cancel()
	return client.Request(ctx, kind, data, out)
}

// send sends a message that wants no answer.
func (p *person) send(kind string, data any) {
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	if client == nil {
		return
	}
	if err := client.Send(kind, data); err != nil && !p.gone.Load() {
		p.r.figures.fail("send "+kind, err)
	}
}

func (p *person) join(ctx context.Context) bool {
	if err := p.request(ctx, "queue:join", map[string]bool{"delta": true}, nil); err != nil {
		if !p.gone.Load() {
			p.r.figures.fail("queue:join", err)
		}
		return false
	}
	return true
}

// rejoin is join, again and again where faults are expected: who is told that
// it does not work now must be let in soon.
func (p *person) rejoin(ctx context.Context) bool {
	if !p.r.opt.Faults {
		return p.join(ctx)
	}
	var err error
	for end := time.Now().Add(2 * p.r.opt.Patience); time.Now().Before(end) && !p.gone.Load(); time.Sleep(250 * time.Millisecond) {
		if p.call.Load() != nil {
			return true
		}
		if err = p.request(ctx, "queue:join", map[string]bool{"delta": true}, nil); err == nil {
			return true
		}
	}
	if !p.gone.Load() {
		p.r.figures.count("kept out of the queue: " + err.Error())
	}
	return false
}

// readySoon makes p want a call after a random time up to d: on average half.
func (p *person) readySoon(d time.Duration) {
	time.AfterFunc(rand.N(d), func() {
		if !p.gone.Load() {
			p.r.ready <- p // there is room for everybody
		}
	})
}

// pollSoon reads the queue after about d, and again and again.
func (p *person) pollSoon(ctx context.Context, d time.Duration) {
	if d < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone.Load() {
		return
	}
	first := p.poll == nil
	if first { // spread
		d = rand.N(d)
	}
	p.poll = time.AfterFunc(d, func() {
		if p.call.Load() == nil && ctx.Err() == nil {
			p.readQueue(ctx)
		}
		p.pollSoon(ctx, p.r.opt.QueueEvery)
	})
}

func (p *person) readQueue(ctx context.Context) {
	f := &p.r.figures
	start := time.Now()
	p.r.workers <- struct{}{}
	defer func() { <-p.r.workers }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.r.opt.URL+"/room/queue", nil)
	if err != nil {
		f.fail("GET /room/queue", err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if p.etag != "" {
		req.Header.Set("If-None-Match", p.etag)
	}
	res, err := p.http.Do(req)
	if err != nil {
		if ctx.Err() == nil && !p.gone.Load() {
			f.fail("GET /room/queue", err)
		}
		return
	}
	if res.StatusCode == http.StatusServiceUnavailable && p.r.opt.Faults { // another connection goes to another server
		res.Close = true
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	switch {
	case err != nil:
		f.fail("GET /room/queue", err)
		return
	case res.StatusCode == http.StatusNotModified:
		f.notModified.Add(1)
	case res.StatusCode != http.StatusOK:
		f.fail("GET /room/queue", statusError(res.StatusCode))
		return
	default:
		p.etag = res.Header.Get("ETag")
	}
	f.record(&f.queueRead, time.Since(start))
}

func (p *person) leave() {
	p.gone.Store(true)
	p.mu.Lock()
	client := p.client
	if p.poll != nil {
		p.poll.Stop()
	}
	p.mu.Unlock()
	if client != nil {
		client.Close()
	}
	if p.r.http == nil && p.http != nil {
		p.http.CloseIdleConnections()
	}
}
