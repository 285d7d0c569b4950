package signaling

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTwoHubs has ann on one hub and bob on the other.
func TestTwoHubs(t *testing.T) {
	bus, err := NewMemoryBus(MemoryBusOptions{MaxTopics: 10, MaxMessages: 1000, MaxBytes: 1 << 20})
	require.NoError(t, err)
	with := func(o *Options) { o.Bus = bus; o.OnMessage = func(p *Peer, m Message) { p.hub.Relay(p, m) } }
	one, two := serve(t, with), serve(t, with)
	a, b, b2 := one.dial("ann", ""), two.dial("bob", ""), one.dial("bob", "")
	f, err := NewFrame(Data, "hi", 1)
	require.NoError(t, err)
	one.hub.SendUser("bob", f)
	require.Equal(t, "hi", b.next().Type)
	require.Equal(t, "hi", b2.next().Type)

	members := RoomOptions{Members: []string{"ann", "bob"}}
	r1, err := one.hub.OpenRoom("r1", members)
	require.NoError(t, err)
	r2, err := two.hub.OpenRoom("r1", members)
	require.NoError(t, err)
	require.NoError(t, r1.Join(one.peer("ann")))
	require.NoError(t, r2.Join(two.peer("bob")))
	r2.Send(f)
	require.Equal(t, "hi", a.next().Type)
	require.Equal(t, "hi", b.next().Type)

	say := func(c *client, typ string, m Message) {
		b, _ := json.Marshal(m.Data)
		c.send(`{"type":"` + typ + `","data":` + string(b) + `}`)
	}
	say(a, "rtc:offer", describe("r1", "offer", "a1", 0))
	m := b.next()
	require.Equal(t, "rtc:offer", m.Type)
	require.Contains(t, string(m.Data), `"offer":1`)
	require.Contains(t, string(m.Data), `"from":"ann"`)
	say(b, "rtc:answer", describe("r1", "answer", "b1", 1))
	require.Equal(t, "rtc:answer", a.next().Type)
	say(a, "rtc:ice", trickle("r1", "a1", 2))
	require.Equal(t, "rtc:ice", b.next().Type)
	say(b, "rtc:answer", describe("r1", "answer", "b1", 1)) // answered already
	say(b, "rtc:offer", describe("r1", "offer", "b2", 0))
	require.Equal(t, "rtc:offer", a.next().Type)

	// A gap ends the sessions it may have hurt.
	one.hub.heard("ann", Event{Gap: true})
	require.Equal(t, 1012, a.closed())
	require.Eventually(t, func() bool { // OnClose has a goroutine of its own
		return strings.HasSuffix(one.notes(), "close1012")
	}, 10*time.Second, time.Millisecond)
	r1.Close()
	r2.Close()
}
