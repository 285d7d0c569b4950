// Command chat is the smallest server that composes packages of the SDK: rooms
// of people who talk, on one page. Whoever opens it gives a name and is
// believed; a real server authenticates.
//
//	go run ./examples/chat
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/memmgr"
	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/plimsoll-go/plimsoll/signaling"
)

//go:embed page.html
var page []byte

// chat is one server.
type chat struct {
	memory *memmgr.Manager
	conns  *connmgr.Manager
	here   *presence.Tracker
	hub    *signaling.Hub
}

// newChat divides 64 MiB.
func newChat() (*chat, error) {
	c := &chat{}
	var err error
	c.memory, err = memmgr.New(memmgr.Options{
		Limit: 64 << 20,
		Accounts: []memmgr.AccountOptions{
			{Name: "connections", FreezeAt: memmgr.High}, // nobody new when it is tight
			{Name: "accepted", Min: 1 << 20, Max: 8 << 20},
			{Name: "queues", Min: 4 << 20},
			{Name: "presence", Min: 1 << 20},
		},
	})
	if err != nil {
		return nil, err
	}
	c.conns, err = connmgr.New(connmgr.Options{
		MaxConns: 1000, MaxPerUser: 2, PerUser: connmgr.EvictOldest, MaxPerAddr: 1000,
		Account: c.memory.Account("connections"), BytesPerConn: 12 << 10,
		Accept: connmgr.AcceptOptions{Account: c.memory.Account("accepted"), BytesPerConn: 20 << 10},
	})
	if err != nil {
		return nil, err
	}
	c.here, err = presence.New(presence.Options{
		MaxUsers: 2000, MaxSockets: 2000, MaxTopics: 1000, MaxWatchers: 1, MaxMeta: 1,
		Account: c.memory.Account("presence"),
	})
	if err != nil {
		return nil, err
	}
	c.hub, err = signaling.New(signaling.Options{
		MaxPeers: 2000, TotalQueueBytes: 8 << 20, Account: c.memory.Account("queues"),
		OnMessage: c.onMessage,
		OnOpen:    func(p *signaling.Peer) { c.here.Connect(p.User(), p.ID(), nil) },
		OnClose: func(p *signaling.Peer, info signaling.CloseInfo) {
			c.here.Disconnect(p.User(), p.ID(), info.Clean)
		},
	})
	return c, err
}

// socket is GET /ws.
func (c *chat) socket(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" || c.hub.Check(r) != nil {
		http.Error(w, "this is for a WebSocket with a name", http.StatusBadRequest)
		return
	}
	ticket, err := c.conns.Admit(connmgr.Request{User: name, Addr: c.conns.ClientAddr(r)})
	if err != nil {
		c.conns.Refuse(w, r, err) // 503, and when to come back
		return
	}
	c.hub.Accept(w, r, signaling.AcceptOptions{
		User: name, Resume: r.URL.Query().Get("resume"), Received: received(r),
		OnSocket:    func(s signaling.Socket) { ticket.Attach(s) }, // it can be evicted from here on
		OnSocketEnd: ticket.Release,
	})
}

// onMessage answers what a client sends.
func (c *chat) onMessage(p *signaling.Peer, m signaling.Message) {
	var in struct{ Room, Text string }
	if m.Decode(&in) != nil || in.Room == "" {
		p.ReplyError(m.ID, "invalid", "room is missing")
		return
	}
	switch m.Type {
	case "join":
		if err := c.here.Join(in.Room, p.User(), nil); err != nil {
			p.ReplyError(m.ID, "full", err.Error())
			return
		}
		p.Reply(m.ID, c.here.Count(in.Room))
	case "say":
		if !c.here.Has(in.Room, p.User()) {
			p.ReplyError(m.ID, "forbidden", "join first")
			return
		}
		n, err := c.toRoom(in.Room, "said", map[string]string{"room": in.Room, "from": p.User(), "text": in.Text})
		if err != nil {
			p.ReplyError(m.ID, "invalid", err.Error())
			return
		}
		p.Reply(m.ID, n)
	default:
		p.ReplyError(m.ID, "unknown_type", m.Type)
	}
}

// toRoom encodes a message once and sends it to all tabs of all who are in the
// room. It returns how many tabs took it.
func (c *chat) toRoom(room, event string, data any) (int, error) {
	frame, err := signaling.NewFrame(signaling.Data, event, data)
	if err != nil {
		return 0, err
	}
	sent := 0
	for next := uint64(0); ; {
		window, err := c.here.List(room, presence.ListOptions{Limit: 200, After: next})
		if err != nil {
			return sent, err
		}
		for _, member := range window.Members {
			sent += c.hub.SendUser(member.User, frame)
		}
		if next = window.Next; next == 0 {
			return sent, nil
		}
	}
}

func received(r *http.Request) (n uint64) {
	fmt.Sscan(r.URL.Query().Get("received"), &n)
	return n
}

func (c *chat) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", c.socket)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(page) })
	mux.HandleFunc("GET /plimsoll.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write([]byte(signaling.ClientJS))
	})
	return mux
}

// serve returns when ctx has ended and everybody was told.
func serve(ctx context.Context, addr string) error {
	c, err := newChat()
	if err != nil {
		return err
	}
	go c.memory.Run(context.WithoutCancel(ctx)) // until Shutdown
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	// Whoever has only connected, or sent half a request, is bounded too.
	server := &http.Server{Handler: c.routes(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10, ConnState: c.conns.ConnState}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(c.conns.Listener(l)) }()
	fmt.Println("listening on", addr)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, c.conns.Shutdown(stop), c.hub.Shutdown(stop), server.Shutdown(stop), c.here.Shutdown(stop), c.memory.Shutdown(stop))
}

func main() {
	addr := flag.String("addr", "localhost:8081", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}
