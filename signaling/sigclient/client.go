// Package sigclient is a client of a signaling hub for Go programs: tests, load
// generators and bots. It reconnects with full jitter and resumes its session,
// so that in both directions every message arrives once and in order as long
// as the session lives.
//
//	c, err := sigclient.Dial(ctx, sigclient.Options{
//		URL:       "ws://localhost:8080/ws",
//		OnMessage: func(m sigclient.Message) { … },
//	})
//	err = c.Request(ctx, "queue:join", nil, &snapshot)
//
// # Memory
//
// At most Options.MaxOut messages are kept that the hub is not known to have.
//
// # Concurrency
//
// A Client may be used by any goroutine. It owns one, which runs OnMessage and
// OnState and ends before Close returns.
//
// # Overload
//
// Send returns ErrBusy when MaxOut messages wait.
//
// # Errors
//
// A request that the server refuses returns an *Error with its code.
package sigclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Options configure a Client.
type Options struct {
	// URL of the hub: ws://, wss://, http:// or https://. Required.
	URL string
	// Header is sent with every handshake: a cookie or bearer token.
	Header http.Header
	// Dialer opens the connections. Default: one without a proxy and with a
	// timeout of 10 s.
	Dialer *websocket.Dialer
	// OnMessage is called for every message that is not the answer to a Request.
	OnMessage func(Message)
	// OnState is called when the connection's state changes.
	OnState func(State)
	// MaxOut bounds the messages that the hub is not known to have. Default 256.
	MaxOut int
	// MaxDelay bounds the wait before a reconnect without a hint. Default 20 s.
	MaxDelay time.Duration
	// Spread, if set, is asked when the connection is lost without a hint: over
	// how long the next attempt may be put off, if that is more than otherwise
	// (500 ms at first). One who can wait leaves the way to those who cannot when
	// a server with many people dies. It is called on the client's goroutine.
	Spread func() time.Duration
}

// Message is what the server sent.
type Message struct {
	Type string          `json:"type"`
	ID   json.RawMessage `json:"id,omitempty"`
	From string          `json:"from,omitempty"` // whose it is, if another client's
	Data json.RawMessage `json:"data,omitempty"`
}

// State is what became of the connection.
type State struct {
	// Name is "open", "reconnecting" or "closed". Closed is final.
	Name string
	// Resumed says, for open, whether the session goes on.
	Resumed bool
	// In says, for reconnecting, when the next attempt begins.
	In time.Duration
	// Code and Reason are those of the close frame, 1006 without one.
	Code   int
	Reason string
}

// Error is a server's refusal.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error implements error.
func (e *Error) Error() string { return "sigclient: " + e.Code + ": " + e.Message }

var (
	// ErrClosed is returned once the client is closed, by either side.
	ErrClosed = errors.New("sigclient: closed")
	// ErrBusy is returned when MaxOut messages wait.
	ErrBusy = errors.New("sigclient: too many messages wait")
	// ErrNewSession is returned by requests of a session that could not be resumed.
	ErrNewSession = errors.New("sigclient: the session was replaced by a new one")
)

// Client is one session with a hub.
type Client struct {
	opt    Options
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu       sync.Mutex
	ws       *websocket.Conn // nil while there is none
	closed   bool
	hello    map[string]json.RawMessage
	session  string
	token    string
	received uint64
	sent     uint64 // how many messages before out[0] the hub has
	out      []outgoing
	nextID   uint64
	calls    map[string]chan Message
	acking   bool
}

type outgoing struct {
	id   string
	text []byte
}

// Dial connects and returns after the server's hello; the client then lives
// until Close or a final close by the server. The error is that of the first
// handshake.
func Dial(ctx context.Context, o Options) (*Client, error) {
	if o.MaxOut == 0 {
		o.MaxOut = 256
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = 20 * time.Second
	}
	if o.Dialer == nil {
		o.Dialer = &websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	}
	if rest, ok := strings.CutPrefix(o.URL, "http"); ok {
		o.URL = "ws" + rest
	}
	c := &Client{opt: o, done: make(chan struct{}), calls: map[string]chan Message{}}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	ws, err := c.connect(ctx)
	if err != nil {
		c.cancel(err)
		return nil, err
	}
	go c.run(ws)
	return c, nil
}

// Hello decodes one field of the latest hello into v.
func (c *Client) Hello(field string, v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return json.Unmarshal(c.hello[field], v)
}

// Session returns the id of the session.
func (c *Client) Session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Done is closed when the client is closed.
func (c *Client) Done() <-chan struct{} { return c.done }

// Send sends a message, or keeps it while there is no connection. ErrBusy,
// ErrClosed, or what is wrong with data.
func (c *Client) Send(typ string, data any) error { return c.send(typ, "", data) }

// Request sends a message and waits for its answer, which it decodes into
// result unless that is nil. Errors: *Error, ErrNewSession, those of Send, and
// that of ctx.
func (c *Client) Request(ctx context.Context, typ string, data, result any) error {
	ch := make(chan Message, 1)
	c.mu.Lock()
	c.nextID++
	id := strconv.FormatUint(c.nextID, 10)
	c.calls[id] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	if err := c.send(typ, id, data); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrClosed
	case m, ok := <-ch:
		if !ok {
			return ErrNewSession
		}
		if m.Type == "error" {
			e := new(Error)
			if err := json.Unmarshal(m.Data, e); err != nil {
				return fmt.Errorf("sigclient: answer to %s: %w", typ, err)
			}
			return e
		}
		if result == nil || len(m.Data) == 0 {
			return nil
		}
		return json.Unmarshal(m.Data, result)
	}
}

func (c *Client) send(typ, id string, data any) error {
	m := map[string]any{"type": typ}
	if id != "" {
		m["id"] = json.RawMessage(id)
	}
	if data != nil {
		m["data"] = data
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("sigclient: encode %s: %w", typ, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ErrClosed
	case len(c.out) >= c.opt.MaxOut:
		return ErrBusy
	}
	c.pushLocked(id, text)
	if len(c.out) > c.opt.MaxOut/4 {
		c.askLocked()
	}
	return nil
}

func (c *Client) pushLocked(id string, text []byte) {
	c.out = append(c.out, outgoing{id, text})
	c.writeLocked(text)
}

// writeLocked writes under the lock, which keeps the order; the deadline bounds
// how long. A failure shows in the reader.
func (c *Client) writeLocked(text []byte) {
	if c.ws != nil {
		c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if c.ws.WriteMessage(websocket.TextMessage, text) != nil {
			c.ws.Close()
		}
	}
}

// askLocked asks the hub what has arrived and says what has arrived here.
func (c *Client) askLocked() {
	if c.acking || c.ws == nil {
		return
	}
	c.acking = true
	c.nextID++
	id := strconv.FormatUint(c.nextID, 10)
	c.pushLocked(id, fmt.Appendf(nil, `{"type":"ping","id":%s,"data":{"received":%d}}`, id, c.received))
	c.calls[id] = nil
}

// Close says goodbye and waits until the client's goroutine has ended. It must
// not be called from within a callback.
func (c *Client) Close() error {
	c.cancel(ErrClosed)
	c.mu.Lock()
	if c.ws != nil {
		goodbye(c.ws)
	} // else greet does
	c.mu.Unlock()
	<-c.done
	return nil
}

// goodbye ends ws at the latest after a second without an answer.
func goodbye(ws *websocket.Conn) {
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	time.AfterFunc(time.Second, func() { ws.Close() })
}

// Drop cuts the connection without a word, as a failing network does.
func (c *Client) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ws != nil {
		c.ws.NetConn().Close()
	}
}

// run reads, and reconnects, until the end.
func (c *Client) run(ws *websocket.Conn) {
	defer close(c.done)
	attempt := 0
	for {
		code, reason := 0, ""
		if ws != nil {
			attempt = 0
			code, reason = c.read(ws)
			ws.Close()
		}
		c.mu.Lock()
		c.ws = nil
		over := c.ctx.Err() != nil || code == websocket.CloseNormalClosure || code >= 4001 && code <= 4003
		c.closed = over
		c.mu.Unlock()
		if over {
			c.cancel(ErrClosed)
			c.state(State{Name: "closed", Code: code, Reason: reason})
			return
		}
		spread := 500 * time.Millisecond << min(attempt, 10)
		if c.opt.Spread != nil {
			spread = max(spread, c.opt.Spread())
		}
		in := rand.N(min(c.opt.MaxDelay, spread))
		if _, hint, ok := strings.Cut(reason, "retry-after="); ok {
			if sec, err := strconv.ParseFloat(strings.TrimSpace(hint), 64); err == nil && sec >= 0 && sec < 3600 {
				in = time.Duration((sec + rand.Float64()) * float64(time.Second))
			}
		}
		attempt++
		c.state(State{Name: "reconnecting", In: in, Code: code, Reason: reason})
		select {
		case <-c.ctx.Done():
		case <-time.After(in):
		}
		ws, _ = c.connect(c.ctx)
	}
}

func (c *Client) state(s State) {
	if c.opt.OnState != nil {
		c.opt.OnState(s)
	}
}

// connect opens a socket and reads the hello.
func (c *Client) connect(ctx context.Context) (*websocket.Conn, error) {
	u, err := url.Parse(c.opt.URL)
	if err != nil {
		return nil, fmt.Errorf("sigclient: Options.URL: %w", err)
	}
	c.mu.Lock()
	if c.token != "" {
		q := u.Query()
		q.Set("resume", c.token)
		q.Set("received", strconv.FormatUint(c.received, 10))
		u.RawQuery = q.Encode()
	}
	c.mu.Unlock()
	ws, resp, err := c.opt.Dialer.DialContext(ctx, u.String(), c.opt.Header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w (%s)", err, resp.Status)
		}
		return nil, fmt.Errorf("sigclient: connect: %w", err)
	}
	ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	var hello struct {
		Type string                     `json:"type"`
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := ws.ReadJSON(&hello); err != nil || hello.Type != "hello" {
		ws.Close()
		return nil, fmt.Errorf("sigclient: want a hello, got %q: %v", hello.Type, err)
	}
	c.greet(ws, hello.Data)
	return ws, nil
}

func (c *Client) greet(ws *websocket.Conn, hello map[string]json.RawMessage) {
	var h struct {
		session, token string
		resumed        bool
		received       uint64
		heartbeat      float64
	}
	json.Unmarshal(hello["sessionId"], &h.session)
	json.Unmarshal(hello["resumeToken"], &h.token)
	json.Unmarshal(hello["resumed"], &h.resumed)
	json.Unmarshal(hello["received"], &h.received)
	json.Unmarshal(hello["heartbeatSeconds"], &h.heartbeat)
	silence := time.Duration(h.heartbeat*2*float64(time.Second)) + 10*time.Second
	ws.SetReadDeadline(time.Now().Add(silence))
	ws.SetPingHandler(func(data string) error {
		ws.SetReadDeadline(time.Now().Add(silence))
		ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.out) > 0 {
			c.askLocked()
		}
		return nil
	})
	c.mu.Lock()
	if h.resumed && h.received >= c.sent {
		c.out = c.out[min(int(h.received-c.sent), len(c.out)):]
	} else if c.session != "" {
		c.received, c.out = 0, nil
		for id, ch := range c.calls {
			if ch != nil {
				close(ch)
			}
			delete(c.calls, id)
		}
	}
	c.ws, c.hello, c.session, c.token, c.sent, c.acking = ws, hello, h.session, h.token, h.received, false
	for _, m := range c.out {
		c.writeLocked(m.text)
	}
	if c.ctx.Err() != nil { // Close came before the hello
		goodbye(ws)
	}
	c.mu.Unlock()
	c.state(State{Name: "open", Resumed: h.resumed})
}

// read gives out messages until the socket ends, and returns how it did.
func (c *Client) read(ws *websocket.Conn) (code int, reason string) {
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				return ce.Code, ce.Text
			}
			return websocket.CloseAbnormalClosure, err.Error()
		}
		var batch []Message
		if len(b) > 0 && b[0] == '[' {
			err = json.Unmarshal(b, &batch)
		} else {
			batch = make([]Message, 1)
			err = json.Unmarshal(b, &batch[0])
		}
		if err != nil {
			return websocket.CloseInvalidFramePayloadData, err.Error()
		}
		for _, m := range batch {
			if !c.take(m) && c.opt.OnMessage != nil {
				c.opt.OnMessage(m)
			}
		}
	}
}

// take counts m and reports whether it was the answer to a request.
func (c *Client) take(m Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received++
	if m.Type != "ok" && m.Type != "error" || len(m.ID) == 0 {
		return false
	}
	for i, o := range c.out { // all up to the request have arrived
		if o.id == string(m.ID) {
			c.out = append(c.out[:0], c.out[i+1:]...)
			c.sent += uint64(i + 1)
			break
		}
	}
	ch, ok := c.calls[string(m.ID)]
	delete(c.calls, string(m.ID))
	if ok && ch == nil {
		c.acking = false
	} else if ok {
		ch <- m
	}
	return ok
}
