package sigclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
