package signaling

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSlowHandlersHoldUpNobody: one goroutine serves all who are ready, but not
// those behind a handler that waits.
func TestSlowHandlersHoldUpNobody(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, portable := range []bool{false, true} {
		release := make(chan struct{})
		s := serve(t, func(o *Options) {
			o.Portable = portable
			o.OnMessage = func(p *Peer, m Message) {
				if m.Type == "slow" {
					<-release
				}
				p.Reply(m.ID, m.Type)
			}
		})
		var clients []*client
		for i := range 60 {
			clients = append(clients, s.dial(fmt.Sprint("user", i), ""))
		}
		for i, c := range clients {
			if i%3 > 0 { // two slow ones before each quick one
				c.send(`{"type":"slow","id":1}`)
			}
		}
		for i, c := range clients {
			c.send(`{"type":"quick","id":2}`)
			if i%3 == 0 {
				require.Equal(t, `"quick"`, string(c.next().Data))
			}
		}
		close(release)
		for i, c := range clients {
			if i%3 > 0 {
				require.Equal(t, `"slow"`, string(c.next().Data), "in order")
				require.Equal(t, `"quick"`, string(c.next().Data))
			}
		}
	}
}

// masked is a client's frame.
func masked(first byte, text string) []byte {
	b := []byte{first, maskBit | byte(len(text))}
	if len(text) > 125 {
		b = binary.BigEndian.AppendUint16([]byte{first, maskBit | 126}, uint16(len(text)))
	}
	key := []byte{1, 2, 3, 4}
	body := []byte(text)
	unmask(body, key) // the same as masking
	return append(append(b, key...), body...)
}

// TestMixedFrames sends frames of all kinds together, cut anywhere: what is
// read directly and what is not must stay in order.
func TestMixedFrames(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Compress = false
		o.OnMessage = func(p *Peer, m Message) { p.Reply(m.ID, nil) }
	})
	of := func(id, size int) string {
		return fmt.Sprintf(`{"type":"x","id":%d,"data":"%s"}`, id, strings.Repeat("y", size))
	}
	all := bytes.Join([][]byte{
		masked(finBit|opText, of(1, 0)), masked(finBit|opText, of(2, 1000)), masked(finBit|opPing, "a"),
		masked(finBit|opText, of(3, 100)), masked(finBit|opText, of(4, 3000)), masked(finBit|opText, of(5, 10)),
		masked(opText, of(6, 50)[:20]), masked(finBit|opPong, ""), masked(finBit, of(6, 50)[20:]),
		masked(finBit|opText, of(7, 1990)), masked(finBit|opText, of(8, 9000)), masked(finBit|opText, of(9, 0)),
	}, nil)
	c := s.dial("ann", "")
	for cut := 0; cut < len(all); cut += 97 {
		conn := c.ws.NetConn()
		conn.Write(all[:cut])
		if cut%2 == 1 {
			runtime.Gosched()
		}
		conn.Write(all[cut:])
		for id := 1; id <= 9; id++ {
			require.Equal(t, fmt.Sprint(id), string(c.next().ID), "cut at %d", cut)
		}
	}
}
