package sigclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

func ExampleDial() {
	hub, _ := signaling.New(signaling.Options{
		MaxPeers: 10, TotalQueueBytes: 1 << 20,
		OnMessage: func(p *signaling.Peer, m signaling.Message) { p.Reply(m.ID, m.Data) },
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hub.Accept(w, r, signaling.AcceptOptions{User: "ann"})
	}))
	defer server.Close()
	defer hub.Shutdown(context.Background())

	c, err := sigclient.Dial(context.Background(), sigclient.Options{URL: server.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	var answer string
	err = c.Request(context.Background(), "echo", "hello", &answer)
	fmt.Println(answer, err)
	// Output: hello <nil>
}
