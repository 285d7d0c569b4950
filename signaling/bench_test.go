package signaling

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	m := []byte(`{"type":"room:chat","id":17,"data":{"roomId":"r1","text":"` + strings.Repeat("hello ", 100) + `"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(m)))
	for b.Loop() {
		if _, err := parseMessage(m, 32); err != nil {
			b.Fatal(err)
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// BenchmarkQueue queues one shared frame for 1,000 peers and takes it out again.
func BenchmarkQueue(b *testing.B) {
	h, err := New(Options{MaxPeers: 1000, TotalQueueBytes: 1 << 20, OnMessage: func(*Peer, Message) {}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Shutdown(context.Background())
	for range 1000 {
		p, _ := h.add("u")
		p.state = peerAway
	}
	f, _ := NewFrame(Data, "b", strings.Repeat("x", 1000))
	peers := h.Peers("u")
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range peers {
			p.mu.Lock()
			if err := p.enqueueLocked(f); err != nil {
				p.mu.Unlock()
				b.Fatal(err)
			}
			p.out.take(1)
			p.out.written()
			p.out.forget(h, 1)
			p.mu.Unlock()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/delivery")
}

// BenchmarkRelay takes an offer of about a KiB from its bytes to the other's queue.
func BenchmarkRelay(b *testing.B) {
	h, err := New(Options{MaxPeers: 2, MaxRooms: 1, TotalQueueBytes: 1 << 20, OnMessage: func(*Peer, Message) {}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Shutdown(context.Background())
	ann, _ := h.add("ann")
	bob, _ := h.add("bob")
	ann.state, bob.state = peerAway, peerAway
	r, _ := h.OpenRoom("r1", RoomOptions{Members: []string{"ann", "bob"}})
	r.Join(ann)
	r.Join(bob)
	lines := strings.Repeat(`a=rtpmap:111 opus/48000/2\r\n`, 25)
	frame := bytes.ReplaceAll(mustJSON(map[string]any{"type": "rtc:offer", "data": describe("r1", "offer", "u", 0).Data}), []byte(`a=ice-ufrag`), []byte(lines+`a=ice-ufrag`))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := parseMessage(frame, 32)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Relay(ann, m.Message); err != nil {
			b.Fatal(err)
		}
		bob.mu.Lock()
		bob.out.take(1)
		bob.out.written()
		bob.out.forget(h, 1)
		bob.mu.Unlock()
	}
}

// BenchmarkInflate inflates 60 KB of text, and the worst that a client can send
// in its place: blocks that define codes and use none.
func BenchmarkInflate(b *testing.B) {
	const block = "001000000000001110000001000000000000000000000000000000000000000000001001111111111101011000" // bit by bit
	codes := make([]byte, 728*len(block))
	for i := range 8 * len(codes) {
		codes[i/8] |= (block[i%len(block)] - '0') << (i % 8)
	}
	text := bytes.Repeat([]byte(said), 60_000/len(said))
	h := &Hub{opt: Options{MaxMessageBytes: 64 << 10}}
	h.budget.max = 1 << 20
	for name, m := range map[string][]byte{"text": less(flushed(text, nil)), "codes": append(codes, 0)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c := contents.Get().(*content)
				if err := c.inflate(h, m); err != nil {
					b.Fatal(err)
				}
				c.free(h)
			}
		})
	}
}
