// Command connmgr prints what it costs a server to refuse a connection in
// each of the three places that package connmgr offers:
//
//	go run ./connmgr
//
// A server process with one core holds 1,000 open WebSockets; a client
// process dials 20,000 more, each of which is refused. The CPU time is the
// server's, user and system, for each refused connection.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/plimsoll-go/plimsoll/connmgr"
)

var places = []string{"accept", "503", "1013"}

func main() {
	var (
		serve = flag.String("serve", "", "be the server that refuses at this `place`")
		open  = flag.Int("open", 1000, "open connections")
		n     = flag.Int("n", 20_000, "refused connections")
		runs  = flag.Int("runs", 3, "runs, of which the median is printed")
	)
	flag.Parse()
	if *serve != "" {
		server(*serve, *open)
		return
	}
	fmt.Printf("%d open connections, %d refused, server on one core, median of %d\n\n", *open, *n, *runs)
	fmt.Println("| refused | refused/s | CPU each, µs | peak RSS added, MiB |")
	fmt.Println("|---|---|---|---|")
	for _, place := range places {
		var rate, cpu, rss []float64
		for range *runs {
			r, err := run(place, *open, *n)
			if err != nil {
				log.Fatalf("%s: %v", place, err)
			}
			rate, cpu, rss = append(rate, r.perSecond), append(cpu, r.cpu), append(rss, r.rss)
		}
		fmt.Printf("| %s | %.0f | %.1f | %.1f |\n", place, median(rate), median(cpu), median(rss))
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

type result struct{ perSecond, cpu, rss float64 }

// usage is the server's answer to /usage: CPU µs and peak RSS in KiB.
func usage() (cpu, rss int64) {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Sec*1e6 + u.Utime.Usec + u.Stime.Sec*1e6 + u.Stime.Usec, u.Maxrss
}

// run starts a server that refuses at place and dials it.
func run(place string, open, n int) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	cmd := exec.Command(exe, "-serve", place, "-open", strconv.Itoa(open))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return result{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	defer cmd.Wait()
	defer in.Close() // the server ends with its input
	answers := bufio.NewScanner(out)
	if !answers.Scan() {
		return result{}, errors.New("the server did not start")
	}
	addr := answers.Text()
	ask := func() (cpu, rss int64, err error) {
		if _, err := io.WriteString(in, "usage\n"); err != nil {
			return 0, 0, err
		}
		if !answers.Scan() {
			return 0, 0, io.ErrUnexpectedEOF
		}
		_, err = fmt.Sscan(answers.Text(), &cpu, &rss)
		return cpu, rss, err
	}

	conns := make([]net.Conn, open)
	for i := range conns {
		c, err := upgrade(addr, i)
		if err != nil {
			return result{}, fmt.Errorf("open connection %d: %w", i, err)
		}
		defer c.Close()
		conns[i] = c
	}
	// The first few warm the path up.
	for i := range 200 {
		if err := refused(place, addr, i); err != nil {
			return result{}, err
		}
	}
	cpu0, rss0, err := ask()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var next, failed atomic.Int64
	var firstErr atomic.Value
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := refused(place, addr, i); err != nil {
					failed.Add(1)
					firstErr.CompareAndSwap(nil, err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	cpu1, rss1, err := ask()
	if err != nil {
		return result{}, err
	}
	if f := failed.Load(); f > 0 {
		return result{}, fmt.Errorf("%d were not refused as expected, first: %w", f, firstErr.Load().(error))
	}
	return result{
		perSecond: float64(n) / took.Seconds(),
		cpu:       float64(cpu1-cpu0) / float64(n),
		rss:       float64(rss1-rss0) / 1024,
	}, nil
}

const request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://localhost\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\r\n"

// dial uses many loopback addresses, because the ports of one run out.
func dial(addr string, i int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1+byte(i%8), 1)}, Timeout: 20 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(60 * time.Second))
	}
	return c, err
}

func upgrade(addr string, i int) (net.Conn, error) {
	c, err := dial(addr, i)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.Contains(line, " 101 ") {
		err = fmt.Errorf("answered %q", line)
	}
	return c, err
}

// refused dials once and checks how it was refused.
func refused(place, addr string, i int) error {
	c, err := dial(addr, i)
	if err != nil {
		if place == "accept" && errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		return err
	}
	defer c.Close()
	if place != "accept" {
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
	}
	if place == "1013" {
		// Answer the close frame, as a browser does, and read to the end.
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if line == "\r\n" {
				break
			}
		}
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		if code := int(head[2])<<8 | int(head[3]); head[0] != 0x88 || code != connmgr.CloseTryAgainLater {
			return fmt.Errorf("got frame %#x with code %d", head[0], code)
		}
		if _, err := c.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 1013 >> 8, 1013 & 0xff}); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, r)
		return err
	}
	all, err := io.ReadAll(c)
	if place == "accept" {
		if len(all) > 0 {
			return fmt.Errorf("answered %q", all)
		}
		return nil
	}
	if !strings.HasPrefix(string(all), "HTTP/1.1 503 ") || !strings.Contains(string(all), "Retry-After: ") {
		return fmt.Errorf("answered %q", all)
	}
	return err
}

type wsConn struct{ *websocket.Conn }

func (c wsConn) Close(code int, reason string) error {
	return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

// server refuses at place everything beyond open connections.
func server(place string, open int) {
	runtime.GOMAXPROCS(1)
	opt := connmgr.Options{
		MaxConns: open, MaxPerUser: open, MaxPerAddr: open, MaxRefusing: 1000,
		Accept: connmgr.AcceptOptions{MaxConns: 1 << 20, MaxPerAddr: 1 << 20},
	}
	if place == "accept" {
		opt.Accept.MaxConns = open
	}
	m, err := connmgr.New(opt)
	if err != nil {
		log.Fatal(err)
	}
	up := websocket.Upgrader{
		ReadBufferSize: 256, WriteBufferPool: &sync.Pool{}, WriteBufferSize: 1024,
		CheckOrigin: func(*http.Request) bool { return true },
	}
	http.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		tk, err := m.Admit(connmgr.Request{User: "u", Addr: m.ClientAddr(r)})
		if err != nil {
			if place == "1013" {
				if done, ok := m.BeginRefuse(); ok {
					defer done()
					c, err2 := up.Upgrade(w, r, nil)
					if err2 != nil {
						return
					}
					defer c.Close()
					m.RefuseConn(wsConn{c}, err)
					c.SetReadDeadline(time.Now().Add(time.Second))
					c.ReadMessage() // the answer to the close
					return
				}
			}
			m.Refuse(w, r, err)
			return
		}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			tk.Release()
			return
		}
		tk.Attach(wsConn{c})
		go func() {
			defer tk.Release()
			defer c.Close()
			c.ReadMessage()
		}()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(m.Listener(l), nil)
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(usage())
	}
}
