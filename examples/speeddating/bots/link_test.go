package bots

import (
	"bytes"
	"image/jpeg"
	"log/slog"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

func TestClip(t *testing.T) {
	v, err := parseClip(clip)
	require.NoError(t, err)
	require.Less(t, len(clip), 300<<10)
	require.Len(t, v.frames, 96)
	require.Equal(t, time.Second/12, v.every)
	for i := 0; i < len(v.frames); i += 24 {
		require.Zero(t, v.frames[i][0]&1, "frame %d is whole (RFC 6386, section 9.1)", i)
	}
	for n := range 200 {
		parseClip(clip[:n]) // no panic
	}
}

func TestFace(t *testing.T) {
	a, b := face(newRand(1)), face(newRand(2))
	require.NotEqual(t, a, b)
	img, err := jpeg.Decode(bytes.NewReader(a))
	require.NoError(t, err)
	require.Equal(t, 256, img.Bounds().Dx())
}

// wire connects two links as the server does: in order, with numbered offers.
type wire struct {
	t       *testing.T
	signals chan func()
}

func (w *wire) to(l **link) func(string, signal) {
	offers := uint64(0)
	return func(kind string, s signal) {
		if kind == "rtc:offer" {
			offers++
			s.Offer = offers
		}
		w.signals <- func() {
			if *l != nil {
				require.NoError(w.t, (*l).receive(kind, s))
			}
		}
	}
}

// until passes signals on until done reports true.
func (w *wire) until(done func() bool) {
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case f := <-w.signals:
			f()
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			w.t.Fatal("timeout")
		}
	}
}

// TestLink: a bot that is called and a bot that calls both send a picture, and
// both do so again after an ICE restart and after both offered at once.
func TestLink(t *testing.T) {
	s, err := newStudio(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	w := &wire{t: t, signals: make(chan func(), 1000)}
	var caller, callee *link
	caller, err = s.newLink(true, nil, w.to(&callee), nil)
	require.NoError(t, err)
	defer caller.close()
	callee, err = s.newLink(false, nil, w.to(&caller), nil)
	require.NoError(t, err)
	defer callee.close()
	packets := func(l *link) (n uint32) {
		for _, st := range l.pc.GetStats() {
			if in, ok := st.(webrtc.InboundRTPStreamStats); ok {
				n += in.PacketsReceived
			}
		}
		return n
	}
	require.NoError(t, caller.offer(false))
	w.until(func() bool { return packets(caller) > 20 && packets(callee) > 20 })

	before := packets(callee)
	require.NoError(t, caller.offer(true))
	w.until(func() bool { return packets(callee) > before+20 })

	// The polite side never offers by itself, but if it did, the impolite
	// one keeps its own offer.
	require.NoError(t, caller.offer(false))
	require.NoError(t, caller.receive("rtc:offer", signal{Description: callee.pc.RemoteDescription()}))
	require.Equal(t, webrtc.SignalingStateHaveLocalOffer, caller.pc.SignalingState())
	w.until(func() bool { return caller.pc.SignalingState() == webrtc.SignalingStateStable })
}

func TestRecorded(t *testing.T) {
	s, err := newStudio(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	r, err := s.recorded()
	require.NoError(t, err)
	require.Equal(t, webrtc.SDPTypeOffer, r.offer.Type)
	require.Equal(t, webrtc.SDPTypeAnswer, r.answer.Type)
	require.Contains(t, r.offer.SDP, "VP8")
	require.NotEmpty(t, r.candidates)
	require.LessOrEqual(t, len(r.candidates), 8)
}
