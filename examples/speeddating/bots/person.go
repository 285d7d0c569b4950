package bots

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// A person is one bot. Everything in it belongs to the goroutine of run,
// which executes tasks that others post, except what mu guards.
type person struct {
	crowd *crowd
	name  string
	rnd   *rand.Rand
	tasks chan func()

	id       string            // guarded by crowd.mu too: it changes while not in crowd.free
	client   *sigclient.Client // nil while there is none
	cutAt    time.Time         // since when it reconnects; zero: it does not
	inviting string            // whom; empty: nobody
	notified string            // the invite that is about to be accepted
	call     *call
	ctx      context.Context // of run, for tasks

	mu    sync.Mutex
	token string
	met   map[string]bool // whom the server's cooldown keeps away, at most maxMet
}

// maxMet bounds the memory of whom a bot has met. The server knows it anyway.
const maxMet = 256

var (
	errSessionEnded = errors.New("bots: the session has ended")
	errLost         = errors.New("bots: no connection any more")
)

// lost is how long a bot tries to reconnect before it starts over.
const lost = 2 * time.Minute

// post runs f on p's goroutine soon, or never if p has ended.
func (p *person) post(f func()) {
	select {
	case p.tasks <- f:
	case <-p.ctx.Done():
	}
}

// tryPost is post that gives up when p has no time.
func (p *person) tryPost(f func()) {
	select {
	case p.tasks <- f:
	default:
	}
}

// after runs f on p's goroutine after about d.
func (p *person) after(d time.Duration, f func()) {
	d = d*2/3 + time.Duration(p.rnd.Int64N(int64(d)*2/3+1))
	time.AfterFunc(d, func() { p.post(f) })
}

func (p *person) session() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.token
}

func (p *person) mayMeet(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.met[id]
}

func (p *person) hasMet(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.met) >= maxMet {
		clear(p.met)
	}
	p.met[id] = true
}

// sleep waits and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// run lives: signs up, connects, and starts over when the session has ended.
func (p *person) run(ctx context.Context, delay time.Duration) {
	p.ctx = ctx
	if !sleep(ctx, delay) {
		return
	}
	for wait := time.Second; ; {
		err := p.signUp(ctx)
		if err == nil {
			wait = time.Second
			err = p.live(ctx)
			p.leave()
		}
		if ctx.Err() != nil {
			return
		}
		p.crowd.opt.Logger.Warn("bots: starting over", slog.String("bot", p.name), slog.Any("err", err))
		after := wait
		if e, ok := errors.AsType[*statusError](err); ok && e.after > 0 {
			after = e.after
		}
		if !sleep(ctx, after+rand.N(after)) {
			return
		}
		wait = min(2*wait, 30*time.Second)
	}
}

func (p *person) signUp(ctx context.Context) error {
	select {
	case p.crowd.signUps <- struct{}{}:
		defer func() { <-p.crowd.signUps }()
	case <-ctx.Done():
		return ctx.Err()
	}
	id, token, err := p.crowd.api.signUp(ctx, p.name, pick(p.rnd, genders), face(p.rnd))
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.token = token
	p.met = map[string]bool{}
	p.mu.Unlock()
	p.crowd.mu.Lock()
	p.id = id
	p.crowd.bots[id] = p
	p.crowd.mu.Unlock()
	p.crowd.opt.Logger.Debug("bots: signed up", slog.String("bot", p.name), slog.String("user", id))
	return nil
}

// leave forgets what belongs to a session.
func (p *person) leave() {
	p.hangUp()
	p.crowd.setFree(p, false)
	p.crowd.mu.Lock()
	delete(p.crowd.bots, p.id)
	p.crowd.mu.Unlock()
	p.cutAt = time.Time{}
}

// live takes part until ctx or the session ends.
func (p *person) live(ctx context.Context) error {
	client, err := p.dial(ctx)
	if err != nil {
		return err
	}
	p.client = client
	defer p.close()
	look := time.NewTicker(lost / 4)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-client.Done():
			return errSessionEnded
		case f := <-p.tasks:
			f()
		case <-look.C:
			if !p.cutAt.IsZero() && time.Since(p.cutAt) > lost {
				return errLost
			}
		}
	}
}

var writeBuffers sync.Pool

// dial opens p's socket. It is patient with a server that is full.
func (p *person) dial(ctx context.Context) (*sigclient.Client, error) {
	opt := sigclient.Options{
		URL:    p.crowd.opt.BaseURL + "/ws",
		Header: http.Header{"Authorization": {"Bearer " + p.session()}, "Origin": {p.crowd.opt.BaseURL}},
		Dialer: &websocket.Dialer{
			HandshakeTimeout: 15 * time.Second,
			ReadBufferSize:   512,
			WriteBufferSize:  1024,
			WriteBufferPool:  &writeBuffers,
		},
		OnMessage: func(m sigclient.Message) { p.post(func() { p.handle(m) }) },
		OnState:   func(s sigclient.State) { p.post(func() { p.changed(s) }) },
	}
	for wait := time.Second; ; wait *= 2 {
		client, err := sigclient.Dial(ctx, opt)
		if err == nil || ctx.Err() != nil || wait > 16*time.Second {
			return client, err
		}
		if !sleep(ctx, rand.N(wait)) {
			return nil, ctx.Err()
		}
	}
}

// close says goodbye. Meanwhile nobody may wait for p.
func (p *person) close() {
	client := p.client
	p.client = nil
	closed := make(chan struct{})
	go func() {
		client.Close()
		close(closed)
	}()
	for {
		select {
		case <-p.tasks:
		case <-closed:
			return
		}
	}
}

// changed follows the state of the connection.
func (p *person) changed(s sigclient.State) {
	switch s.Name {
	case "open":
		p.cutAt = time.Time{}
		p.hello(s.Resumed)
	case "reconnecting":
		p.crowd.setFree(p, false)
		if p.cutAt.IsZero() {
			p.cutAt = time.Now()
		}
	}
}

// send sends a message that wants no answer.
func (p *person) send(kind string, data any) {
	if p.client != nil {
		p.client.Send(kind, data)
	}
}

// ask sends a message and calls answer with what comes back: the code of an
// error, or "". After half a minute that is "timeout".
func (p *person) ask(kind string, data any, answer func(data json.RawMessage, code string)) {
	client := p.client
	if client == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
		defer cancel()
		var result json.RawMessage
		err := client.Request(ctx, kind, data, &result)
		code := ""
		if e, ok := errors.AsType[*sigclient.Error](err); ok {
			code = e.Code
		} else if err != nil {
			code = "timeout"
		}
		p.post(func() {
			if p.client == client {
				answer(result, code)
			}
		})
	}()
}
