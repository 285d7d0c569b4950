package connmgr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/plimsoll-go/plimsoll/connmgr"
)

// A conn stands for a WebSocket: Close queues a close frame.
type conn struct{ name string }

func (c conn) Close(code int, reason string) error {
	fmt.Println(c.name, "closed with", code)
	return nil
}

func Example() {
	m, err := connmgr.New(connmgr.Options{
		MaxConns:   1200,
		MaxPerUser: 2,
		PerUser:    connmgr.EvictOldest,
		MaxPerAddr: 100,
	})
	if err != nil {
		panic(err)
	}
	var tickets []connmgr.Ticket
	for _, name := range []string{"laptop", "phone", "tablet"} {
		tk, err := m.Admit(connmgr.Request{User: "ada", Addr: netip.MustParseAddr("192.0.2.1")})
		if err != nil {
			panic(err)
		}
		tk.Attach(conn{name})
		tickets = append(tickets, tk)
	}
	fmt.Println(m.Stats().Conns, "connected,", m.Stats().Evicted, "evicted")
	for _, tk := range tickets {
		tk.Release()
	}
	fmt.Println(m.Stats().Conns, "connected")
	// Output:
	// laptop closed with 4001
	// 2 connected, 1 evicted
	// 0 connected
}

func ExampleManager_Refuse() {
	m, _ := connmgr.New(connmgr.Options{MaxConns: 1, MaxPerUser: 1, MaxPerAddr: 1})
	handler := func(w http.ResponseWriter, r *http.Request) {
		tk, err := m.Admit(connmgr.Request{User: r.URL.Path, Addr: m.ClientAddr(r)})
		if limit, ok := errors.AsType[*connmgr.LimitError](err); ok {
			fmt.Println("refused by", limit.What)
			m.Refuse(w, r, err)
			return
		}
		tk.Attach(conn{r.URL.Path})
	}
	for _, path := range []string{"/ada", "/bob"} {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest("GET", path, nil))
		fmt.Println(path, w.Code, w.Header().Get("Retry-After") != "")
	}
	// Output:
	// /ada 200 false
	// refused by per-addr
	// /bob 503 true
}

// A browser's script cannot see a 503, but it can see a close code.
func ExampleManager_BeginRefuse() {
	m, _ := connmgr.New(connmgr.Options{MaxConns: 1, MaxPerUser: 1, MaxPerAddr: 1})
	m.Admit(connmgr.Request{User: "ada"})
	_, err := m.Admit(connmgr.Request{User: "bob"})
	if done, ok := m.BeginRefuse(); ok {
		defer done()
		m.RefuseConn(conn{"bob's upgraded connection"}, err)
	}
	// Output:
	// bob's upgraded connection closed with 1013
}

func ExampleManager_Shutdown() {
	m, _ := connmgr.New(connmgr.Options{MaxConns: 10, MaxPerUser: 1, MaxPerAddr: 1, DrainOver: 10 * time.Millisecond})
	tk, _ := m.Admit(connmgr.Request{User: "ada"})
	tk.Attach(conn{"ada"})
	time.AfterFunc(20*time.Millisecond, tk.Release) // her socket has ended
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(m.Shutdown(ctx))
	_, err := m.Admit(connmgr.Request{User: "bob"})
	fmt.Println(errors.Is(err, connmgr.ErrDraining))
	// Output:
	// ada closed with 1012
	// <nil>
	// true
}

func ExampleParseHint() {
	after, ok := connmgr.ParseHint("server restarts; retry-after=4.12")
	fmt.Println(after, ok)
	// Output: 4.12s true
}
