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
	"github.com/pion/webrtc/v4"

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

// handle takes one message of the server.
func (p *person) handle(m sigclient.Message) {
	switch m.Type {
	case "call:notify":
		p.invited(m)
	case "call:declined", "call:expired", "call:rescinded":
		out := read[struct{ InviteID, Reason string }](m)
		if p.notified == out.InviteID {
			p.notified = ""
		}
		if p.inviting != "" && m.Type != "call:rescinded" {
			p.crowd.leaveAlone(p.inviting, 10*p.crowd.opt.Manners)
			p.hasMet(p.inviting)
		}
		p.inviting = ""
		p.rest(time.Second)
	case "call:start":
		p.started(read[callStart](m))
	case "session:finalized":
		if end := read[struct{ RoomID string }](m); p.call != nil && p.call.room == end.RoomID {
			p.hangUp()
			p.rest(4 * p.crowd.opt.Hesitation)
		}
	case "rtc:offer", "rtc:answer", "rtc:ice", "room:chat", "room:socialShared", "peer:back":
		if p.call != nil {
			p.call.handle(m)
		}
	}
}

// read decodes the data of a message; what does not fit stays zero, and then
// nothing is done about it.
func read[T any](m sigclient.Message) T {
	var v T
	json.Unmarshal(m.Data, &v)
	return v
}

// hello begins, or goes on with what the server says is going on.
func (p *person) hello(resumed bool) {
	if resumed {
		if p.call == nil && p.inviting == "" && p.notified == "" {
			p.rest(time.Millisecond)
		}
		return
	}
	var in struct {
		Call   *callStart
		Invite *struct {
			InviteID string
			Outgoing bool
		}
	}
	if p.client != nil {
		p.client.Hello("call", &in.Call) // what is missing stays nil
		p.client.Hello("invite", &in.Invite)
	}
	p.inviting, p.notified = "", ""
	p.hangUp()
	switch {
	case in.Call != nil:
		room := in.Call.RoomID
		p.ask("call:resume", map[string]string{"roomId": room}, func(data json.RawMessage, code string) {
			var view struct {
				callStart
				Call *callStart
			}
			if code != "" || json.Unmarshal(data, &view) != nil {
				p.rest(time.Second)
				return
			}
			start := view.callStart
			if view.Call != nil {
				start = *view.Call
			}
			start.Here = true
			p.started(start)
		})
	case in.Invite != nil && !in.Invite.Outgoing:
		p.acceptSoon(in.Invite.InviteID)
	default:
		p.rest(time.Millisecond)
	}
}

// rest goes to the queue after about d, unless something has happened then.
func (p *person) rest(d time.Duration) {
	p.after(d, func() {
		if p.call != nil || p.client == nil {
			return
		}
		p.ask("queue:join", nil, func(_ json.RawMessage, code string) {
			if code == "" && p.call == nil && p.inviting == "" && p.notified == "" {
				p.crowd.setFree(p, true)
			}
		})
	})
}

// invite invites somebody, if p is still free.
func (p *person) invite(id string) {
	if p.call != nil || p.inviting != "" || p.notified != "" || p.client == nil {
		return
	}
	p.inviting = id
	p.crowd.setFree(p, false)
	data := map[string]any{"toUserId": id, "requestedSeconds": p.wish()}
	p.ask("call:invite", data, func(_ json.RawMessage, code string) {
		if code == "" {
			return // accepted, declined or expired follows
		}
		if code == "cooldown" || code == "user_not_found" {
			p.hasMet(id)
		}
		p.inviting = ""
		p.rest(time.Second)
	})
}

// invited answers an invitation, as somebody who has to read it first.
func (p *person) invited(m sigclient.Message) {
	in := read[struct{ InviteID string }](m)
	if in.InviteID == "" || p.call != nil {
		return
	}
	p.acceptSoon(in.InviteID)
}

// wish is the length of a call that p asks for, in seconds.
func (p *person) wish() int {
	if wish := p.crowd.opt.Wish; wish > 0 {
		return int(wish / time.Second)
	}
	return 180 + 30*p.rnd.IntN(9)
}

func (p *person) acceptSoon(invite string) {
	p.notified = invite
	p.crowd.setFree(p, false)
	p.after(p.crowd.opt.Hesitation, func() {
		if p.notified != invite || p.call != nil {
			return
		}
		data := map[string]any{"inviteId": invite, "requestedSeconds": p.wish()}
		p.ask("call:accept", data, func(_ json.RawMessage, code string) {
			if code != "" && p.notified == invite {
				p.notified = ""
				p.rest(time.Second)
			}
		})
	})
}

// started begins a call.
func (p *person) started(s callStart) {
	p.inviting, p.notified = "", ""
	p.crowd.setFree(p, false)
	if !s.Here || s.RoomID == "" {
		return
	}
	p.hangUp()
	p.hasMet(s.Peer.UserID)
	withBot := p.crowd.isBot(s.Peer.UserID)
	if !withBot {
		p.crowd.leaveAlone(s.Peer.UserID, p.crowd.opt.Manners)
	}
	p.call = &call{p: p, room: s.RoomID, initiator: s.IsInitiator, withBot: withBot}
	p.crowd.opt.Logger.Debug("bots: call", slog.String("bot", p.name), slog.String("with", s.Peer.Name))
	p.call.begin()
}

// hangUp ends what p has of its call. The server is told by call.end.
func (p *person) hangUp() {
	if p.call != nil {
		p.call.close()
		p.call = nil
	}
}

// iceServers asks the platform, and goes without if it does not answer.
func (p *person) iceServers() []webrtc.ICEServer {
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Second)
	defer cancel()
	servers, err := p.crowd.api.iceServers(ctx, p.session())
	if err != nil {
		p.crowd.opt.Logger.Debug("bots: ice servers", slog.Any("err", err))
	}
	return servers
}

// socialHandle is the name as a network would have it: lower case, no spaces.
func (p *person) socialHandle() string {
	var b []byte
	for _, r := range []byte(p.name) {
		switch {
		case 'A' <= r && r <= 'Z':
			b = append(b, r+'a'-'A')
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b = append(b, r)
		}
	}
	return string(b)
}
