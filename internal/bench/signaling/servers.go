//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
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

// server is one of the compared: a handler of upgrades, whose request says
// which socket of the client's it is, and a broadcast.
type server struct {
	upgrade   func(w http.ResponseWriter, r *http.Request, i int)
	broadcast func(msgs []string)
}

// messages are what is broadcast: more than one deflate window of them.
func messages() []string {
	msgs := make([]string, 64)
	for i := range msgs {
		b, _ := json.Marshal(map[string]any{"seq": i, "text": text(980)})
		msgs[i] = string(b)
	}
	return msgs
}

// pingEvery is how often a server is to ping.
func pingEvery() time.Duration {
	ms, err := strconv.Atoi(os.Getenv("BENCH_PING"))
	if err != nil {
		return 25 * time.Second
	}
	return time.Duration(ms) * time.Millisecond
}

func serve(name string) error {
	s, err := build(name)
	if err != nil {
		return err
	}
	msgs := messages()
	var next int
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.URL.Query().Get("i"))
		s.upgrade(w, r, i)
	})
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
		for range 3 {
			debug.FreeOSMemory() // collects, too
			time.Sleep(20 * time.Millisecond)
		}
		fmt.Fprint(w, status("VmRSS:"))
	})
	mux.HandleFunc("/steady", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, status("VmRSS:")) })
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprint(w, m.HeapAlloc+m.StackInuse)
	})
	mux.HandleFunc("/peak", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("reset") {
			os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
		}
		fmt.Fprint(w, status("VmHWM:"))
	})
	mux.HandleFunc("/cpu", func(w http.ResponseWriter, r *http.Request) {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Fprint(w, (u.Utime.Sec+u.Stime.Sec)*1e6+u.Utime.Usec+u.Stime.Usec)
	})
	mux.HandleFunc("/phase", func(w http.ResponseWriter, r *http.Request) {
		pprof.StopCPUProfile()
		phase := r.URL.Query().Get("name")
		if f, err := os.Create(filepath.Join(os.Getenv("BENCH_PROFILE"), name+"-"+phase+".pprof")); err == nil && phase != "" {
			pprof.StartCPUProfile(f)
		}
	})
	listen := net.ListenConfig{KeepAlive: -1} // four system calls less for every server: they ping, or do without
	l, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, mux)
}

func status(field string) int64 {
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
	case "raw", "raw-joined":
		return rawWrites(name == "raw-joined"), nil
	case "gws":
		return gwsServer(), nil
	case "chat":
		return chat(), nil
	case "centrifuge":
		return centrifugeServer()
	}
	return nil, fmt.Errorf("no server %q", name)
}

// plimsoll is the whole product: a hub with its limits, sessions, rooms and
// figures, which are read every second.
func plimsoll(portable bool) (*server, error) {
	hub, err := signaling.New(signaling.Options{
		MaxPeers: 20000, MaxRooms: 10000, TotalQueueBytes: 256 << 20, Portable: portable, Compress: true,
		PingEvery: pingEvery(),
		Rate:      1 << 20, Burst: 1 << 20, // checked, but the relay's client is fast
		Origins: []string{"http://bench"},
		OnMessage: func(p *signaling.Peer, m signaling.Message) {
			p.Reply(m.ID, m.Data)
		},
		Forward: []string{"room:chat", "rtc:offer"},
	})
	if err != nil {
		return nil, err
	}
	rooms := make([]*signaling.Room, pairs)
	for i := range rooms {
		members := []string{strconv.Itoa(2 * i), strconv.Itoa(2*i + 1)}
		if rooms[i], err = hub.OpenRoom(fmt.Sprint("pair", i), signaling.RoomOptions{Members: members}); err != nil {
			return nil, err
		}
	}
	go func() {
		for range time.Tick(time.Second) {
			hub.Stats()
		}
	}()
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request, i int) {
			p, err := hub.Accept(w, r, signaling.AcceptOptions{User: strconv.Itoa(i)})
			if err == nil && i < 2*pairs {
				rooms[i/2].Join(p)
			}
		},
		broadcast: func(msgs []string) {
			for _, m := range msgs {
				f, _ := signaling.NewFrame(signaling.Data, "b", json.RawMessage(m))
				hub.Broadcast(f)
			}
		},
	}, nil
}

// rawWrites is the floor: an upgrade, then one read of whatever comes and one
// write of ready bytes for each message and socket, or joined for each
// broadcast and socket.
func rawWrites(join bool) *server {
	var mu sync.Mutex
	var conns []net.Conn
	var byIndex table[net.Conn]
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request, i int) {
			u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, ReadBufferSize: 256, WriteBufferPool: &sync.Pool{}}
			ws, err := u.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			c := ws.NetConn()
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			byIndex.set(i, c)
			go rawReader(c, func(m []byte) {
				byIndex.get(relayed(m, i)).Write(m)
			})
		},
		broadcast: func(msgs []string) {
			mu.Lock()
			defer mu.Unlock()
			if join {
				msgs = []string{"[" + strings.Join(msgs, ",") + "]"}
			}
			for _, m := range msgs {
				b := append([]byte{0x81, 126, byte(len(m) >> 8), byte(len(m))}, m...)
				for _, c := range conns {
					c.Write(b)
				}
			}
		},
	}
}

// rawReader knows that the client's messages have between 126 and 4000 bytes
// and are masked with zeros: what came goes out without its mask.
func rawReader(c net.Conn, take func(m []byte)) {
	var first [1]byte
	for {
		if n, err := c.Read(first[:]); n == 0 || err != nil {
			return
		}
		b := rawBuffers.Get().(*[8192]byte)
		b[0] = first[0]
		for n := 1; n > 0; {
			size := 4 // of the frame, as far as it is known
			if n >= size {
				size = 8 + int(b[2])<<8 + int(b[3])
			}
			if n < size || n < 8 {
				k, err := c.Read(b[n:])
				if err != nil {
					return
				}
				n += k
				continue
			}
			m := b[4:size]
			copy(m, []byte{b[0], b[1] &^ 0x80, b[2], b[3]}) // over the mask
			take(m)
			n = copy(b[:], b[size:n])
		}
		rawBuffers.Put(b)
	}
}

var rawBuffers = sync.Pool{New: func() any { return new([8192]byte) }}

// relayed reports to which socket a message of the client's goes: to the other
// one of its pair, or back.
func relayed(m []byte, i int) int {
	if bytes.Contains(m[:min(len(m), 32)], []byte(`"echo"`)) {
		return i
	}
	return i ^ 1
}

// table knows sockets by their number.
type table[T any] struct {
	mu sync.Mutex
	of map[int]T
}

func (t *table[T]) set(i int, v T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[int]T{}
	}
	t.of[i] = v
}

func (t *table[T]) get(i int) T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[i]
}

type gwsHandler struct {
	gws.BuiltinEventHandler
	mu    sync.Mutex
	conns map[*gws.Conn]struct{}
	table table[*gws.Conn]
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
	i, _ := c.Session().Load("i")
	h.table.get(relayed(m.Bytes(), i.(int))).WriteMessage(m.Opcode, m.Bytes())
}

func gwsServer() *server {
	h := &gwsHandler{conns: map[*gws.Conn]struct{}{}}
	up := gws.NewUpgrader(h, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{Enabled: true}})
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request, i int) {
			if c, err := up.Upgrade(w, r); err == nil {
				c.Session().Store("i", i)
				h.table.set(i, c)
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
	var byIndex table[chan []byte]
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
	every := pingEvery()
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request, i int) {
			conn, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			send := make(chan []byte, 256)
			byIndex.set(i, send)
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
					byIndex.get(relayed(b, i)) <- b
				}
			}()
			go func() {
				ticker := time.NewTicker(every)
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
	node.OnConnecting(func(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		cred, _ := centrifuge.GetCredentials(ctx)
		return centrifuge.ConnectReply{
			Credentials:   cred,
			Subscriptions: map[string]centrifuge.SubscribeOptions{"room": {}},
		}, nil
	})
	var byIndex table[*centrifuge.Client]
	node.OnConnect(func(c *centrifuge.Client) {
		i, _ := strconv.Atoi(c.UserID())
		byIndex.set(i, c)
		c.OnRPC(func(e centrifuge.RPCEvent, cb centrifuge.RPCCallback) {
			if e.Method == "relay" {
				byIndex.get(i ^ 1).Send(e.Data)
				cb(centrifuge.RPCReply{}, nil)
				return
			}
			cb(centrifuge.RPCReply{Data: e.Data}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	h := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true }, Compression: true,
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: pingEvery(), PongTimeout: pingEvery() * 9 / 10},
	})
	return &server{
		upgrade: func(w http.ResponseWriter, r *http.Request, i int) {
			ctx := centrifuge.SetCredentials(r.Context(), &centrifuge.Credentials{UserID: strconv.Itoa(i)})
			h.ServeHTTP(w, r.WithContext(ctx))
		},
		broadcast: func(msgs []string) {
			for _, m := range msgs {
				node.Publish("room", []byte(m))
			}
		},
	}, nil
}
