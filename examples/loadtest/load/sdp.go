package load

import (
	"fmt"
	"strings"
)

// sdpBytes is about what Chromium offers for audio and video.
const sdpBytes = 5900

// description returns an SDP of that size for one side of a call. Its session
// id is n, by which the receiver recognizes it.
func description(n int64, setup string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- %d 2 IN IP4 127.0.0.1", n)
	line("s=-")
	line("t=0 0")
	line("a=group:BUNDLE 0 1")
	line("a=extmap-allow-mixed")
	line("a=msid-semantic: WMS load%d", n)
	media := func(kind string, mid int, payloads string) {
		line("m=%s 9 UDP/TLS/RTP/SAVPF %s", kind, payloads)
		line("c=IN IP4 0.0.0.0")
		line("a=rtcp:9 IN IP4 0.0.0.0")
		line("a=ice-ufrag:%08x", uint32(n))
		line("a=ice-pwd:load%020d", n)
		line("a=ice-options:trickle")
		line("a=fingerprint:sha-256 %s", strings.TrimSuffix(strings.Repeat("AB:", 32), ":"))
		line("a=setup:%s", setup)
		line("a=mid:%d", mid)
		line("a=sendrecv")
		line("a=msid:load%d %s%d", n, kind, n)
		line("a=rtcp-mux")
		line("a=rtcp-rsize")
	}
	media("audio", 0, "111 63 9 0 8 13 110 126")
	line("a=rtpmap:111 opus/48000/2")
	line("a=rtcp-fb:111 transport-cc")
	line("a=fmtp:111 minptime=10;useinbandfec=1")
	line("a=ssrc:%d cname:load%d", uint32(n), n)
	media("video", 1, "96 97 98 99 100 101 102 103 104 105 106 107 108 109 125 127")
	for pt := 96; b.Len() < sdpBytes-250; pt++ {
		line("a=rtpmap:%d VP8/90000", pt)
		line("a=rtcp-fb:%d goog-remb", pt)
		line("a=rtcp-fb:%d transport-cc", pt)
		line("a=rtcp-fb:%d ccm fir", pt)
		line("a=rtcp-fb:%d nack", pt)
		line("a=rtcp-fb:%d nack pli", pt)
		line("a=fmtp:%d level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f", pt)
	}
	line("a=ssrc:%d cname:load%d", uint32(n)+1, n)
	return b.String()
}

// sessionID reads n back, -1 if sdp is none of ours.
func sessionID(sdp string) int64 {
	_, rest, _ := strings.Cut(sdp, "o=- ")
	var n int64
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return -1
	}
	return n
}

// iceCandidate returns the number i-th candidate of description n; its port
// is the number.
func iceCandidate(n int64, i int) map[string]any {
	return map[string]any{
		"candidate":        fmt.Sprintf("candidate:%d 1 udp 2122260223 192.0.2.%d %d typ host generation 0 ufrag %08x network-cost 999", i+1, i+1, 50000+i, uint32(n)),
		"sdpMid":           "0",
		"sdpMLineIndex":    0,
		"usernameFragment": fmt.Sprintf("%08x", uint32(n)),
	}
}

// candidateNumber reads i and the last bits of n back, -1 if candidate is none
// of ours.
func candidateNumber(candidate string) (i int, n uint32) {
	fields := strings.Fields(candidate)
	if len(fields) < 12 {
		return -1, 0
	}
	var port int
	if _, err := fmt.Sscan(fields[5], &port); err != nil || port < 50000 {
		return -1, 0
	}
	if _, err := fmt.Sscanf(fields[11], "%x", &n); err != nil {
		return -1, 0
	}
	return port - 50000, n
}
