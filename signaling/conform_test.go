package signaling

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// The cases of the Autobahn test suite that concern a server like this one, by
// its numbers: what a client may send, in which pieces, and what it hears.

// echoOf is a message with an id that is answered; of n bytes, if that is more.
func echoOf(id, n int) string {
	s := fmt.Sprintf(`{"type":"echo","id":%d,"data":""}`, id)
	return s[:len(s)-2] + strings.Repeat("x", max(0, n-len(s))) + s[len(s)-2:]
}

func closing(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// of is a frame as a string, for the tables.
func of(first byte, payload string) string { return string(masked(first, payload)) }

const (
	textFrame = finBit | opText
	pingFrame = finBit | opPing
	pongFrame = finBit | opPong
	byeFrame  = finBit | opClose
	moreFrame = opContinuation
	lastFrame = finBit | opContinuation
	rsv1      = rsv1Bit
	rsv2      = 1 << 5
	rsv3      = 1 << 4
)

// conformCases maps a name to what is sent, how many messages of it are
// handled, and the close code that follows, or 0 if another message is answered.
func conformCases() map[string]conformCase {
	m1, m2 := echoOf(1, 0), echoOf(2, 0)
	a, b, c := m1[:9], m1[9:20], m1[20:]
	long := strings.Repeat("p", 125)
	cases := map[string]conformCase{
		"2.1 ping":                       {of(pingFrame, ""), 0, 0},
		"2.3 ping with binary":           {of(pingFrame, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), 0, 0},
		"2.4 ping of 125":                {of(pingFrame, long), 0, 0},
		"2.5 ping of 126":                {of(pingFrame, long+"p"), 0, 1002},
		"2.7 pong unasked":               {of(pongFrame, ""), 0, 0},
		"2.8 pong unasked with text":     {of(pongFrame, "unasked"), 0, 0},
		"2.9 pong, then ping":            {of(pongFrame, "unasked") + of(pingFrame, "asked"), 0, 0},
		"2.10 ten pings":                 {strings.Repeat(of(pingFrame, "again"), 10), 0, 0},
		"pong that looks like the hub's": {of(pongFrame, "\x00\x00\x00\x01"), 0, 0},

		"3.1 reserved":                {of(textFrame|rsv3, m1), 0, 1002},
		"3.2 reserved, after one":     {of(textFrame, m1) + of(textFrame|rsv2, m2) + of(pingFrame, ""), 1, 1002},
		"3.4 reserved, all but one":   {of(textFrame, m1) + of(textFrame|rsv2|rsv1, m2) + of(pingFrame, ""), 1, 1002},
		"3.5 all reserved":            {of(textFrame|rsv1|rsv2|rsv3, m1), 0, 1002},
		"3.6 reserved in ping":        {of(pingFrame|rsv2, ""), 0, 1002},
		"3.7 reserved in close":       {of(byeFrame|rsv3, closing(1000, "")), 0, 1002},
		"deflated ping":               {of(pingFrame|rsv1, ""), 0, 1002},
		"deflated close":              {of(byeFrame|rsv1, closing(1000, "")), 0, 1002},
		"deflated fragment":           {of(opText, a) + of(lastFrame|rsv1, b+c), 0, 1002},
		"deflated fragment, deflated": {string(framed(fixed([]byte(m1), true), 9)[:15]) + of(lastFrame|rsv1, "x"), 0, 1002},
		"binary":                      {of(finBit|opBinary, m1), 0, 1007},

		"5.1 ping in fragments":                {of(opPing, "fragment1") + of(lastFrame, "fragment2"), 0, 1002},
		"5.2 pong in fragments":                {of(opPong, "fragment1") + of(lastFrame, "fragment2"), 0, 1002},
		"close in fragments":                   {of(opClose, "\x03") + of(lastFrame, "\xe8"), 0, 1002},
		"5.3 two fragments":                    {of(opText, a) + of(lastFrame, b+c), 1, 0},
		"5.6 ping between":                     {of(opText, a) + of(pingFrame, "p") + of(lastFrame, b+c), 1, 0},
		"5.9 continuation first":               {of(lastFrame, "x") + of(textFrame, m1), 0, 1002},
		"5.12 continuation first, not last":    {of(moreFrame, "x") + of(textFrame, m1), 0, 1002},
		"5.15 continuation after a message":    {of(opText, a) + of(lastFrame, b+c) + of(moreFrame, "x") + of(textFrame, m2), 1, 1002},
		"5.18 text in text":                    {of(opText, a) + of(textFrame, m2), 0, 1002},
		"text in text, not last":               {of(opText, a) + of(opText, b), 0, 1002},
		"5.19 five fragments, pings":           {of(opText, a) + of(moreFrame, "") + of(pingFrame, "1") + of(moreFrame, b) + of(pingFrame, "2") + of(moreFrame, c) + of(lastFrame, ""), 1, 0},
		"first fragment empty":                 {of(opText, "") + of(lastFrame, m1), 1, 0},
		"pong between":                         {of(opText, a) + of(pongFrame, "p") + of(lastFrame, b+c), 1, 0},
		"bad ping between":                     {of(opText, a) + of(opPing, "p") + of(lastFrame, b+c), 0, 1002},
		"close between":                        {of(opText, a) + of(byeFrame, closing(1000, "")) + of(lastFrame, b+c), 0, 1000},
		"control frames in a deflated message": {string(join(framed(fixed([]byte(m1), true), 9)[:15], []byte(of(pingFrame, "p")+of(pongFrame, "q")), framed(fixed([]byte(m1), true), 9)[15:])), 1, 0},
		"empty fragments without end":          {of(opText, a) + strings.Repeat(of(moreFrame, ""), 1000), 0, 1008},
		"pings without end in a message":       {of(opText, a) + strings.Repeat(of(pingFrame, ""), 1000), 0, 1008},

		"7.1.1 message, close":       {of(textFrame, m1) + of(byeFrame, closing(1000, "")), 1, 1000},
		"7.1.2 two close":            {of(byeFrame, closing(1000, "")) + of(byeFrame, closing(1001, "")), 0, 1000},
		"7.1.3 ping after close":     {of(byeFrame, closing(1000, "")) + of(pingFrame, ""), 0, 1000},
		"7.1.4 message after close":  {of(byeFrame, closing(1000, "")) + of(textFrame, m1), 0, 1000},
		"7.3.1 empty close":          {of(byeFrame, ""), 0, 1000},
		"7.3.2 close of one byte":    {of(byeFrame, "\x03"), 0, 1002},
		"7.3.5 close, 123 of reason": {of(byeFrame, closing(1000, long[:123])), 0, 1000},
		"7.3.6 close, 124 of reason": {of(byeFrame, closing(1000, long[:124])), 0, 1002},
		"7.5.1 reason not UTF-8":     {of(byeFrame, closing(1000, "\xce\xba\xed\xa0\x80edited")), 0, 1007},

		"unmasked":                {"\x81\x02{}", 0, 1002},
		"unmasked ping":           {"\x89\x00", 0, 1002},
		"unmasked close":          {"\x88\x02\x03\xe8", 0, 1002},
		"unmasked fragment":       {of(opText, a) + "\x80\x01x", 0, 1002},
		"length with the sign":    {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", 0, 1002},
		"length of all bits":      {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 0, 1002},
		"length without it":       {"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 0, 1009},
		"lengths that overflow":   {of(opText, a) + "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 0, 1009},
		"ping with long length":   {"\x89\xfe\x00\x00\x00\x00\x00\x00", 0, 1002},
		"ping of 64 bits":         {"\x89\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00x", 0, 1002},
		"small length in 64 bits": {"\x81\xff\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(m1))) + "\x00\x00\x00\x00" + m1, 1, 0},
		"small length in 16 bits": {"\x81\xfe\x00" + string(rune(len(m1))) + "\x00\x00\x00\x00" + m1, 1, 0},
		"http":                    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, 1002},
		"tls":                     {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, 1002},
		"zeros":                   {strings.Repeat("\x00", 64), 0, 1002},
		"ones":                    {strings.Repeat("\xff", 64), 0, 1002},
		"bomb in fragments":       {string(framed(bomb(32), 1, 100, 10000, 30000)), 0, 1009},
	}
	for _, n := range []int{125, 126, 127, 128, 2047, 2048, 2049, 4095, 4096, 4097, 65535} {
		cases[fmt.Sprint("1.1 text of ", n)] = conformCase{of(textFrame, echoOf(1, n)), 1, 0}
	}
	for op := range byte(16) {
		if op > opBinary && op < opClose || op > opPong {
			cases[fmt.Sprint("4 opcode ", op)] = conformCase{of(textFrame, m1) + of(finBit|op, "") + of(pingFrame, ""), 1, 1002}
			cases[fmt.Sprint("4 opcode ", op, " with payload")] = conformCase{of(finBit|op, "reserved"), 0, 1002}
			cases[fmt.Sprint("4 opcode ", op, " in a message")] = conformCase{of(opText, a) + of(finBit|op, ""), 0, 1002}
		}
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999} {
		cases[fmt.Sprint("7.7 close ", code)] = conformCase{of(byeFrame, closing(code, "why")), 0, code}
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases[fmt.Sprint("7.9 close ", code)] = conformCase{of(byeFrame, closing(code, "why")), 0, 1002}
	}
	// 6: what is not UTF-8, wherever it is cut; and what is.
	for name, s := range map[string]string{"lone continuation": "\x80", "half": "\xce", "overlong": "\xc0\xaf", "overlong, three": "\xe0\x80\xaf",
		"surrogate": "\xed\xa0\x80", "too high": "\xf4\x90\x80\x80", "FE": "\xfe", "after text": "κόσμε\xed\xa0\x80"} {
		m := strings.Replace(m1, `""`, `"`+s+`"`, 1)
		cases["6 "+name] = conformCase{of(textFrame, m), 0, 1007}
		for cut := strings.Index(m, s); cut < strings.Index(m, s)+len(s); cut++ {
			cases[fmt.Sprint("6 ", name, " cut at ", cut)] = conformCase{of(opText, m[:cut]) + of(pingFrame, "") + of(lastFrame, m[cut:]), 0, 1007}
		}
	}
	cases["6 in a name"] = conformCase{of(textFrame, `{"type":"echo","\xff":1}`), 0, 1007}
	cases["6 in the type"] = conformCase{of(textFrame, `{"type":"\xff"}`), 0, 1007}
	cases["6 outside of strings"] = conformCase{of(textFrame, "{\xc2\xa0}"), 0, 1007}
	cases["byte order mark"] = conformCase{of(textFrame, "\ufeff"+m1), 0, 1007}
	for name, s := range map[string]string{"Greek": "κόσμε", "high": "\U0010ffff", "noncharacter": "\ufffe", "replacement": "\ufffd", "zero": `\u0000`} {
		m := strings.Replace(m1, `""`, `"`+s+`"`, 1)
		for cut := strings.Index(m, s); cut < strings.Index(m, s)+len(s); cut++ {
			cases[fmt.Sprint("6 valid ", name, " cut at ", cut)] = conformCase{of(opText, m[:cut]) + of(lastFrame, m[cut:]), 1, 0}
		}
	}
	return cases
}

type conformCase struct {
	send string
	got  int
	code int
}

func TestConform(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) {
			o.Portable, o.Compress, o.ResumeFor, o.Rate, o.Burst = portable, true, -1, 1, 100
		})
		got := s.got
		for name, test := range conformCases() {
			t.Run(name, func(t *testing.T) {
				for _, piece := range []int{len(test.send), 1 + len(test.send)/10} {
					s := &server{t: t, hub: s.hub, url: s.url}
					c := s.dial("ann", "")
					c.ws.NetConn().(*net.TCPConn).SetNoDelay(true)
					send := []byte(test.send)
					if test.code == 0 {
						send = append(send, of(textFrame, echoOf(99, 0))...)
					}
					for len(send) > 0 {
						n := min(piece, len(send))
						if _, err := c.ws.NetConn().Write(send[:n]); err != nil {
							break // it has closed already
						}
						send = send[n:]
						if len(send) > 0 {
							time.Sleep(50 * time.Microsecond)
						}
					}
					if test.code == 0 {
						for id := ""; id != "99"; id = string(c.next().ID) {
						}
					} else {
						require.Equal(t, test.code, c.closed())
					}
					require.Eventually(t, func() bool { return test.code == 0 || len(s.hub.Peers("ann")) == 0 }, 5*time.Second, time.Millisecond)
					want := test.got
					if test.code == 0 {
						want++
						c.ws.Close()
					}
					require.Len(t, got, want)
					for range want {
						<-got
					}
					require.Eventually(t, func() bool { return len(s.hub.Peers("ann")) == 0 }, 5*time.Second, time.Millisecond)
				}
			})
		}
	})
}

// TestDeflatedCountsBySize: what is costly to inflate counts for more in the rate.
func TestDeflatedCountsBySize(t *testing.T) {
	s := serve(t, func(o *Options) { o.Compress, o.ResumeFor, o.Rate, o.Burst = true, -1, 1, 20 })
	got := s.got
	padded := func(n int) []byte { return join(stored([]byte(said), false), stored(spaces(n), false), []byte{0}) }
	c := s.dial("ann", "")
	for range 2 { // nine each
		c.ws.NetConn().Write(framed(padded(33 << 10)))
		require.Equal(t, "1", string(c.next().ID))
	}
	c.ws.NetConn().Write(framed(padded(33 << 10)))
	require.Equal(t, 1008, c.closed())
	require.Len(t, got, 2)
	c = s.dial("ben", "")
	for range 19 {
		c.ws.NetConn().Write(framed(padded(3 << 10)))
		require.Equal(t, "1", string(c.next().ID))
	}
}

// TestReservedWithoutDeflate: the bit that says a message is deflated is a
// reserved one when that has not been agreed on.
func TestReservedWithoutDeflate(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.ResumeFor = portable, -1 })
		for _, first := range []byte{textFrame | rsv1, opText | rsv1, finBit | opBinary | rsv1, pingFrame | rsv1} {
			c := s.dial("ann", "")
			c.ws.NetConn().Write(masked(first, "x"))
			require.Equal(t, 1002, c.closed())
		}
	})
}

// TestPongs: each ping, also one between fragments and one that comes in two
// parts, has its pong; of several at once the latest has.
func TestPongs(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable = portable })
		c := s.dial("ann", "")
		var pongs []string
		c.ws.SetPongHandler(func(m string) error { pongs = append(pongs, m); return nil })
		for i, send := range []string{of(pingFrame, "p"), of(opText, "{") + of(pingFrame, "p"), of(moreFrame, "") + of(pingFrame, "q") + of(pingFrame, "p"), of(pingFrame, "p")[:5]} {
			c.ws.NetConn().Write([]byte(send))
			if i < 3 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		c.ws.NetConn().Write([]byte(of(pingFrame, "p")[5:] + of(lastFrame, echoOf(1, 0)[1:])))
		require.Equal(t, "1", string(c.next().ID))
		s.peer("ann").Close(4001, "")
		require.Equal(t, 4001, c.closed())
		require.GreaterOrEqual(t, len(pongs), 1)
		require.Equal(t, "p", pongs[len(pongs)-1])
	})
}

// TestSlowMessageHoldsNoInflater: a deflated message that stops half-way costs a
// socket what it has sent, and a timeout ends it.
func TestSlowMessageHoldsNoInflater(t *testing.T) {
	s := serve(t, func(o *Options) { o.Compress, o.ReadTimeout, o.ResumeFor = true, 100*time.Millisecond, -1 })
	c := s.dial("ann", "")
	message := framed(flushed(bytes.Repeat([]byte(said), 100), nil), 20)
	for i := range message { // a byte now and then does not prolong it
		if _, err := c.ws.NetConn().Write(message[i : i+1]); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Equal(t, 1006, c.closed())
	require.Zero(t, s.hub.budget.used.Load())
}

// TestOffers: an offer that the hub cannot keep is declined, another one beside
// it accepted (Autobahn 13). Gorilla alone would accept all, and declines some
// that it could keep.
func TestOffers(t *testing.T) {
	const d = "permessage-deflate"
	for offer, want := range map[string]bool{
		d: true, d + ";": true, " " + d + " ": true, "x-webkit-deflate-frame": false, "": false,
		d + "; client_max_window_bits": true, d + "; client_max_window_bits=9": true, d + `;client_max_window_bits="10"`: true,
		d + "; client_max_window_bits=7": false, d + "; client_max_window_bits=16": false, d + "; client_max_window_bits=x": false,
		d + "; client_no_context_takeover; server_no_context_takeover": true, d + "; server_no_context_takeover=1": false,
		d + "; client_no_context_takeover; client_no_context_takeover": false,
		d + "; server_max_window_bits=10":                              false, d + "; server_max_window_bits": false, d + "; unknown": false, d + "; =": false,
		d + "; server_max_window_bits=10, " + d: true, d + "-2, " + d + "; client_max_window_bits": true,
	} {
		require.Equal(t, want, offersDeflate([]string{offer}), offer)
	}
	s := serve(t, func(o *Options) { o.Compress = true })
	for offer, want := range map[string]bool{"": false, d: true, d + "; server_max_window_bits=10": false, d + ";": false, d + `; client_max_window_bits="10"`: true} {
		h := map[string][]string{}
		if offer != "" {
			h["Sec-WebSocket-Extensions"] = []string{offer}
		}
		user := fmt.Sprint("user", len(offer))
		ws, resp, err := websocket.DefaultDialer.Dial(s.url+"/?user="+user, h)
		require.NoError(t, err)
		require.Equal(t, want, resp.Header.Get("Sec-Websocket-Extensions") != "", offer)
		p := s.peer(user)
		p.mu.Lock()
		require.Equal(t, want, p.sock.deflate, offer) // as was answered
		p.mu.Unlock()
		ws.Close()
	}
}
