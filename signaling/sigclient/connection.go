package sigclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

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
