//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mark is in every message once, so that several messages in one frame can be
// counted without parsing them. No server of these has it in its own words.
const mark = "~Z"

// load is a client of many raw sockets in one epoll set. It never sleeps in
// the kernel waiting for a socket: on one machine the server's writes would pay
// for waking it, the more of them the faster it reads.
type load struct {
	kind  string // the server's protocol above WebSocket
	set   int
	fds   []int
	socks []*sock // by descriptor
	buf   []byte
	seen  int         // messages that arrived and were not yet waited for
	gone  int         // sockets that the server closed
	each  func(*sock) // if set, called for each message
}

// sock is one socket and how far its frames were read.
type sock struct {
	fd       int
	i        int // in load.fds
	head     [10]byte
	have     int // bytes of head
	left     int // bytes of the payload to come
	op       byte
	final    bool
	deflated bool // the message, not only this frame
	half     bool // the payload so far ends with the mark's first byte
	control  []byte
}

const request = "Host: bench\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\nOrigin: http://bench\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// sources gives each set of sockets a source address of its own, for the sake
// of ports that are not yet free again.
var sources byte

// connect opens n sockets, 64 at a time.
func connect(addr, kind string, n int, deflate bool) (*load, error) {
	set, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	l := &load{kind: kind, set: set, buf: make([]byte, 256<<10), socks: make([]*sock, 1<<17)}
	host, port, _ := net.SplitHostPort(addr)
	p, _ := strconv.Atoi(port)
	to := &unix.SockaddrInet4{Port: p}
	copy(to.Addr[:], net.ParseIP(host).To4())
	sources++
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, sources}}
	path := "/ws?i="
	if kind == "socket.io" {
		path = "/socket.io/?EIO=4&transport=websocket&i="
	}
	rest := " HTTP/1.1\r\n" + request
	if deflate {
		rest += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	}
	rest += "\r\n"
	for len(l.fds) < n {
		first := len(l.fds)
		for range min(64, n-first) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return nil, err
			}
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			if err := unix.Bind(fd, from); err != nil {
				return nil, err
			}
			if err := unix.Connect(fd, to); err != nil {
				return nil, err
			}
			unix.Write(fd, []byte("GET "+path+strconv.Itoa(len(l.fds))+rest))
			l.fds = append(l.fds, fd)
		}
		for i, fd := range l.fds[first:] {
			if err := l.upgraded(fd, first+i, deflate); err != nil {
				return nil, err
			}
		}
	}
	switch kind {
	case "centrifuge":
		l.sendAll(frame(`{"id":1,"connect":{}}`))
	case "socket.io":
		l.sendAll(frame("40"))
	}
	l.pause(300 * time.Millisecond)
	l.seen = 0
	if l.gone > 0 {
		return nil, fmt.Errorf("%d sockets were closed at once", l.gone)
	}
	return l, nil
}

// upgraded reads the answer to a handshake, and what came right behind it.
func (l *load) upgraded(fd, i int, deflate bool) error {
	unix.SetNonblock(fd, true)
	got, end := 0, -1
	for end < 0 {
		k, err := unix.Read(fd, l.buf[got:])
		if err == unix.EAGAIN {
			time.Sleep(nap)
			continue
		}
		if k <= 0 || err != nil {
			return fmt.Errorf("handshake: %q %v", l.buf[:got], err)
		}
		got += k
		end = bytes.Index(l.buf[:got], []byte("\r\n\r\n"))
	}
	if head := string(l.buf[:end]); !strings.HasPrefix(head, "HTTP/1.1 101") || deflate != strings.Contains(head, "permessage-deflate") {
		return fmt.Errorf("handshake: %q", head)
	}
	s := &sock{fd: fd, i: i}
	l.socks[fd] = s
	l.take(s, l.buf[end+4:got])
	return unix.EpollCtl(l.set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// frame is a text frame with a mask of zeros.
func frame(s string) []byte {
	b := []byte{0x81, 0x80 | byte(len(s))}
	if len(s) > 125 {
		b = []byte{0x81, 0x80 | 126, byte(len(s) >> 8), byte(len(s))}
	}
	return append(append(b, 0, 0, 0, 0), s...)
}

// sendAll sends a frame on every socket.
func (l *load) sendAll(f []byte) {
	for i, fd := range l.fds {
		unix.Write(fd, f)
		if i%64 == 63 {
			l.poll()
		}
	}
}

// nap is how long the client sleeps when there is nothing to read.
const nap = 300 * time.Microsecond

// poll reads what is there and reports whether there was anything.
func (l *load) poll() bool {
	var events [512]unix.EpollEvent
	n, _ := unix.EpollWait(l.set, events[:], 0)
	for _, ev := range events[:max(n, 0)] {
		s := l.socks[ev.Fd]
		for {
			k, err := unix.Read(s.fd, l.buf)
			if k == 0 || err != nil && err != unix.EAGAIN && err != unix.EINTR {
				l.gone++
				unix.EpollCtl(l.set, unix.EPOLL_CTL_DEL, s.fd, nil)
			}
			if k <= 0 {
				break
			}
			l.take(s, l.buf[:k])
			if k < len(l.buf) {
				break
			}
		}
	}
	return n > 0
}

// take reads frames.
func (l *load) take(s *sock, b []byte) {
	for len(b) > 0 {
		if s.left == 0 {
			b = l.takeHead(s, b)
			if s.left > 0 || s.have > 0 {
				continue
			}
		}
		part := b[:min(s.left, len(b))]
		b = b[len(part):]
		s.left -= len(part)
		if s.op >= 8 || s.left == 0 && len(part) <= 2 {
			s.control = append(s.control, part...)
		} else if !s.deflated {
			l.count(s, part)
		}
		if s.left == 0 {
			l.ended(s)
		}
	}
}

// takeHead reads as much of a frame's header as there is.
func (l *load) takeHead(s *sock, b []byte) []byte {
	for len(b) > 0 {
		s.head[s.have] = b[0]
		b = b[1:]
		s.have++
		want := 2
		switch {
		case s.have >= 2 && s.head[1] == 126:
			want = 4
		case s.have >= 2 && s.head[1] == 127:
			want = 10
		}
		if s.have < want || want == 2 && s.have < 2 {
			continue
		}
		switch want {
		case 2:
			s.left = int(s.head[1])
		case 4:
			s.left = int(binary.BigEndian.Uint16(s.head[2:]))
		default:
			s.left = int(binary.BigEndian.Uint64(s.head[2:]))
		}
		s.have = 0
		s.op, s.final = s.head[0]&15, s.head[0]&0x80 != 0
		if s.op == 1 || s.op == 2 {
			s.deflated, s.half = s.head[0]&0x40 != 0, false
		}
		return b
	}
	return b
}

// count finds marks in a plain payload.
func (l *load) count(s *sock, b []byte) {
	n := bytes.Count(b, []byte(mark))
	if s.half && b[0] == mark[1] {
		n++
	}
	s.half = b[len(b)-1] == mark[0]
	l.seen += n
	if l.each != nil {
		for range n {
			l.each(s)
		}
	}
}

// ended is called behind each frame. It answers pings, the servers' own too.
func (l *load) ended(s *sock) {
	switch {
	case s.op == 9:
		unix.Write(s.fd, append([]byte{0x8a, 0x80 | byte(len(s.control)), 0, 0, 0, 0}, s.control...))
	case s.op >= 8:
	case l.kind == "socket.io" && string(s.control) == "2":
		unix.Write(s.fd, frame("3"))
	case l.kind == "centrifuge" && string(s.control) == "{}":
		unix.Write(s.fd, frame("{}"))
	case s.deflated && s.final:
		l.seen++
	}
	s.control = s.control[:0]
}

// wait waits for messages.
func (l *load) wait(messages int) error {
	for end := time.Now().Add(30 * time.Second); l.seen < messages; {
		if l.poll() {
			continue
		}
		if time.Now().After(end) || l.gone > 0 {
			return fmt.Errorf("%d of %d messages arrived, %d sockets were closed", l.seen, messages, l.gone)
		}
		time.Sleep(nap)
	}
	l.seen -= messages
	return nil
}

// pause answers pings for a while.
func (l *load) pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if !l.poll() {
			time.Sleep(nap)
		}
	}
}

// exchange sends one message of a KiB on every socket and waits for its echo.
func (l *load) exchange() error {
	m := `{"type":"echo","id":1,"data":"` + text(1000) + `"}`
	switch l.kind {
	case "centrifuge":
		m = `{"id":2,"rpc":{"method":"echo","data":"` + text(1000) + `"}}`
	case "socket.io":
		m = `42["echo","` + text(1000) + `"]`
	}
	l.sendAll(frame(m))
	return l.wait(len(l.fds))
}

// pairs is how many pairs of sockets relay to each other: socket 2i and 2i+1.
const pairs = 128

// relay keeps one ordinary message of a KiB on the way in both directions of
// every pair until total have arrived.
func (l *load) relay(total int) error {
	words := `"id":4611731,"sent":1764203047.25,"tags":["friends","evening"],"text":"` + text(900) + `"`
	return l.pass(total, func(i int) string {
		switch l.kind {
		case "centrifuge":
			return fmt.Sprintf(`{"id":2,"rpc":{"method":"relay","data":{"to":"%d",%s}}}`, i^1, words)
		case "socket.io":
			return fmt.Sprintf(`42["relay",{"to":"%d",%s}]`, i^1, words)
		}
		return fmt.Sprintf(`{"type":"room:chat","data":{"roomId":"pair%d",%s}}`, i/2, words)
	})
}

// offer is relay with session descriptions, which plimsoll checks.
func (l *load) offer(total int) error {
	sdp := "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=" + mark + "\r\nt=0 0\r\n" +
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:ETEn\r\na=ice-pwd:OtSK0WpNtpUjkY4+86js7Z/l\r\n" +
		"a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n"
	for i := 0; len(sdp) < 900; i++ {
		sdp += fmt.Sprintf("a=rtpmap:%d opus/48000/2\r\n", i)
	}
	sdp = strings.ReplaceAll(sdp, "\r\n", `\r\n`)
	return l.pass(total, func(i int) string {
		switch l.kind {
		case "centrifuge":
			return fmt.Sprintf(`{"id":2,"rpc":{"method":"relay","data":{"to":"%d","sdp":"%s"}}}`, i^1, sdp)
		case "socket.io":
			return fmt.Sprintf(`42["relay",{"to":"%d","sdp":"%s"}]`, i^1, sdp)
		}
		return fmt.Sprintf(`{"type":"rtc:offer","data":{"roomId":"pair%d","description":{"type":"offer","sdp":"%s"}}}`, i/2, sdp)
	})
}

// pass sends the message of every socket of a pair, and each again when that
// socket has got the other's, until total have arrived.
func (l *load) pass(total int, message func(i int) string) error {
	frames := make([][]byte, 2*pairs)
	for i := range frames {
		frames[i] = frame(message(i))
	}
	left := total
	send := func(s *sock) {
		if left--; left >= 0 {
			unix.Write(s.fd, frames[s.i])
		}
	}
	l.each = send
	for _, fd := range l.fds[:2*pairs] {
		send(l.socks[fd])
	}
	err := l.wait(total)
	l.each = nil
	return err
}

func (l *load) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	unix.Close(l.set)
}

// text is ordinary text of n bytes with one mark.
func text(n int) string {
	s := mark
	for i := 0; len(s) < n; i++ {
		s += fmt.Sprintf("user%d is %d years old, ", i*7919, i%90)
	}
	return s[:n]
}
