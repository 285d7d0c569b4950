package bots

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// startPlatform builds the platform and runs it in a process of its own.
func startPlatform(t *testing.T) (url string) {
	exe := filepath.Join(t.TempDir(), "speeddating")
	out, err := exec.Command("go", "build", "-o", exe, "..").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(exe, "-addr", "127.0.0.1:0", "-db", filepath.Join(t.TempDir(), "bots.db"), "-log-level", "warn", "-drain", "100ms")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	return url
}

// human is a person who is no bot.
type human struct {
	t      *testing.T
	id     string
	api    *api
	client *sigclient.Client
	got    chan sigclient.Message
}

func newHuman(t *testing.T, base string) *human {
	a := newAPI(base)
	t.Cleanup(a.http.CloseIdleConnections)
	id, token, err := a.signUp(t.Context(), "Human", "unspecified", face(newRand(1)))
	require.NoError(t, err)
	h := &human{t: t, id: id, api: a, got: make(chan sigclient.Message, 10_000)}
	h.client, err = sigclient.Dial(t.Context(), sigclient.Options{
		URL:       base + "/ws",
		Header:    http.Header{"Authorization": {"Bearer " + token}},
		OnMessage: func(m sigclient.Message) { h.got <- m },
	})
	require.NoError(t, err)
	t.Cleanup(func() { h.client.Close() })
	return h
}

func (h *human) must(kind string, data, out any) {
	h.t.Helper()
	require.NoError(h.t, h.client.Request(h.t.Context(), kind, data, out), kind)
}

// wait gives the messages to take until it reports that it has what it wants.
func (h *human) wait(what string, take func(sigclient.Message) bool) {
	h.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case m := <-h.got:
			if take(m) {
				return
			}
		case <-deadline:
			h.t.Fatalf("no %s", what)
		}
	}
}

func decode[T any](t *testing.T, m sigclient.Message) T {
	var v T
	require.NoError(t, json.Unmarshal(m.Data, &v), "%s", m.Data)
	return v
}

// talk has a call with a bot: sees its picture, reads a line and gets an
// answer to one, and ends it.
func (h *human) talk(s *studio, start callStart) {
	h.t.Helper()
	require.True(h.t, start.Here)
	require.Contains(h.t, start.Peer.Name, "(bot)")
	var l *link
	send := func(kind string, s signal) {
		s.RoomID = start.RoomID
		h.client.Send(kind, s)
	}
	l, err := s.newLink(start.IsInitiator, nil, send, nil)
	require.NoError(h.t, err)
	defer l.close()
	if start.IsInitiator {
		require.NoError(h.t, l.offer(false))
	}
	lines := 0
	h.wait("picture and chat", func(m sigclient.Message) bool {
		switch m.Type {
		case "rtc:offer", "rtc:answer", "rtc:ice":
			require.NoError(h.t, l.receive(m.Type, decode[signal](h.t, m)))
		case "room:chat":
			line := decode[struct{ From, Text string }](h.t, m)
			if line.From == start.Peer.UserID {
				if lines++; lines == 1 {
					h.client.Send("room:chat", map[string]string{"roomId": start.RoomID, "text": "And you?"})
				}
			}
		}
		if lines < 2 {
			return false
		}
		for range 300 { // the pictures come by themselves
			for _, st := range l.pc.GetStats() {
				if in, ok := st.(webrtc.InboundRTPStreamStats); ok && in.PacketsReceived > 20 {
					return true
				}
			}
			select {
			case m := <-h.got:
				if strings.HasPrefix(m.Type, "rtc:") {
					require.NoError(h.t, l.receive(m.Type, decode[signal](h.t, m)))
				}
			case <-time.After(100 * time.Millisecond):
			}
		}
		h.t.Fatal("no picture")
		return false
	})
	h.must("call:end", map[string]string{"roomId": start.RoomID}, nil)
	h.wait("session:finalized", func(m sigclient.Message) bool { return m.Type == "session:finalized" })
}

// TestPlatform: one person on the real platform is invited by a bot, talks
// with it, invites another and talks with that, while bots talk to each other.
func TestPlatform(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the platform")
	}
	base := startPlatform(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{BaseURL: base, N: 5, Patience: 2 * time.Second, Hesitation: 100 * time.Millisecond, Manners: time.Hour})
	}()
	s, err := newStudio(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	h := newHuman(t, base)
	h.must("queue:join", nil, nil)

	var invite struct{ InviteID string }
	h.wait("invitation", func(m sigclient.Message) bool {
		if m.Type == "call:notify" {
			invite = decode[struct{ InviteID string }](t, m)
		}
		return invite.InviteID != ""
	})
	h.must("call:accept", map[string]any{"inviteId": invite.InviteID, "requestedSeconds": 60}, nil)
	var first callStart
	started := func(m sigclient.Message) bool {
		if m.Type == "call:start" {
			first = decode[callStart](t, m)
		}
		return m.Type == "call:start"
	}
	h.wait("call:start", started)
	require.False(t, first.IsInitiator)
	h.talk(s, first)

	h.must("queue:join", nil, nil)
	met := first.Peer.UserID
	var cards []card
	h.wait("a free bot", func(m sigclient.Message) bool {
		switch m.Type {
		case "queue:snapshot":
			cards = decode[struct{ Cards []card }](t, m).Cards
		case "queue:update":
			cards = decode[struct{ Added []card }](t, m).Added
		default:
			return false
		}
		for _, c := range cards {
			if c.UserID != met && h.client.Request(t.Context(), "call:invite", map[string]any{"toUserId": c.UserID, "requestedSeconds": 60}, nil) == nil {
				return true
			}
		}
		return false
	})
	h.wait("call:start", started)
	require.True(t, first.IsInitiator)
	h.talk(s, first)

	// Nobody is left when the bots have gone.
	cancel()
	require.NoError(t, <-ended)
	h.client.Close()
	h.api.http.CloseIdleConnections()
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines: %d, before %d\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
	require.Eventually(t, func() bool {
		res, err := http.Get(base + "/stats/live")
		require.NoError(t, err)
		defer res.Body.Close()
		var live struct{ OnlineUsers, ActiveCalls int }
		require.NoError(t, json.NewDecoder(res.Body).Decode(&live))
		return live.OnlineUsers == 0 && live.ActiveCalls == 0
	}, 60*time.Second, 100*time.Millisecond)
}

func TestOptions(t *testing.T) {
	err := Run(t.Context(), Options{BaseURL: "localhost", Hesitation: -1})
	require.ErrorContains(t, err, `Options.BaseURL = "localhost"`)
	require.ErrorContains(t, err, "Options.N = 0, want 1 to 10000")
	require.ErrorContains(t, err, "Options.Hesitation = -1ns")
}

// TestNoServer: bots that find no server wait, and end with their context.
func TestNoServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.NoError(t, Run(ctx, Options{BaseURL: "http://127.0.0.1:1", N: 3}))
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range 10_000 {
		name := botName(i)
		require.False(t, seen[name], name)
		require.LessOrEqual(t, len(name), 40)
		seen[name] = true
	}
	require.Equal(t, fmt.Sprintf("%s (bot)", names[0]), botName(0))
}

func newRand(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0)) }
