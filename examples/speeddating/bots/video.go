package bots

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
)

// clip is what every bot shows: eight seconds of a moving test pattern with a
// running clock, VP8 320x240 at 12 pictures a second, and a whole picture
// every two seconds, so that nobody waits longer for the first. Made by
//
//	ffmpeg -f lavfi -i testsrc2=size=320x240:rate=12 -t 8 -c:v libvpx -b:v 220k \
//	  -maxrate 300k -bufsize 300k -crf 32 -g 24 -keyint_min 24 -deadline good \
//	  -cpu-used 1 -an -bitexact -f ivf clip.ivf
//
//go:embed clip.ivf
var clip []byte

// video is a clip cut into frames, which share its memory.
type video struct {
	frames [][]byte
	every  time.Duration
}

func parseClip(data []byte) (video, error) {
	const frameHeader = 12
	in := bytes.NewReader(data)
	r, head, err := ivfreader.NewWith(in)
	if err != nil {
		return video{}, fmt.Errorf("bots: clip: %w", err)
	}
	v := video{every: time.Second * time.Duration(head.TimebaseNumerator) / time.Duration(head.TimebaseDenominator)}
	at := len(data) - in.Len()
	for {
		payload, _, err := r.ParseNextFrame()
		if err == io.EOF && len(v.frames) > 0 {
			return v, nil
		}
		if err != nil {
			return video{}, fmt.Errorf("bots: clip: %w", err)
		}
		at += frameHeader
		v.frames = append(v.frames, data[at:at+len(payload)])
		at += len(payload)
	}
}
