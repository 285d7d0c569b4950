package signaling

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var scanned = []string{
	`{"type":"x"}`, ` { "type" : "x" , "id":1, "data":{"a":[1,-2.5e+3,true,false,null,"b\n\"\\\/"],"c":{}} } `,
	`{"type":"x","type":"y","id":null,"data":null}`, `{"Type":"x"}`, `{"type":"x","data":{"a":01}}`, `{"type":"x"}}`, `{"type":"x",}`,
	`{"type":"x","data":"` + "\xff" + `"}`, `{"type":"x","data":"` + "\x01" + `"}`, `{"type":"x","id":"` + strings.Repeat("1", 130) + `"}`,
	`{"t\u0079pe":"x"}`, `{"type":"\u0078"}`, `{"type":""}`, `{"type":7}`, `[]`, `null`, `{`, `{"type":"x","data":[[[[[[[[[[]]]]]]]]]]}`,
	`{"type":"x","data":-}`, `{"type":"x","data":1.}`, `{"type":"x","data":1e}`, `{"type":"x","data":tru}`, `{"type":"x","data":"\`,
}

// FuzzScanMessage: what the scanner is sure of, encoding/json reads likewise.
func FuzzScanMessage(f *testing.F) {
	for _, s := range scanned {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, err := readMessage(b, 8)
		got, ok := scanMessage(bytes.Clone(b), 8)
		if !ok {
			return
		}
		require.NoError(t, err, "%q", b)
		require.True(t, !got.valid || utf8.Valid(b), "%q", b)
		require.Equal(t, want.Type, got.Type, "%q", b)
		require.Equal(t, string(want.ID), string(got.ID), "%q", b)
		require.Equal(t, string(want.Data), string(got.Data), "%q", b)
	})
}

func FuzzScanSignal(f *testing.F) {
	b, _ := json.Marshal(signal{RoomID: "r1", To: "b", Offer: 7, Description: &Description{"offer", sdp("u")}})
	f.Add(b)
	f.Add([]byte(`{"roomId":"r1","candidate":{"candidate":"` + candidate + `","sdpMid":"0","sdpMLineIndex":0},"x":1}`))
	f.Add([]byte(`{"roomId":"r1","candidates":[{"candidate":""}],"candidates":null,"candidate":null}`))
	f.Add([]byte(`{"roomId":"r1","description":{"type":"offer","type":"answer","SDP":"v"}}`))
	f.Add([]byte(`{"roomId":"r1","offer":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := scanSignal(b)
		if !ok {
			return
		}
		var want signal
		require.NoError(t, json.Unmarshal(b, &want), "%q", b)
		if got.sdp != nil {
			var sdp string
			require.NoError(t, json.Unmarshal(got.sdp, &sdp), "%q", b)
			require.Equal(t, want.Description.SDP, sdp, "%q", b)
			got.sdp = nil
		}
		require.Equal(t, want, got, "%q", b)
	})
}

// FuzzAppendSignal: what goes out is what encoding/json would make of it.
func FuzzAppendSignal(f *testing.F) {
	f.Add("r1", "ann", uint64(3), sdp("u"), candidate)
	f.Add("<ä\"\\>", "\xff", uint64(0), "v=0\r\n\t\x7f\u2028", "")
	f.Fuzz(func(t *testing.T, room, from string, offer uint64, sdp, candidate string) {
		s := signal{RoomID: room, From: from, Offer: offer, At: time.Now().UTC(), Description: &Description{"offer", sdp},
			Candidate: &ICECandidate{Candidate: candidate}, Candidates: []ICECandidate{{Candidate: candidate}}}
		b, err := appendSignal(nil, "rtc:offer", &s)
		require.NoError(t, err)
		plain, err := json.Marshal(outgoing{Type: "rtc:offer", Data: &s})
		require.NoError(t, err)
		require.JSONEq(t, string(plain), string(b))
	})
}

// TestScanIsSure: the usual is not left to the slow way.
func TestScanIsSure(t *testing.T) {
	for _, s := range scanned[:3] {
		_, ok := scanMessage([]byte(s), 8)
		require.True(t, ok, s)
	}
	for _, m := range []Message{describe("r1", "offer", "u", 0), describe("r1", "answer", "u", 3), trickle("r1", "u", 2)} {
		b, err := json.Marshal(map[string]any{"type": m.Type, "data": m.Data})
		require.NoError(t, err)
		got, ok := scanMessage(b, 8)
		require.True(t, ok, "%s", b)
		_, ok = scanSignal(got.Data)
		require.True(t, ok, "%s", b)
	}
}

// TestPlain puts every byte at every place of a short text.
func TestPlain(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, size)
				b[at] = byte(c)
				want := size
				if c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
					want = at
				}
				require.Equal(t, want, plain(b), "%q", b)
				require.Equal(t, want, plain(string(b)), "%q", b)
			}
		}
	}
}
