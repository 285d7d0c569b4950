package sigclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
	"github.com/stretchr/testify/require"
)

func open(t *testing.T, onMessage func(*signaling.Peer, signaling.Message)) string {
	hub, err := signaling.New(signaling.Options{MaxPeers: 10, TotalQueueBytes: 8 << 20, QueueMessages: 5000, QueueBytes: 1 << 20, ResumeBytes: 1 << 20,
		Rate: 1e6, Burst: 1e6, ResumeFor: 20 * time.Second, OnMessage: onMessage})
	require.NoError(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseUint(r.URL.Query().Get("received"), 10, 64)
		hub.Accept(w, r, signaling.AcceptOptions{User: "ann", Resume: r.URL.Query().Get("resume"), Received: n})
	}))
	t.Cleanup(func() {
		require.NoError(t, hub.Shutdown(context.Background()))
		web.Close()
	})
	return web.URL
}

// TestDrops cuts the connection while numbered messages go both ways.
func TestDrops(t *testing.T) {
	var up, down atomic.Int64
	url := open(t, func(p *signaling.Peer, m signaling.Message) {
		if n := up.Add(1) - 1; string(m.Data) != fmt.Sprint(n) {
			t.Errorf("the hub got %s as message %d", m.Data, n)
		}
		p.Send(signaling.Data, "n", m.Data)
		p.Reply(m.ID, nil)
	})
	c, err := sigclient.Dial(t.Context(), sigclient.Options{URL: url, MaxDelay: 5 * time.Millisecond,
		OnMessage: func(m sigclient.Message) {
			if n := down.Add(1) - 1; string(m.Data) != fmt.Sprint(n) {
				t.Errorf("the client got %s as message %d", m.Data, n)
			}
		}})
	require.NoError(t, err)
	session := c.Session()
	for i := range 1000 {
		if i%100 == 50 {
			c.Drop()
		}
		for c.Send("n", i) == sigclient.ErrBusy {
			time.Sleep(time.Millisecond)
		}
	}
	require.Eventually(t, func() bool { return down.Load() == 1000 }, 20*time.Second, time.Millisecond)
	require.EqualValues(t, 1000, up.Load())
	require.Equal(t, session, c.Session())
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Send("n", 1), sigclient.ErrClosed)
}

// TestCloseBeforeHello closes a client between the handshake of its second
// socket and the hello.
func TestCloseBeforeHello(t *testing.T) {
	var sockets atomic.Int64
	late, greet := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		if sockets.Add(1) == 2 {
			close(late)
			<-greet
		}
		ws.WriteJSON(map[string]any{"type": "hello", "data": map[string]any{"sessionId": "s", "heartbeatSeconds": 25}})
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}))
	defer web.Close()
	c, err := sigclient.Dial(t.Context(), sigclient.Options{URL: web.URL, MaxDelay: time.Millisecond})
	require.NoError(t, err)
	c.Drop()
	<-late
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	time.Sleep(50 * time.Millisecond) // it finds no socket
	close(greet)
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("Close waits")
	}
}

// TestSpread has one who can wait put off the next attempt, and only such a one.
func TestSpread(t *testing.T) {
	url := open(t, func(*signaling.Peer, signaling.Message) {})
	var spread time.Duration
	states := make(chan sigclient.State, 10)
	c, err := sigclient.Dial(t.Context(), sigclient.Options{URL: url, MaxDelay: 2000 * time.Hour,
		Spread: func() time.Duration { return spread }, OnState: func(s sigclient.State) { states <- s }})
	require.NoError(t, err)
	require.Equal(t, "open", (<-states).Name)
	c.Drop()
	require.Less(t, (<-states).In, 500*time.Millisecond)
	require.Equal(t, "open", (<-states).Name)
	spread = 1000 * time.Hour
	c.Drop()
	require.Greater(t, (<-states).In, 500*time.Millisecond) // but once in seven million
	require.NoError(t, c.Close())
}

func TestFinalClose(t *testing.T) {
	url := open(t, func(p *signaling.Peer, m signaling.Message) {
		if m.Type == "refuse" {
			p.ReplyError(m.ID, "no", "not today")
			return
		}
		p.Close(4002, "elsewhere")
	})
	states := make(chan sigclient.State, 10)
	c, err := sigclient.Dial(t.Context(), sigclient.Options{URL: url, OnState: func(s sigclient.State) { states <- s }})
	require.NoError(t, err)
	var refused *sigclient.Error
	require.ErrorAs(t, c.Request(t.Context(), "refuse", nil, nil), &refused)
	require.Equal(t, "no", refused.Code)
	require.ErrorIs(t, c.Request(t.Context(), "kick", nil, nil), sigclient.ErrClosed)
	<-c.Done()
	require.Equal(t, "open", (<-states).Name)
	require.Equal(t, sigclient.State{Name: "closed", Code: 4002, Reason: "elsewhere"}, <-states)
	require.NoError(t, c.Close())
	_, err = sigclient.Dial(t.Context(), sigclient.Options{URL: "ws://127.0.0.1:1/"})
	require.ErrorContains(t, err, "sigclient: connect")
}
