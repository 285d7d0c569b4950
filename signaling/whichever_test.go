package signaling

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWhicheverWay sends what the other tests send in any order and with bits
// flipped: what is handled, and the close code, must not depend on the mode and
// on where the network cuts it.
func TestWhicheverWay(t *testing.T) {
	var pieces []string
	for _, c := range conformCases() {
		if len(c.send) < 300 {
			pieces = append(pieces, c.send)
		}
	}
	for _, m := range deflatedMessages() {
		if len(m) < 300 {
			pieces = append(pieces, string(framed(m)), string(framed(m, len(m)/2)))
		}
	}
	for i := range 6 {
		pieces = append(pieces, of(textFrame, echoOf(i, 0)), of(pingFrame, "x"), of(textFrame, echoOf(i, 3000)))
	}
	slices.Sort(pieces)
	var servers [2]*server
	for i := range servers {
		servers[i] = serve(t, func(o *Options) {
			o.Portable, o.Compress, o.ResumeFor = i == 1, true, -1
			o.OnOpen, o.OnClose = nil, nil
			o.OnMessage = func(_ *Peer, m Message) { servers[i].note(fmt.Sprint(m.Type, m.ID, len(m.Data))) }
		})
	}
	run := func(s *server, b []byte, piece int) string {
		s.mu.Lock()
		s.log = nil
		s.mu.Unlock()
		c := s.dial("ann", "")
		conn := c.ws.NetConn().(*net.TCPConn)
		defer conn.Close()
		conn.SetNoDelay(true)
		for part := range slices.Chunk(b, piece) {
			if _, err := conn.Write(part); err != nil {
				break
			}
			if piece < len(b) {
				time.Sleep(20 * time.Microsecond)
			}
		}
		conn.Write(make([]byte, 70<<10)) // the rest of whatever has begun, and a fault
		code := c.closed()
		require.Eventually(t, func() bool { return len(s.hub.Peers("ann")) == 0 }, 10*time.Second, time.Millisecond)
		return strings.TrimSpace(fmt.Sprint(s.notes(), " ", code))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		var b []byte
		for range 1 + r.IntN(5) {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
		for r.IntN(2) == 0 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		want := run(servers[0], b, len(b))
		for _, s := range servers {
			require.Equal(t, want, run(s, b, 1+len(b)/12), "%x", b)
		}
		require.Equal(t, want, run(servers[1], b, len(b)), "%x", b)
	}
}
