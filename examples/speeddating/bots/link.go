package bots

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// A studio makes the bots' WebRTC connections.
type studio struct {
	api   *webrtc.API
	video video

	once   sync.Once
	script script
	err    error
}

func newStudio(log *slog.Logger) (*studio, error) {
	v, err := parseClip(clip)
	if err != nil {
		return nil, err
	}
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{LoggerFactory: pionLog{log}}
	// A machine without a network still can talk to itself.
	settings.SetIncludeLoopbackCandidate(true)
	return &studio{
		api:   webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)),
		video: v,
	}, nil
}

// script is a real negotiation, recorded once. Two bots play it to each
// other: what the server has to relay is the same, and nothing has to be
// encoded, sent and decoded that nobody sees.
type script struct {
	offer, answer webrtc.SessionDescription
	candidates    []webrtc.ICECandidateInit
}

func (s *studio) recorded() (script, error) {
	s.once.Do(func() { s.script, s.err = s.record() })
	return s.script, s.err
}

func (s *studio) record() (script, error) {
	var out script
	caller, err := s.newLink(true, nil, func(string, signal) {}, nil)
	if err != nil {
		return out, err
	}
	defer caller.close()
	callee, err := s.newLink(false, nil, func(string, signal) {}, nil)
	if err != nil {
		return out, err
	}
	defer callee.close()
	if out.offer, err = caller.pc.CreateOffer(nil); err != nil {
		return out, err
	}
	gathered := webrtc.GatheringCompletePromise(caller.pc)
	if err := caller.pc.SetLocalDescription(out.offer); err != nil {
		return out, err
	}
	if err := callee.pc.SetRemoteDescription(out.offer); err != nil {
		return out, err
	}
	if out.answer, err = callee.pc.CreateAnswer(nil); err != nil {
		return out, err
	}
	select {
	case <-gathered:
	case <-time.After(2 * time.Second):
	}
	mid := "0"
	for line := range strings.Lines(caller.pc.LocalDescription().SDP) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok && len(out.candidates) < 8 {
			out.candidates = append(out.candidates, webrtc.ICECandidateInit{Candidate: "candidate:" + c, SDPMid: &mid})
		}
	}
	return out, nil
}

// A signal is the data of rtc:offer, rtc:answer and rtc:ice.
type signal struct {
	RoomID      string                     `json:"roomId"`
	From        string                     `json:"from,omitempty"`
	Offer       uint64                     `json:"offer,omitempty"`
	Description *webrtc.SessionDescription `json:"description,omitempty"`
	Candidate   *webrtc.ICECandidateInit   `json:"candidate,omitempty"`
	Candidates  []webrtc.ICECandidateInit  `json:"candidates,omitempty"`
}

// A link is one WebRTC connection of a bot with a person: perfect negotiation
// with the roles of the server. The initiator offers, and ignores an offer
// that collides with its own; the other side never offers.
//
// Its methods are for one goroutine. Its own goroutines end in close.
type link struct {
	studio    *studio
	pc        *webrtc.PeerConnection
	initiator bool
	send      func(kind string, s signal) // rtc:ice comes from other goroutines
	track     *webrtc.TrackLocalStaticSample
	done      chan struct{}

	mu      sync.Mutex
	playing bool
	closed  bool
	holding bool                      // a description is on its way
	found   []webrtc.ICECandidateInit // meanwhile
	wg      sync.WaitGroup
}

// newLink makes a link. restart, if set, is called on another goroutine when
// the connection has failed.
func (s *studio) newLink(initiator bool, servers []webrtc.ICEServer, send func(string, signal), restart func()) (*link, error) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{ICEServers: servers, BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		return nil, err
	}
	l := &link{studio: s, pc: pc, initiator: initiator, send: send, done: make(chan struct{})}
	if err := l.addTracks(); err != nil {
		l.close()
		return nil, err
	}
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil {
			l.candidate(c.ToJSON())
		}
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		// A bot looks without seeing.
		for buf := make([]byte, 1500); ; {
			if _, _, err := t.Read(buf); err != nil {
				return
			}
		}
	})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			l.start()
		case webrtc.PeerConnectionStateFailed:
			if initiator && restart != nil {
				restart()
			}
		}
	})
	return l, nil
}

func (l *link) addTracks() error {
	var err error
	l.track, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "bot")
	if err != nil {
		return err
	}
	if l.initiator {
		if _, err := l.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return err
		}
	}
	sender, err := l.pc.AddTrack(l.track)
	if err != nil {
		return err
	}
	l.wg.Go(func() { // reports must be read for retransmission to work
		for buf := make([]byte, 1500); ; {
			if _, _, err := sender.Read(buf); err != nil {
				return
			}
		}
	})
	return nil
}

// start plays the clip, once.
func (l *link) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && !l.playing {
		l.playing = true
		l.wg.Go(l.play)
	}
}

// play sends the clip in a loop until close.
func (l *link) play() {
	v := l.studio.video
	tick := time.NewTicker(v.every)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % len(v.frames) {
		if l.track.WriteSample(media.Sample{Data: v.frames[i], Duration: v.every}) != nil {
			return
		}
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
	}
}

// offer makes and sends an offer.
func (l *link) offer(restartICE bool) error {
	if l.pc.SignalingState() != webrtc.SignalingStateStable {
		return nil // one is on its way
	}
	l.hold()
	defer l.follow()
	d, err := l.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restartICE})
	if err != nil {
		return err
	}
	if err := l.pc.SetLocalDescription(d); err != nil {
		return err
	}
	l.send("rtc:offer", signal{Description: &d})
	return nil
}

// Candidates follow the description that they belong to: on the other side,
// those that came before it would belong to the one before, and be lost.
// Gathering begins before a description is there to be sent, with a restart as
// early as in CreateOffer.
func (l *link) hold() {
	l.mu.Lock()
	l.holding = true
	l.mu.Unlock()
}

func (l *link) follow() {
	l.mu.Lock()
	found := l.found
	l.holding, l.found = false, nil
	l.mu.Unlock()
	for _, c := range found {
		l.send("rtc:ice", signal{Candidate: &c})
	}
}

func (l *link) candidate(c webrtc.ICECandidateInit) {
	l.mu.Lock()
	holding := l.holding
	if holding {
		l.found = append(l.found, c)
	}
	l.mu.Unlock()
	if !holding {
		l.send("rtc:ice", signal{Candidate: &c})
	}
}

// receive takes what the other side sent.
func (l *link) receive(kind string, s signal) error {
	switch kind {
	case "rtc:offer":
		if s.Description == nil || l.pc.SignalingState() != webrtc.SignalingStateStable {
			return nil // a collision, and this side made the earlier offer
		}
		l.hold()
		defer l.follow()
		if err := l.pc.SetRemoteDescription(*s.Description); err != nil {
			return err
		}
		d, err := l.pc.CreateAnswer(nil)
		if err != nil {
			return err
		}
		if err := l.pc.SetLocalDescription(d); err != nil {
			return err
		}
		l.send("rtc:answer", signal{Description: &d, Offer: s.Offer})
	case "rtc:answer":
		if s.Description != nil && l.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
			return l.pc.SetRemoteDescription(*s.Description)
		}
	case "rtc:ice":
		if s.Candidate != nil {
			s.Candidates = append(s.Candidates, *s.Candidate)
		}
		if l.pc.RemoteDescription() == nil {
			return nil // of an offer that was ignored
		}
		for _, c := range s.Candidates {
			l.pc.AddICECandidate(c) // one of another generation is no harm
		}
	}
	return nil
}

// close ends the connection and waits for its goroutines.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.done)
	l.pc.Close()
	l.wg.Wait()
}
