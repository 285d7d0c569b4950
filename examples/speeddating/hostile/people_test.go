package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// from is a dialer from one of the many addresses of this host, so that the
// bounds for one address do not protect the server.
func from(i int) *net.Dialer {
	return &net.Dialer{
		Timeout:   15 * time.Second,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(i>>8), byte(2+i%250))},
	}
}

func clientFrom(i int) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: from(i).DialContext, DisableKeepAlives: true, DisableCompression: true,
	}}
}

// signUp makes a guest and returns the token.
func signUp(ctx context.Context, client *http.Client, base, name string) (id, token string, err error) {
	body, _ := json.Marshal(map[string]string{"name": name, "gender": "unspecified"})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/auth/guest", bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	var out struct{ UserID, SessionToken string }
	if res.StatusCode != http.StatusCreated {
		return "", "", fmt.Errorf("sign up: %s", res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return "", "", err
	}
	return out.UserID, out.SessionToken, nil
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// dial opens a WebSocket from address i.
func dial(ctx context.Context, s *server, i int, token string, compressed bool) (*websocket.Conn, error) {
	d := websocket.Dialer{
		NetDialContext: from(i).DialContext, HandshakeTimeout: 5 * time.Second,
		EnableCompression: compressed, ReadBufferSize: 1024, WriteBufferSize: 1024,
	}
	ws, res, err := d.DialContext(ctx, "ws://"+s.addr+"/ws", bearer(token))
	if err != nil && res != nil {
		return nil, fmt.Errorf("%w: %s", err, res.Status)
	}
	return ws, err
}

// pair is two people in a call that began before the attack. Each writes to
// the other once a second, a line of chat and a candidate, until stop.
type pair struct {
	clients [2]*sigclient.Client
	room    string

	mu     sync.Mutex
	sent   int
	came   map[string]time.Duration // by key: how long it took
	at     map[string]time.Time
	events []string // what a call should not see
}

// meet brings two people into a call.
func meet(t *testing.T, s *server) *pair {
	t.Helper()
	p := &pair{came: map[string]time.Duration{}, at: map[string]time.Time{}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	notify, begin := make(chan string, 1), make(chan string, 2)
	var ids [2]string
	var opened [2]atomic.Bool
	for i := range 2 {
		id, token, err := signUp(ctx, http.DefaultClient, s.url, fmt.Sprint("Good ", i))
		require.NoError(t, err)
		ids[i] = id
		p.clients[i], err = sigclient.Dial(ctx, sigclient.Options{
			URL: s.url + "/ws", Header: bearer(token),
			OnState: func(st sigclient.State) {
				first := st.Name == "open" && opened[i].CompareAndSwap(false, true)
				if !first && (st.Name != "open" || !st.Resumed) {
					p.event(fmt.Sprintf("socket %s, code %d %s", st.Name, st.Code, st.Reason))
				}
			},
			OnMessage: func(m sigclient.Message) {
				var d struct {
					InviteID, RoomID, Text, From string
					Candidate                    struct{ Candidate string }
				}
				_ = json.Unmarshal(m.Data, &d) // other messages have other fields
				switch m.Type {
				case "call:notify":
					notify <- d.InviteID
				case "call:start":
					begin <- d.RoomID
				case "room:chat":
					if d.From != ids[i] {
						p.arrived(d.Text)
					}
				case "rtc:ice":
					_, port, _ := strings.Cut(d.Candidate.Candidate, " 10.0.0.1 ")
					port, _, _ = strings.Cut(port, " ")
					p.arrived(fmt.Sprintf("ice %d %s", 1-i, port))
				case "peer:away", "peer:disconnected", "session:finalized":
					p.event(m.Type + " " + string(m.Data))
				}
			},
		})
		require.NoError(t, err)
		t.Cleanup(func() { p.clients[i].Close() })
		require.NoError(t, p.clients[i].Request(ctx, "queue:join", nil, nil))
	}
	ask := map[string]any{"toUserId": ids[1], "requestedSeconds": 1800}
	require.NoError(t, p.clients[0].Request(ctx, "call:invite", ask, nil))
	require.NoError(t, p.clients[1].Request(ctx, "call:accept", map[string]any{"inviteId": <-notify, "requestedSeconds": 1800}, nil))
	p.room = <-begin
	<-begin
	// Candidates belong to a description.
	const sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
		"a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=sctp-port:5000\r\n" +
		"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"
	describe := func(i int, kind string) {
		require.NoError(t, p.clients[i].Request(ctx, "rtc:"+kind, map[string]any{
			"roomId": p.room, "description": map[string]string{"type": kind, "sdp": sdp},
		}, nil))
	}
	describe(0, "offer")
	describe(1, "answer")
	return p
}

func (p *pair) event(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, what)
}

func (p *pair) arrived(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.at[key]; ok {
		p.came[key] = time.Since(at)
	}
}

// talk runs until ctx ends. Candidates are limited for each description, so
// only every fifth second brings one.
func (p *pair) talk(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		for i, c := range p.clients {
			chat := fmt.Sprintf("line %d of %d", n, i)
			p.note(chat)
			if err := c.Send("room:chat", map[string]string{"roomId": p.room, "text": chat}); err != nil {
				p.event("chat: " + err.Error())
			}
			if n%5 == 0 && n < 150 {
				p.note(fmt.Sprintf("ice %d %d", i, n+1))
				err := c.Send("rtc:ice", map[string]any{"roomId": p.room, "candidate": map[string]any{
					"candidate": fmt.Sprintf("candidate:1 1 udp 2113937151 10.0.0.1 %d typ host", n+1), "sdpMid": "0", "sdpMLineIndex": 0,
				}})
				if err != nil {
					p.event("ice: " + err.Error())
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *pair) note(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.at[key] = time.Now()
}

// verdict says what arrived, how late, and what went wrong.
func (p *pair) verdict() (sent, came int, worst time.Duration, events []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.came {
		worst = max(worst, d)
	}
	return p.sent, len(p.came), worst, slices.Clone(p.events)
}

// prober asks for /healthz five times a second until ctx ends, on a new
// connection and on a kept one in turn.
type prober struct {
	mu     sync.Mutex
	took   []time.Duration
	failed [2][]string // on new and on kept connections
	row    int         // failures in a row, on either
	worst  int         // the most of them
}

func (p *prober) run(ctx context.Context, s *server) {
	clients := [2]*http.Client{
		{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		{Timeout: 5 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		wg.Go(func() {
			begin := time.Now()
			kind := 0
			trace := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
				if c.Reused {
					kind = 1
				}
			}})
			req, err := http.NewRequestWithContext(trace, http.MethodGet, s.probes+"/healthz", nil)
			var res *http.Response
			if err == nil {
				res, err = clients[i%2].Do(req)
			}
			if err == nil {
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					err = errors.New(res.Status)
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.took = append(p.took, time.Since(begin))
			p.row++
			if err == nil {
				p.row = 0
			} else {
				p.failed[kind] = append(p.failed[kind], err.Error())
			}
			p.worst = max(p.worst, p.row)
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// percentiles sorts.
func (p *prober) percentiles() (p50, p99, worst time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.took)
	if n == 0 {
		return 0, 0, 0
	}
	slices.Sort(p.took)
	return p.took[n/2], p.took[n*99/100], p.took[n-1]
}

// newcomers signs up n people, ten at a time, opens a socket for each and
// waits for its hello. It returns how many got in, and the first failures.
func newcomers(ctx context.Context, s *server, n int) (in int, failed []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan int)
	for range 10 {
		wg.Go(func() {
			for i := range next {
				err := func() error {
					_, token, err := signUp(ctx, http.DefaultClient, s.url, fmt.Sprint("Newcomer ", i))
					if err != nil {
						return err
					}
					ws, err := dial(ctx, s, 0, token, false)
					if err != nil {
						return err
					}
					defer ws.Close()
					_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second)) // on a TCP connection it cannot fail
					_, frame, err := ws.ReadMessage()
					if err == nil && !bytes.Contains(frame, []byte(`"hello"`)) {
						err = fmt.Errorf("got %.60s", frame)
					}
					return err
				}()
				mu.Lock()
				if err == nil {
					in++
				} else {
					failed = append(failed, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	return in, failed[:min(len(failed), 3)]
}
