package sigclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"github.com/plimsoll-go/plimsoll/signaling"
	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
	"github.com/stretchr/testify/require"
)

// TestGlares has pairs of WebRTC peers offer to each other at the same moment,
// over a hub, and waits until both have a data channel and a message through
// it. What each side does about the other's offer follows from the role that
// the room gave it: the impolite one ignores it; the polite one gives up its
// own, which pion, whose rollback does not undo everything, does by beginning
// with a new connection.
//
// PLIMSOLL_LONG=1 forces 10,000 glares.
func TestGlares(t *testing.T) {
	glares, pairs := 50, 8
	if os.Getenv("PLIMSOLL_LONG") != "" {
		glares, pairs = 10_000, 32
	}
	var hub *signaling.Hub
	hub, err := signaling.New(signaling.Options{
		MaxPeers: 2 * pairs, MaxRooms: pairs, TotalQueueBytes: 16 << 20, Rate: 1e6, Burst: 1e6, ResumeFor: time.Minute,
		OnMessage: func(p *signaling.Peer, m signaling.Message) {
			var d struct {
				RoomID string `json:"roomId"`
			}
			if m.Type != "join" {
				if err := hub.Relay(p, m); err != nil {
					t.Errorf("%s of %s: %v", m.Type, p.User(), err)
				}
				return
			}
			m.Decode(&d)
			r := hub.Room(d.RoomID)
			if err := r.Join(p); err != nil {
				t.Error(err)
			}
			users := r.Members()
			p.Reply(m.ID, r.Polite(users[0], users[1]) == (p.User() == users[0]))
		},
	})
	require.NoError(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hub.Accept(w, r, signaling.AcceptOptions{User: r.URL.Query().Get("user"), Resume: r.URL.Query().Get("resume")})
	}))
	defer web.Close()
	defer hub.Shutdown(context.Background())

	api := loopback()
	began := time.Now()
	var next, collisions atomic.Int64
	var wg sync.WaitGroup
	for w := range pairs {
		users := []string{fmt.Sprint("ann", w), fmt.Sprint("bob", w)}
		wg.Go(func() {
			var sides [2]*side
			for i := range sides {
				s := &side{api: api, collisions: &collisions}
				c, err := sigclient.Dial(t.Context(), sigclient.Options{URL: web.URL + "?user=" + users[i],
					OnMessage: func(m sigclient.Message) { s.inbox.Load().(chan sigclient.Message) <- m }})
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				s.client, sides[i] = c, s
			}
			for !t.Failed() {
				n := int(next.Add(1)) - 1
				if n >= glares {
					return
				}
				room := fmt.Sprint("room", n)
				r, err := hub.OpenRoom(room, signaling.RoomOptions{Members: users, Initiator: users[n%2]})
				if err != nil {
					t.Error(err)
					return
				}
				both := make(chan struct{}, 1)
				errs := make(chan error, 2)
				for _, s := range sides {
					s.inbox.Store(make(chan sigclient.Message, 16))
				}
				var heard sync.WaitGroup
				heard.Add(len(sides))
				for _, s := range sides {
					go func() {
						err := s.glare(t.Context(), room, both)
						heard.Done()
						heard.Wait() // else the other may not have got what it was told
						if s.pc != nil {
							s.pc.Close()
						}
						errs <- err
					}()
				}
				for range sides {
					if err := <-errs; err != nil {
						t.Errorf("glare %d: %v", n, err)
					}
				}
				r.Close()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	require.EqualValues(t, 2*glares, collisions.Load(), "every offer must have met another")
	t.Logf("%d glares, all connected, in %v", glares, time.Since(began).Round(time.Millisecond))
}

// loopback returns peers that talk over the loopback interface only.
func loopback() *webrtc.API {
	log := logging.NewDefaultLoggerFactory()
	log.Writer = io.Discard
	var s webrtc.SettingEngine
	s.LoggerFactory = log
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" || name == "lo0" })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetHostAcceptanceMinWait(0)
	return webrtc.NewAPI(webrtc.WithSettingEngine(s))
}

// side is one of the two.
type side struct {
	api        *webrtc.API
	client     *sigclient.Client
	inbox      atomic.Value // of chan sigclient.Message
	collisions *atomic.Int64

	pc   *webrtc.PeerConnection
	open chan struct{} // closed when the other's greeting is there
}

// rtc is the data of rtc:offer and rtc:answer.
type rtc struct {
	RoomID      string                     `json:"roomId"`
	Offer       uint64                     `json:"offer,omitempty"`
	Description *webrtc.SessionDescription `json:"description"`
}

// begin makes a connection with a data channel that both sides know of.
func (s *side) begin() error {
	if s.pc != nil {
		s.pc.Close()
	}
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	yes, id := true, uint16(1)
	dc, err := pc.CreateDataChannel("talk", &webrtc.DataChannelInit{Negotiated: &yes, ID: &id})
	if err != nil {
		return err
	}
	open := make(chan struct{})
	var once sync.Once
	dc.OnOpen(func() { dc.SendText("hello") })
	dc.OnMessage(func(webrtc.DataChannelMessage) { once.Do(func() { close(open) }) })
	s.pc, s.open = pc, open
	return nil
}

// describe makes d ours, with all its candidates, and sends it.
func (s *side) describe(d webrtc.SessionDescription, room string, offer uint64, before func()) error {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(d); err != nil {
		return err
	}
	<-gathered
	if before != nil {
		before()
	}
	return s.client.Send("rtc:"+d.Type.String(), rtc{room, offer, s.pc.LocalDescription()})
}

// glare offers when the other side is about to, and returns when both have
// heard each other.
func (s *side) glare(ctx context.Context, room string, both chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	inbox := s.inbox.Load().(chan sigclient.Message)
	var polite bool
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.client.Request(ctx, "join", map[string]string{"roomId": room}, &polite); err != nil {
		return err
	}
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	meet := func() { // the first waits for the second
		select {
		case both <- struct{}{}:
			for len(both) > 0 && ctx.Err() == nil {
				time.Sleep(50 * time.Microsecond)
			}
		case <-both:
		}
	}
	if err := s.describe(offer, room, 0, meet); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("polite %v: no connection, %v, ICE %v", polite, s.pc.SignalingState(), s.pc.ICEConnectionState())
		case <-s.open:
			return nil
		case m := <-inbox:
			if err := s.take(m, room, polite); err != nil {
				return fmt.Errorf("polite %v, %s: %w", polite, m.Type, err)
			}
		}
	}
}

// take is perfect negotiation.
func (s *side) take(m sigclient.Message, room string, polite bool) error {
	var d rtc
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return err
	}
	if m.Type == "rtc:answer" {
		return s.pc.SetRemoteDescription(*d.Description)
	}
	if s.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
		s.collisions.Add(1)
		if !polite {
			return nil
		}
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.pc.SetRemoteDescription(*d.Description); err != nil {
		return err
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	return s.describe(answer, room, d.Offer, nil)
}
