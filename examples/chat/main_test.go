package main

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// TestChat lets two people talk in a room that a third is not in.
func TestChat(t *testing.T) {
	c, err := newChat()
	require.NoError(t, err)
	server := httptest.NewServer(c.routes())
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)

	heard := make(chan string, 10)
	dial := func(name string) *sigclient.Client {
		client, err := sigclient.Dial(ctx, sigclient.Options{
			URL: server.URL + "/ws?name=" + name,
			OnMessage: func(m sigclient.Message) {
				if m.Type == "said" {
					heard <- name + " " + string(m.Data)
				}
			},
		})
		require.NoError(t, err)
		t.Cleanup(func() { client.Close() })
		return client
	}
	ann, ben, cleo := dial("ann"), dial("ben"), dial("cleo")
	room := map[string]string{"room": "deck"}
	var n int
	require.NoError(t, ann.Request(ctx, "join", room, &n))
	require.NoError(t, ben.Request(ctx, "join", room, &n))

	say := map[string]string{"room": "deck", "text": "ahoy"}
	require.NoError(t, ann.Request(ctx, "say", say, &n))
	require.Equal(t, 2, n)
	const said = ` {"from":"ann","room":"deck","text":"ahoy"}`
	require.ElementsMatch(t, []string{"ann" + said, "ben" + said}, []string{<-heard, <-heard})

	var refused *sigclient.Error
	require.ErrorAs(t, cleo.Request(ctx, "say", say, nil), &refused)
	require.Equal(t, "forbidden", refused.Code)

	require.NoError(t, c.conns.Shutdown(ctx))
	require.NoError(t, c.hub.Shutdown(ctx))
	require.NoError(t, c.here.Shutdown(ctx))
	require.Zero(t, c.conns.Stats().Conns)
	require.Zero(t, c.memory.Account("connections").Used())
}
