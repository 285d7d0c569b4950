package signaling

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBroadcastKeepsOrder mixes broadcasts with messages to single peers, more
// of both than the lane or a tick can hold: each peer gets what one sender sent
// in the order in which it was sent, and nothing from before its time.
func TestBroadcastKeepsOrder(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.QueueMessages = portable, 600 })
		var clients []*client
		for i := range 4 {
			clients = append(clients, s.dial("u"+strconv.Itoa(i), ""))
		}
		const n = 500 // the lane holds 300
		for i := range n {
			if rand.IntN(2) == 0 {
				require.NoError(t, s.peer("u0").Send(Data, "n", i))
				continue
			}
			f, err := NewFrame(Data, "n", i)
			require.NoError(t, err)
			require.Equal(t, 4, s.hub.Broadcast(f))
			if i%50 == 0 {
				late := s.dial("late"+strconv.Itoa(i), "")
				g, err := NewFrame(Data, "only", i)
				require.NoError(t, err)
				require.NoError(t, s.peer("late"+strconv.Itoa(i)).SendFrame(g))
				require.Equal(t, "only", late.next().Type, "it came after the broadcast")
				s.peer("late"+strconv.Itoa(i)).Close(1000, "")
				require.Equal(t, 1000, late.closed())
			}
		}
		for i := range n {
			require.Equal(t, strconv.Itoa(i), string(clients[0].next().Data))
		}
		s.peer("u1").Close(4001, "")
		last := -1
		for {
			m, err := clients[1].read()
			if err != nil {
				break // what was broadcast before Close has arrived before the close frame
			}
			k, err := strconv.Atoi(string(m.Data))
			require.NoError(t, err)
			require.Greater(t, k, last)
			last = k
		}
	})
}

// TestBundle: what was broadcast within a tick is one frame in a queue if it
// fits as a whole, and its messages if it does not or if a client comes back
// with some of them.
func TestBundle(t *testing.T) {
	broadcast := func(h *Hub, change func(*Frame)) {
		for i := range 8 {
			f, err := NewFrame(Data, strconv.Itoa(i), nil)
			require.NoError(t, err)
			change(f)
			h.Broadcast(f)
		}
	}
	keep := func(*Frame) {}
	hear := func(p *Peer) {
		p.mu.Lock()
		defer p.mu.Unlock()
		require.NoError(t, p.hearLocked())
	}
	h, p := idle(t, func(o *Options) { o.FlushEvery = time.Minute })
	q, err := h.add("bob")
	require.NoError(t, err)
	broadcast(h, keep)
	hear(p)
	hear(q)
	require.Len(t, p.out.frames, 1)
	require.Same(t, p.out.frames[0], q.out.frames[0], "it is made once")
	require.Equal(t, 8, p.out.pending())
	require.NoError(t, p.Send(SDP, "sdp", nil))
	require.Equal(t, "sdp", waiting(p)[:3], "it overtakes the bundle")
	p.out.take(2)
	p.out.written()
	require.EqualValues(t, 9, p.out.next())
	p.out.acked(h, 4)
	require.EqualValues(t, 1, p.out.base, "a bundle is kept while one of its messages is not acknowledged")
	require.True(t, p.out.rewind(h, 4))
	require.Equal(t, "3 4 5 6 7", waiting(p))
	require.EqualValues(t, 4, p.out.base)
	require.False(t, p.out.rewind(h, 10))
	q.out.clear(h)
	require.EqualValues(t, 8, q.out.base)
	p.Close(1000, "")
	q.Close(1000, "")

	_, p = idle(t, func(o *Options) { o.FlushEvery, o.QueueMessages = time.Minute, 16 })
	for i := range 10 {
		require.NoError(t, p.Send(Data, "own"+strconv.Itoa(i), nil))
	}
	broadcast(p.hub, func(f *Frame) { f.Droppable() })
	hear(p)
	require.Equal(t, "own0 own1 own2 own3 own4 own5 own6 own7 own8 own9 2 3 4 5 6 7", waiting(p), "what is droppable is by itself")
	p.out.clear(p.hub)
	for i := range 10 {
		require.NoError(t, p.Send(Data, "own"+strconv.Itoa(i), nil))
	}
	broadcast(p.hub, keep)
	p.mu.Lock()
	err = p.hearLocked()
	p.mu.Unlock()
	require.ErrorIs(t, err, ErrSlow)
	require.Len(t, p.out.frames, 16, "what fits was queued, message by message")
	p.hub.Shutdown(context.Background())
}

// TestLaneIsBounded broadcasts faster than anything is flushed, from several
// goroutines, while peers come and go: the budget comes out even.
func TestLaneIsBounded(t *testing.T) {
	h, err := New(Options{MaxPeers: 100, TotalQueueBytes: 1 << 20, FlushEvery: 5 * time.Millisecond, OnMessage: func(*Peer, Message) {}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				p, err := h.add("ann")
				if err != nil {
					t.Error(err)
					return
				}
				p.mu.Lock()
				p.state = peerAway
				p.mu.Unlock()
				f, _ := NewFrame(Data, "n", "x")
				h.Broadcast(f.Droppable())
				h.lane.mu.Lock()
				if len(h.lane.frames) > h.opt.QueueMessages/2 || h.lane.bytes > h.opt.QueueBytes/2 {
					t.Error("the lane is too long")
				}
				h.lane.mu.Unlock()
				p.end(CloseInfo{Code: 1000}, true)
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.Shutdown(context.Background()))
	require.Empty(t, h.lane.frames)
	require.Zero(t, h.lane.bytes)
	require.Zero(t, h.Stats().QueueBytes)
}
