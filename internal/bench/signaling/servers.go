//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// server is one of the compared: a handler of upgrades and a broadcast.
type server struct {
	upgrade   http.HandlerFunc
	broadcast func(msgs []string)
}

func serve(name string) error {
	s, err := build(name)
	if err != nil {
		return err
	}
	msgs := make([]string, 64)
	for i := range msgs {
		b, _ := json.Marshal(map[string]any{"seq": i, "text": text(980)})
		msgs[i] = string(b)
	}
	var next int
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", s.upgrade)
	mux.HandleFunc("/broadcast", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		var batch []string
		for range n {
			batch = append(batch, msgs[next%len(msgs)])
			next++
		}
		s.broadcast(batch)
	})
	mux.HandleFunc("/settled", func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			runtime.GC()
			debug.FreeOSMemory()
		}
		fmt.Fprint(w, rss("VmRSS:"))
	})
	mux.HandleFunc("/peak", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, rss("VmHWM:")) })
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, r *http.Request) {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Fprint(w, (u.Utime.Sec+u.Stime.Sec)*1e6+u.Utime.Usec+u.Stime.Usec)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, mux)
}

func rss(field string) int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), field)
	var kb int64
	fmt.Sscan(rest, &kb)
	return kb << 10
}

func build(name string) (*server, error) {
	switch name {
	case "plimsoll", "plimsoll-portable":
		return plimsoll(name != "plimsoll")
	case "raw":
		return rawWrites(), nil
	case "gws":
		return gwsServer(), nil
	case "chat":
		return chat(), nil
	case "centrifuge":
		return centrifugeServer()
	}
	return nil, fmt.Errorf("no server %q", name)
}

// plimsoll is the whole product: a hub with its limits, sessions and figures,
// and rooms open beside.
func plimsoll(portable bool) (*server, error) {
	hub, err := signaling.New(signaling.Options{
		MaxPeers: 20000, MaxRooms: 10000, TotalQueueBytes: 256 << 20, Portable: portable, Compress: true,
		PongTimeout: time.Minute, // the client may miss a ping
		Origins:     []string{"http://bench"},
		OnMessage:   func(p *signaling.Peer, m signaling.Message) { p.Reply(m.ID, m.Data) },
	})
	if err != nil {
		return nil, err
	}
	var n int
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request) {
			n++
			hub.Accept(w, r, signaling.AcceptOptions{User: strconv.Itoa(n)})
		},
		broadcast: func(msgs []string) {
			for _, m := range msgs {
				f, _ := signaling.NewFrame(signaling.Data, "b", json.RawMessage(m))
				hub.Broadcast(f)
			}
		},
	}, nil
}

// rawWrites is the floor: an upgrade, and then one write of ready bytes for
// each message and socket.
func rawWrites() *server {
	var mu sync.Mutex
	var conns []net.Conn
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request) {
			u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, ReadBufferSize: 256, WriteBufferPool: &sync.Pool{}}
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c.NetConn())
			mu.Unlock()
			go func() {
				if _, b, err := c.ReadMessage(); err == nil {
					c.WriteMessage(websocket.TextMessage, b)
				}
				c.ReadMessage()
			}()
		},
		broadcast: func(msgs []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range msgs {
				b := append([]byte{0x81, 126, byte(len(m) >> 8), byte(len(m))}, m...)
				for _, c := range conns {
					c.Write(b)
				}
			}
		},
	}
}

type gwsHandler struct {
	gws.BuiltinEventHandler
	mu    sync.Mutex
	conns map[*gws.Conn]struct{}
}

func (h *gwsHandler) OnOpen(c *gws.Conn) {
	h.mu.Lock()
	h.conns[c] = struct{}{}
	h.mu.Unlock()
}

func (h *gwsHandler) OnClose(c *gws.Conn, err error) {
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
}

func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

func gwsServer() *server {
	h := &gwsHandler{conns: map[*gws.Conn]struct{}{}}
	up := gws.NewUpgrader(h, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{Enabled: true}})
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request) {
			if c, err := up.Upgrade(w, r); err == nil {
				go c.ReadLoop()
			}
		},
		broadcast: func(msgs []string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, m := range msgs {
				b := gws.NewBroadcaster(gws.OpcodeText, []byte(m))
				for c := range h.conns {
					b.Broadcast(c)
				}
				b.Close()
			}
		},
	}
}

// chat has the shape of gorilla's chat example: two goroutines, a channel and
// a ticker for each socket.
func chat() *server {
	var mu sync.Mutex
	clients := map[chan []byte]struct{}{}
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request) {
			conn, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			send := make(chan []byte, 256)
			mu.Lock()
			clients[send] = struct{}{}
			mu.Unlock()
			go func() {
				defer func() {
					mu.Lock()
					delete(clients, send)
					mu.Unlock()
					conn.Close()
				}()
				conn.SetReadLimit(64 << 10)
				for {
					_, b, err := conn.ReadMessage()
					if err != nil {
						return
					}
					send <- b
				}
			}()
			go func() {
				ticker := time.NewTicker(25 * time.Second)
				defer ticker.Stop()
				for {
					select {
					case b := <-send:
						conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
						if conn.WriteMessage(websocket.TextMessage, b) != nil {
							return
						}
					case <-ticker.C:
						if conn.WriteMessage(websocket.PingMessage, nil) != nil {
							return
						}
					}
				}
			}()
		},
		broadcast: func(msgs []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range msgs {
				b := []byte(m)
				for c := range clients {
					c <- b
				}
			}
		},
	}
}

func centrifugeServer() (*server, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: "u"},
			Subscriptions: map[string]centrifuge.SubscribeOptions{"room": {}},
		}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnRPC(func(e centrifuge.RPCEvent, cb centrifuge.RPCCallback) { cb(centrifuge.RPCReply{Data: e.Data}, nil) })
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	h := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }, Compression: true})
	return &server{
		upgrade: h.ServeHTTP,
		broadcast: func(msgs []string) {
			for _, m := range msgs {
				node.Publish("room", []byte(m))
			}
		},
	}, nil
}
