package signaling

import (
	"context"
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
	m := describe("r1", "offer", "u", 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Relay(ann, m); err != nil {
			b.Fatal(err)
		}
		bob.mu.Lock()
		bob.out.take(1)
		bob.out.written()
		bob.out.forget(h, 1)
		bob.mu.Unlock()
	}
}
