package hostile

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// attack is one kind of attacker. run is called again and again, with the
// worker's number, until ctx ends, and counts what it did.
type attack struct {
	name    string
	workers int
	run     func(ctx context.Context, s *server, worker int, done *atomic.Int64)
}

// The deaf come first: later they would not get in.
var attacks = []attack{
	{"deaf", 8, deaf},
	{"sockets", 30, sockets},
	{"frames", 20, frames},
	{"bombs", 6, bombs},
	{"bodies", 20, bodies},
	{"uploads", 10, uploads},
	{"halves", 30, halves},
	{"churn", 10, churn},
}

// rampage makes all attacks at once until ctx ends and returns what was done.
func rampage(ctx context.Context, s *server, only string) map[string]int64 {
	done := map[string]*atomic.Int64{}
	var wg sync.WaitGroup
	for n, a := range attacks {
		if only != "" && !strings.Contains(","+only+",", ","+a.name+",") {
			continue
		}
		if n == 1 {
			pause(ctx, 2*time.Second)
		}
		count := new(atomic.Int64)
		done[a.name] = count
		for w := range a.workers {
			wg.Go(func() {
				for ctx.Err() == nil {
					a.run(ctx, s, 1000*n+w, count)
					pause(ctx, time.Duration(5+rand.IntN(20))*time.Millisecond)
				}
			})
		}
	}
	wg.Wait()
	out := map[string]int64{}
	for name, n := range done {
		out[name] = n.Load()
	}
	return out
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// guest signs somebody up, patiently.
func guest(ctx context.Context, s *server, w int) (id, token string) {
	client := clientFrom(w)
	for ctx.Err() == nil {
		id, token, err := signUp(ctx, client, s.url, fmt.Sprint("Guest ", w))
		if err == nil {
			return id, token
		}
		pause(ctx, 200*time.Millisecond)
	}
	return "", ""
}

// sockets opens as many sockets as it can, two for a person, joins the queue
// with each and keeps them. Every second person reads nothing of what the
// others' coming and going makes the server say.
func sockets(ctx context.Context, s *server, w int, done *atomic.Int64) {
	var held []*websocket.Conn
	defer func() {
		for _, ws := range held {
			ws.Close()
		}
	}()
	for len(held) < 150 && ctx.Err() == nil { // 30 workers: 4500 in all
		_, token := guest(ctx, s, w)
		for range 2 {
			ws, err := dial(ctx, s, w, token, len(held)%2 == 0)
			if err != nil {
				pause(ctx, 50*time.Millisecond)
				continue
			}
			done.Add(1)
			held = append(held, ws)
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"queue:join"}`)) // refused or not
			if len(held)%4 < 2 {
				go io.Copy(io.Discard, ws.NetConn())
			} else {
				_ = ws.NetConn().(*net.TCPConn).SetReadBuffer(2048)
			}
		}
	}
	<-ctx.Done()
}

// frames sends the largest frames that are accepted, and larger ones, as fast
// as it can.
func frames(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	ws, err := dial(ctx, s, w, token, false)
	if err != nil {
		return
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	go io.Copy(io.Discard, ws.NetConn())
	size := 64<<10 - 100
	switch w % 4 {
	case 0:
		size = 64<<10 + 1
	case 1:
		size = 8 << 20
	}
	frame := fmt.Appendf(nil, `{"type":"room:chat","id":1,"data":{"roomId":"x","text":"%s"}}`, strings.Repeat("x", size))
	for ctx.Err() == nil {
		_ = ws.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if w%4 == 2 { // never finished
			_, _ = ws.NetConn().Write(append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0, 1, 2, 3, 4}, frame[:60<<10]...))
			pause(ctx, 3*time.Second)
			return
		}
		if ws.WriteMessage(websocket.TextMessage, frame) != nil {
			return
		}
		done.Add(1)
	}
}

// zeros is size bytes of nothing, deflated or gzipped.
func zeros(size int, gzipped bool) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	if gzipped {
		w = gzip.NewWriter(&b)
	} else {
		w, _ = flate.NewWriter(&b, 9) // 9 is a level
	}
	chunk := bytes.Repeat([]byte{' '}, 1<<20)
	for n := 0; n < size; n += len(chunk) {
		_, _ = w.Write(chunk) // to memory
	}
	_ = w.Close()
	return b.Bytes()
}

var (
	deflated = sync.OnceValue(func() []byte { return zeros(64<<20, false) })
	gzipped  = sync.OnceValue(func() []byte { return zeros(256<<20, true) })
)

// bombs sends what inflates a thousandfold: as a WebSocket message and as a
// body.
func bombs(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	if w%2 == 0 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url+"/user/me", bytes.NewReader(gzipped()))
		if err != nil {
			return
		}
		req.Header = bearer(token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Content-Encoding", "gzip")
		if res, err := clientFrom(w).Do(req); err == nil {
			res.Body.Close()
			done.Add(1)
		}
		return
	}
	ws, err := dial(ctx, s, w, token, true)
	if err != nil {
		return
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	// A text frame with RSV1 set: permessage-deflate.
	data := deflated()
	head := []byte{0xc1, 0xff}
	head = binary.BigEndian.AppendUint64(head, uint64(len(data)))
	head = append(head, 0, 0, 0, 0) // a mask that changes nothing
	_ = ws.NetConn().SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = ws.NetConn().Write(append(head, data...)) // it may be closed at any byte
	_, _ = io.Copy(io.Discard, ws.NetConn())
	done.Add(1)
}

// bodies sends bodies of 64 MiB wherever one is taken, with and without a
// length.
func bodies(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	path := []string{"/auth/guest", "/user/me", "/report", "/auth/login"}[w%4]
	method := []string{http.MethodPost, http.MethodPut, http.MethodPost, http.MethodPost}[w%4]
	body := io.MultiReader(strings.NewReader(`{"name":"`), io.LimitReader(forever('x'), 64<<20))
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return
	}
	if w%2 == 0 {
		req.ContentLength = 64<<20 + 9
	}
	req.Header = bearer(token)
	req.Header.Set("Content-Type", "application/json")
	if res, err := clientFrom(w).Do(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	done.Add(1)
}

type forever byte

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// hugePNG says that it is 30000 pixels wide and high, in some hundred bytes.
var hugePNG = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))) // to memory
	data := b.Bytes()
	binary.BigEndian.PutUint32(data[16:], 30000)
	binary.BigEndian.PutUint32(data[20:], 30000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
})

// largePNG is a true picture just below 2 MB.
var largePNG = sync.OnceValue(func() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 700, 700))
	for i := range img.Pix {
		img.Pix[i] = byte(rand.Uint32())
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img) // to memory
	return b.Bytes()
})

// uploads sends pictures: true ones, lies, and what is too large.
func uploads(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	for i := range 5 {
		var body []byte
		switch (w + i) % 4 {
		case 0:
			body = hugePNG()
		case 1, 2:
			body = largePNG()
		case 3:
			body = bytes.Repeat([]byte("GIF89a"), 2<<20)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url+"/media/selfie", bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header = bearer(token)
		req.Header.Set("Content-Type", "image/png")
		if res, err := clientFrom(w).Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			done.Add(1)
		}
	}
}

// halvesEach times 30 is how many half-sent requests there are at a time.
var halvesEach = func() int {
	if n, err := strconv.Atoi(os.Getenv("PLIMSOLL_HOSTILE_HALVES")); err == nil {
		return n
	}
	return 40
}()

// halves opens connections and sends a part of a request on each: of the
// head, of a large head, of a body. They stay as long as they are let.
func halves(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for i := range halvesEach {
		c, err := from(w).DialContext(ctx, "tcp", s.addr)
		if err != nil {
			break
		}
		held = append(held, c)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		switch i % 4 {
		case 0:
			_, _ = io.WriteString(c, "GET /room/queue HT")
		case 1:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 15<<10))
		case 2:
			_, _ = fmt.Fprintf(c, "PUT /media/selfie HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: image/png\r\nContent-Length: 2000000\r\n\r\n%s",
				token, strings.Repeat("p", 32<<10))
		case 3:
			_, _ = io.WriteString(c, "POST /auth/guest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{\"name\":\"")
		}
		done.Add(1)
	}
	pause(ctx, 8*time.Second)
}

// deaf brings pairs into calls in which one side never reads, and has the
// other talk at it: chat, large offers, candidates. Beside that it asks for
// more queue windows than it will ever read.
func deaf(ctx context.Context, s *server, w int, done *atomic.Int64) {
	ids, ws := [2]string{}, [2]*websocket.Conn{}
	for i := range 2 {
		id, token := guest(ctx, s, w)
		c, err := dial(ctx, s, w, token, false)
		if err != nil {
			return
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		_ = c.NetConn().(*net.TCPConn).SetReadBuffer(2048)
		ids[i], ws[i] = id, c
	}
	say := func(i int, kind string, data any) error {
		raw, _ := json.Marshal(map[string]any{"type": kind, "id": kind, "data": data}) // plain maps
		_ = ws[i].SetWriteDeadline(time.Now().Add(5 * time.Second))
		return ws[i].WriteMessage(websocket.TextMessage, raw)
	}
	hear := func(i int, kind, field string) string {
		_ = ws[i].SetReadDeadline(time.Now().Add(5 * time.Second))
		for {
			_, frame, err := ws[i].ReadMessage()
			if err != nil {
				return ""
			}
			if frame[0] != '[' {
				frame = append(append([]byte{'['}, frame...), ']')
			}
			var ms []struct {
				Type string
				Data map[string]any
			}
			_ = json.Unmarshal(frame, &ms) // then there is nothing in it
			for _, m := range ms {
				if m.Type == kind {
					v, _ := m.Data[field].(string)
					return v
				}
			}
		}
	}
	_ = say(0, "queue:join", nil)
	_ = say(1, "queue:join", nil)
	_ = say(0, "call:invite", map[string]any{"toUserId": ids[1], "requestedSeconds": 600})
	invite := hear(1, "call:notify", "inviteId")
	_ = say(1, "call:accept", map[string]any{"inviteId": invite, "requestedSeconds": 600})
	room := hear(0, "call:start", "roomId")
	if room == "" {
		return
	}
	sdp := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
		"a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n" +
		"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
		strings.Repeat("a=x:"+base64.StdEncoding.EncodeToString(make([]byte, 90))+"\r\n", 440)
	for n := range 2000 {
		if ctx.Err() != nil {
			return
		}
		var err error
		switch n % 4 {
		case 0:
			err = say(0, "rtc:offer", map[string]any{"roomId": room, "description": map[string]string{"type": "offer", "sdp": sdp}})
		case 1:
			err = say(0, "room:chat", map[string]any{"roomId": room, "text": strings.Repeat("talk ", 90)})
		default:
			err = say(1, "queue:more", map[string]any{"cursor": ""})
		}
		if err != nil {
			return
		}
		done.Add(1)
		pause(ctx, 40*time.Millisecond)
	}
}

// churn comes and goes: with a goodbye, without, and in the middle of the
// handshake.
func churn(ctx context.Context, s *server, w int, done *atomic.Int64) {
	_, token := guest(ctx, s, w)
	for i := range 200 {
		if ctx.Err() != nil {
			return
		}
		if i%3 == 0 {
			if c, err := from(w).DialContext(ctx, "tcp", s.addr); err == nil {
				_, _ = fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", s.addr, token)
				c.Close()
			}
			continue
		}
		ws, err := dial(ctx, s, w, token, true)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"queue:join"}`))
		if i%3 == 1 {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		}
		ws.Close()
		done.Add(1)
	}
}
