package signaling_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/plimsoll-go/plimsoll/signaling"
)

func ExampleHub() {
	hub, err := signaling.New(signaling.Options{
		MaxPeers: 1000, TotalQueueBytes: 16 << 20,
		OnMessage: func(p *signaling.Peer, m signaling.Message) {
			p.Reply(m.ID, "hello "+p.User())
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Shutdown(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hub.Accept(w, r, signaling.AcceptOptions{User: "ann"}) // who has been authenticated
	}))
	defer server.Close()

	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close()
	ws.ReadMessage() // the hello
	ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"greet","id":1}`))
	_, answer, _ := ws.ReadMessage()
	fmt.Println(string(answer))
	// Output: {"type":"ok","id":1,"data":"hello ann"}
}

func ExampleHub_OpenRoom() {
	hub, _ := signaling.New(signaling.Options{
		MaxPeers: 1000, MaxRooms: 500, TotalQueueBytes: 16 << 20,
		OnMessage: func(p *signaling.Peer, m signaling.Message) {},
	})
	defer hub.Shutdown(context.Background())

	room, err := hub.OpenRoom("call-1", signaling.RoomOptions{Members: []string{"ann", "bob"}, Initiator: "bob"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer room.Close()
	fmt.Println("ann polite:", room.Polite("ann", "bob"))
	fmt.Println("bob polite:", room.Polite("bob", "ann"))
	_, err = hub.OpenRoom("call-1", signaling.RoomOptions{Members: []string{"ann", "bob"}})
	fmt.Println(err)
	// Output:
	// ann polite: true
	// bob polite: false
	// signaling: room exists
}

func ExampleNewFrame() {
	f, err := signaling.NewFrame(signaling.Data, "queue:update", map[string]int{"total": 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	f.Latest("queue") // a newer one replaces it while it waits
	fmt.Println(string(f.JSON()))
	// Output: {"type":"queue:update","data":{"total":3}}
}

func ExampleTURN_Credentials() {
	turn := signaling.TURN{URLs: []string{"stun:turn.example.org", "turn:turn.example.org"}, Secrets: []string{"secret"}}
	c, err := turn.Credentials("ann", time.Unix(1_700_000_000, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.ICEServers[1].Username)
	fmt.Println(c.ExpiresAt.UTC().Format(time.TimeOnly))
	// Output:
	// 1700003600:ann
	// 23:13:20
}
