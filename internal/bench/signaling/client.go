//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mark is in every message once; the client counts it instead of parsing. Two
// bytes, because any single one may also be part of a frame's header.
const mark = "~Z"

// load is a client of many raw sockets in one epoll set.
type load struct {
	fds  []int
	set  int
	buf  []byte
	half []bool // by descriptor: the last read ended with the mark's first byte
	seen int    // marks counted and not yet waited for
}

const request = "GET /ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\nOrigin: http://bench\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func connect(addr, name string, n int) (*load, error) {
	set, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	l := &load{set: set, buf: make([]byte, 256<<10), half: make([]bool, 1<<17)}
	host, port, _ := net.SplitHostPort(addr)
	p, _ := strconv.Atoi(port)
	sa := &unix.SockaddrInet4{Port: p}
	copy(sa.Addr[:], net.ParseIP(host).To4())
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return nil, err
		}
		if err := unix.Connect(fd, sa); err != nil {
			return nil, err
		}
		unix.Write(fd, []byte(request+"\r\n"))
		got := 0
		for !bytes.Contains(l.buf[:got], []byte("\r\n\r\n")) {
			k, err := unix.Read(fd, l.buf[got:])
			if k <= 0 || err != nil {
				return nil, fmt.Errorf("handshake: %q %v", l.buf[:got], err)
			}
			got += k
		}
		if !strings.HasPrefix(string(l.buf[:got]), "HTTP/1.1 101") {
			return nil, fmt.Errorf("handshake: %q", l.buf[:got])
		}
		if name == "centrifuge" {
			unix.Write(fd, frame(`{"id":1,"connect":{}}`))
			unix.Read(fd, l.buf)
		}
		unix.SetNonblock(fd, true)
		unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
		l.fds = append(l.fds, fd)
	}
	return l, nil
}

// frame is a text frame with a mask of zeros.
func frame(s string) []byte {
	b := []byte{0x81, 0x80 | byte(len(s))}
	if len(s) > 125 {
		b = []byte{0x81, 0x80 | 126, byte(len(s) >> 8), byte(len(s))}
	}
	return append(append(b, 0, 0, 0, 0), s...)
}

// poll reads what is there and reports whether there was anything. Pings of a
// payload of four bytes are answered, unless a read ends within one.
func (l *load) poll(ms int) bool {
	var events [512]unix.EpollEvent
	n, _ := unix.EpollWait(l.set, events[:], ms)
	for _, ev := range events[:max(n, 0)] {
		for {
			k, err := unix.Read(int(ev.Fd), l.buf)
			if k <= 0 || err != nil {
				if k == 0 {
					unix.EpollCtl(l.set, unix.EPOLL_CTL_DEL, int(ev.Fd), nil)
				}
				break
			}
			b := l.buf[:k]
			l.seen += bytes.Count(b, []byte(mark))
			if l.half[ev.Fd] && b[0] == mark[1] {
				l.seen++
			}
			l.half[ev.Fd] = b[k-1] == mark[0]
			if i := bytes.LastIndex(b, []byte{0x89, 4}); i >= 0 && i+6 <= k {
				unix.Write(int(ev.Fd), append([]byte{0x8a, 0x84, 0, 0, 0, 0}, b[i+2:i+6]...))
			}
			if k < len(l.buf) {
				break
			}
		}
	}
	return n > 0
}

func (l *load) wait(marks int) error {
	for end := time.Now().Add(30 * time.Second); l.seen < marks; {
		if !l.poll(100) && time.Now().After(end) {
			return fmt.Errorf("%d of %d messages arrived", l.seen, marks)
		}
	}
	l.seen -= marks
	return nil
}

// drain reads what nobody waits for: pings.
func (l *load) drain() {
	for l.poll(10) {
	}
}

// exchange sends one message of a KiB on every socket and waits for its echo.
func (l *load) exchange(name string) error {
	m := `{"type":"echo","id":1,"data":"` + text(1000) + `"}`
	if name == "centrifuge" {
		m = `{"id":2,"rpc":{"method":"echo","data":"` + text(1000) + `"}}`
	}
	f := frame(m)
	for i, fd := range l.fds {
		unix.Write(fd, f)
		if i%64 == 63 {
			l.poll(0)
		}
	}
	return l.wait(len(l.fds))
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
