package signaling

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// idle is a peer without a socket, whose queue nobody empties.
func idle(t *testing.T, change func(*Options)) (*Hub, *Peer) {
	o := Options{MaxPeers: 100, TotalQueueBytes: 1 << 20, OnMessage: func(*Peer, Message) {}}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	require.NoError(t, err)
	p, err := h.add("ann")
	require.NoError(t, err)
	p.state = peerAway
	t.Cleanup(func() {
		require.NoError(t, h.Shutdown(context.Background()))
		require.Zero(t, h.budget.used.Load())
	})
	return h, p
}

func waiting(p *Peer) string {
	var types []string
	for _, f := range flat(p.out.frames) {
		typ, _, _ := strings.Cut(strings.TrimPrefix(string(f.JSON()), `{"type":"`), `"`)
		types = append(types, typ)
	}
	return strings.Join(types, " ")
}

func TestClassesAndPolicies(t *testing.T) {
	_, p := idle(t, func(o *Options) { o.QueueMessages = 6 })
	send := func(class Class, typ string) error { return p.Send(class, typ, nil) }
	frame := func(class Class, typ string) *Frame { f, _ := NewFrame(class, typ, nil); return f }
	require.NoError(t, send(Data, "d1"))
	require.NoError(t, send(Candidate, "c1"))
	require.NoError(t, send(SDP, "s1"))
	require.NoError(t, send(Control, "k1"))
	require.NoError(t, send(SDP, "s2"))
	require.Equal(t, "k1 s1 s2 c1 d1", waiting(p))
	require.NoError(t, p.SendFrame(frame(Data, "old").Latest("x")))
	require.NoError(t, p.SendFrame(frame(Data, "new").Latest("x")))
	require.Equal(t, "k1 s1 s2 c1 d1 new", waiting(p))
	require.NoError(t, p.SendFrame(frame(Data, "drop").Droppable()), "the older droppable one goes")
	require.Equal(t, "k1 s1 s2 c1 d1 drop", waiting(p))
	require.NoError(t, send(Control, "k2"))
	require.Equal(t, "k1 k2 s1 s2 c1 d1", waiting(p))
	require.NoError(t, p.SendFrame(frame(Data, "lost").Droppable()))
	require.Equal(t, "k1 k2 s1 s2 c1 d1", waiting(p))
	require.ErrorIs(t, send(Data, "d2"), ErrSlow)
	require.ErrorIs(t, send(Data, "d3"), ErrClosed)
	require.Equal(t, map[string]int64{"full": 3, "latest": 1, "budget": 0, "reclaim": 0}, p.hub.Stats().Dropped)
	require.EqualValues(t, 1, p.hub.Stats().Closed[4008])
}

func TestQueueBytes(t *testing.T) {
	_, p := idle(t, func(o *Options) { o.QueueBytes = 1000 })
	require.ErrorIs(t, p.Send(Data, "x", strings.Repeat("x", 1000)), ErrTooLarge)
	require.NoError(t, p.Send(Data, "x", strings.Repeat("x", 900)))
	require.ErrorIs(t, p.Send(Data, "x", strings.Repeat("x", 200)), ErrSlow)
}

// TestOutboxModel compares the outbox with a list that nothing is removed from.
func TestOutboxModel(t *testing.T) {
	for range 60 {
		h, p := &Hub{}, &Peer{}
		h.budget.max = 1 << 40
		o := &p.out
		var sent []*Frame // by number: what a client with all of it would have
		client := uint64(0)
		for range 200 {
			switch rand.IntN(9) {
			case 8:
				var frames []*Frame
				for i := range 2 + rand.IntN(4) {
					f, _ := NewFrame(Data, "x", i)
					f, _ = f.hold(h)
					frames = append(frames, f)
				}
				packed := pack(frames, 1000)
				require.Len(t, packed, 1)
				for _, f := range frames { // the bundle holds them
					f.drop(h)
				}
				o.insert(packed[0])
			case 0, 1, 2:
				f, _ := NewFrame(Class(rand.IntN(4)), "x", rand.IntN(1000))
				f.droppable = rand.IntN(2) == 0
				f, _ = f.hold(h)
				o.insert(f)
			case 3:
				n := rand.IntN(o.waiting() + 1)
				for _, f := range o.frames[o.sent+o.flying:][:n] {
					number := o.next()
					o.take(1)
					for _, f := range flat([]*Frame{f}) {
						if number < uint64(len(sent)) {
							require.Same(t, sent[number], f, "a number must not change its message")
						} else {
							require.EqualValues(t, len(sent), number)
							sent = append(sent, f)
						}
						number++
					}
					require.Equal(t, number, o.next())
				}
				if rand.IntN(2) == 0 {
					o.written()
				}
			case 4:
				client = min(client+uint64(rand.IntN(4)), o.base+uint64(o.count(o.frames[:o.fixed])))
				client = max(client, o.base)
				if rand.IntN(2) == 0 {
					require.True(t, o.rewind(h, client))
					require.Equal(t, client, o.next())
				} else {
					o.acked(h, client)
				}
			case 5:
				if f := o.sacrifice(); f != nil {
					f.drop(h)
				}
			case 7:
				before, waits := h.budget.used.Load(), o.waiting()
				n, freed := o.dropDroppable(h, rand.Int64N(100))
				require.Equal(t, before-freed, h.budget.used.Load())
				require.Equal(t, waits-n, o.waiting())
			case 6:
				o.trim(h, rand.IntN(20), 1000)
				client = max(client, o.base)
			}
			kept, queued := 0, 0
			for i, f := range o.frames {
				if i < int(o.sent) {
					kept += f.Len()
				} else {
					queued += f.Len()
				}
				if i > int(o.fixed) {
					require.LessOrEqual(t, f.class, o.frames[i-1].class)
				}
			}
			require.Equal(t, []int{kept, queued}, []int{int(o.kept), int(o.queued)})
			require.EqualValues(t, kept+queued, h.budget.used.Load())
			require.LessOrEqual(t, o.sent+o.flying, o.fixed)
		}
		o.clear(h)
		require.Zero(t, h.budget.used.Load())
	}
}

func TestSharedFrameCountsOnce(t *testing.T) {
	h, p := idle(t, nil)
	q, err := h.add("bob")
	require.NoError(t, err)
	q.state = peerAway
	f, err := NewFrame(Data, "x", strings.Repeat("x", 1000))
	require.NoError(t, err)
	require.NoError(t, p.SendFrame(f))
	require.NoError(t, q.SendFrame(f))
	require.EqualValues(t, f.Len(), h.Stats().QueueBytes)
	p.Close(1000, "")
	require.EqualValues(t, f.Len(), h.Stats().QueueBytes)
	// Another hub accounts for its own copy.
	_, other := idle(t, nil)
	require.NoError(t, other.SendFrame(f))
	q.Close(1000, "")
	require.Zero(t, h.Stats().QueueBytes)
	require.EqualValues(t, f.Len(), other.hub.Stats().QueueBytes)
}

func TestBudgetEndsTheHeaviest(t *testing.T) {
	h, heavy := idle(t, func(o *Options) { o.TotalQueueBytes, o.MaxMessageBytes = 60<<10, 16<<10 })
	light, err := h.add("bob")
	require.NoError(t, err)
	light.state = peerAway
	for heavy.Send(Data, "x", strings.Repeat("x", 1<<10)) == nil {
	}
	require.LessOrEqual(t, h.Stats().QueueBytes, int64(60<<10))
	require.NoError(t, light.Send(Data, "x", strings.Repeat("x", 4<<10)))
	require.ErrorIs(t, heavy.Send(Data, "x", nil), ErrClosed)
	require.EqualValues(t, 1, h.Stats().Shed)
}

// account is a bounded Account that checks that nothing is released twice.
type account struct {
	limit, used, peak atomic.Int64
}

func (a *account) Reserve(n int64) error {
	if used := a.used.Add(n); used > a.limit.Load() {
		a.used.Add(-n)
		return errors.New("full")
	} else {
		a.peak.Store(max(a.peak.Load(), used))
	}
	return nil
}

func (a *account) Release(n int64) {
	if a.used.Add(-n) < 0 {
		panic("released more than was reserved")
	}
}

func TestAccountIsGivenBackExactly(t *testing.T) {
	a := &account{}
	a.limit.Store(400 << 10)
	s := serve(t, func(o *Options) { o.Account = a })
	var wg sync.WaitGroup
	for i := range 8 {
		c := s.dial("u"+strconv.Itoa(i), "")
		p := s.peer("u" + strconv.Itoa(i))
		wg.Go(func() {
			for range 100 {
				p.Send(Data, "x", strings.Repeat("x", rand.IntN(4000)))
			}
			if i%2 == 0 {
				c.ws.NetConn().Close()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, a.peak.Load(), a.limit.Load())
	require.NoError(t, s.hub.Shutdown(context.Background()))
	require.Zero(t, a.used.Load())
}

// TestSlowReaders lets 10 of 50 sockets read nothing while everybody is sent
// more than anyone may queue. TestBesideSlowReaders says how long a message
// takes meanwhile.
func TestSlowReaders(t *testing.T) {
	messages := 400
	if os.Getenv("PLIMSOLL_LONG") != "" {
		messages = 20_000
	}
	both(t, func(t *testing.T, portable bool) { slowReaders(t, portable, 10, messages) })
}

func slowReaders(t *testing.T, portable bool, slow, messages int) {
	s := serve(t, func(o *Options) {
		o.Portable, o.SendBuffer, o.ReceiveBuffer = portable, 16<<10, 16<<10
		o.TotalQueueBytes = 8 << 20
		o.QueueMessages = 1000
	})
	for i := range slow {
		c := s.rawClient(fmt.Sprint("slow", i))
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		defer c.Close()
	}
	var got [40]atomic.Int64
	var readers sync.WaitGroup
	for i := range got {
		c := s.dial(fmt.Sprint("fast", i), "")
		readers.Go(func() {
			for got[i].Load() < int64(messages) {
				m, err := c.read()
				if err != nil {
					return
				}
				n := got[i].Load()
				if !strings.HasPrefix(string(m.Data), fmt.Sprintf(`"%d `, n)) {
					t.Errorf("message %d is %.20s", n, m.Data)
					return
				}
				got[i].Add(1)
			}
		})
	}
	pad := strings.Repeat("x", 1000)
	most := int64(0)
	for n := range messages {
		f, err := NewFrame(Data, "b", fmt.Sprintf("%d %s", n, pad))
		require.NoError(t, err)
		s.hub.Broadcast(f)
		if n%16 == 15 { // at the speed of the healthy ones
			for i := range got {
				for got[i].Load() < int64(n)-15 {
					time.Sleep(50 * time.Microsecond)
					if t.Failed() || s.hub.Stats().Closed[4008] > 10 {
						t.Fatal("a healthy reader was dropped")
					}
				}
			}
		}
		most = max(most, s.hub.Stats().QueueBytes)
	}
	readers.Wait()
	for i := range got {
		require.EqualValues(t, messages, got[i].Load(), "a healthy reader lost something")
	}
	require.EqualValues(t, slow, s.hub.Stats().Closed[4008])
	require.EqualValues(t, 0, s.hub.Stats().Closed[1006])
	// The slow share their frames, and so do all fifty; what a full kernel
	// buffer left of a write is each one's own.
	t.Logf("%d slow: queue memory at its peak %d KiB for everybody", slow, most>>10)
	require.LessOrEqual(t, most, int64(slow)*(64<<10)*11/10, "64 KiB and a tenth for each that is slow")
}

func TestJoinedInOneWrite(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.FlushEvery = portable, 50*time.Millisecond })
		c := s.dial("ann", "")
		p := s.peer("ann")
		before := s.hub.Stats().Writes
		for i := range 100 {
			require.NoError(t, p.Send(Data, "n", i))
		}
		for i := range 100 {
			require.Equal(t, strconv.Itoa(i), string(c.next().Data))
		}
		require.LessOrEqual(t, s.hub.Stats().Writes-before, int64(3))
	})
}

func TestCompressedOnce(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.Compress, o.FlushEvery = portable, true, -1 })
		var clients []*client
		for i := range 5 {
			clients = append(clients, s.dial(fmt.Sprint("u", i), ""))
		}
		f, err := NewFrame(Data, "n", strings.Repeat("compressible ", 200))
		require.NoError(t, err)
		before := s.hub.Stats().BytesOut
		require.Equal(t, 5, s.hub.Broadcast(f))
		for _, c := range clients {
			require.Equal(t, strings.Repeat("compressible ", 200), strings.Trim(string(c.next().Data), `"`))
		}
		require.Less(t, s.hub.Stats().BytesOut-before, int64(5*200))
		require.NotNil(t, f.deflated.Load())
	})
}

func TestShutdownLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.CloseTimeout = portable, 300*time.Millisecond })
		var clients []*client
		for i := range 20 {
			clients = append(clients, s.dial(fmt.Sprint("u", i), ""))
		}
		silent := s.rawClient("silent")
		defer silent.Close()
		done := make(chan error, 1)
		go func() { done <- s.hub.Shutdown(context.Background()) }()
		for _, c := range clients {
			require.Equal(t, 1012, c.closed())
		}
		require.NoError(t, <-done)
		require.EqualValues(t, 21, s.hub.Stats().Closed[1012])
		require.NoError(t, s.hub.Shutdown(context.Background()))
		s.mu.Lock()
		require.Equal(t, 21, s.end)
		s.mu.Unlock()
	})
}

func TestShutdownCuts(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.CloseTimeout = portable, time.Hour })
		silent := s.rawClient("silent")
		defer silent.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.hub.Shutdown(ctx), context.DeadlineExceeded)
	})
}

// TestChurn lets many come and go and looks for what they leave behind.
func TestChurn(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.ResumeFor, o.MaxPeers = portable, 50*time.Millisecond, 10000 })
		round := func() {
			var wg sync.WaitGroup
			for w := range 8 {
				wg.Go(func() {
					for i := range 25 {
						c := s.rawClient(fmt.Sprint("u", w, "-", i))
						switch rand.IntN(3) {
						case 0:
							rawSend(t, c, finBit|opText, []byte(`{"type":"echo","id":1}`))
						case 1:
							rawSend(t, c, finBit|opClose, []byte{3, 232})
						}
						c.Close()
					}
				})
			}
			wg.Wait()
			require.Eventually(t, func() bool {
				st := s.hub.Stats()
				for len(s.got) > 0 {
					<-s.got
				}
				return st.Peers == 0 && st.Sockets == 0
			}, 20*time.Second, 5*time.Millisecond)
		}
		round()
		heap0, _ := inUse()
		goroutines := runtime.NumGoroutine()
		for range 5 {
			round()
		}
		require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, 10*time.Second, 5*time.Millisecond)
		heap1, _ := inUse()
		t.Logf("heap %d KiB before, %d KiB after 1000 more sockets", heap0>>10, heap1>>10)
		s.mu.Lock()
		require.Equal(t, 1200, s.end)
		s.log = nil
		s.mu.Unlock()
		require.Less(t, float64(heap1), float64(heap0)*1.05+200<<10)
	})
}

func TestReclaim(t *testing.T) {
	h, light := idle(t, nil)
	add := func(bytes int) *Peer {
		p, err := h.add("bob")
		require.NoError(t, err)
		p.state = peerAway
		for n := 0; n < bytes; n += 1 << 10 {
			require.NoError(t, p.Send(Data, "x", strings.Repeat("x", 1<<10)))
		}
		return p
	}
	over := func(p *Peer) bool { return errors.Is(p.Send(Data, "x", nil), ErrClosed) }
	require.NoError(t, light.Send(Data, "x", "light"))
	heavy, middle, heaviest := add(30<<10), add(20<<10), add(40<<10)
	shared, err := NewFrame(Data, "x", strings.Repeat("x", 1000))
	require.NoError(t, err)
	shared.Droppable()
	require.Equal(t, 4, h.Broadcast(shared))

	require.Zero(t, h.Reclaim(0))
	require.Zero(t, h.Reclaim(-1))
	require.EqualValues(t, shared.Len(), h.Reclaim(1), "it is freed with its last queue")
	require.EqualValues(t, 4, h.Stats().Dropped["reclaim"])
	require.Zero(t, h.Stats().Shed)

	used := h.Stats().QueueBytes
	freed := h.Reclaim(50 << 10)
	require.Equal(t, used-freed, h.Stats().QueueBytes)
	require.GreaterOrEqual(t, freed, int64(70<<10))
	require.Equal(t, []bool{false, false, true, true}, []bool{over(light), over(middle), over(heavy), over(heaviest)})
	require.EqualValues(t, 2, h.Stats().Closed[4008])

	freed = h.Reclaim(1 << 40)
	require.GreaterOrEqual(t, freed, int64(20<<10))
	require.Equal(t, []bool{false, true}, []bool{over(light), over(middle)})
	require.Zero(t, h.Reclaim(1<<40), "the light ones are left alone")
	require.EqualValues(t, 3, h.Stats().Shed)
}

// TestReclaimSparesReaders has peers that read and peers that do not.
func TestReclaimSparesReaders(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) {
			o.Portable, o.WriteTimeout, o.CloseTimeout = portable, time.Minute, 200*time.Millisecond
			o.QueueBytes, o.QueueMessages, o.SendBuffer = 1<<20, 10000, 4<<10
		})
		reader := s.dial("reader", "")
		text := strings.Repeat("x", 16<<10)
		for i := range 4 {
			conn := s.rawClient(fmt.Sprint("stalled", i))
			defer conn.Close()
			conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			p := s.peer(fmt.Sprint("stalled", i))
			for range 40 { // more than the kernel's buffers hold
				for range 10 {
					require.NoError(t, p.Send(Data, "x", text))
				}
				p.mu.Lock()
				n := p.out.queued
				p.mu.Unlock()
				if n > 400<<10 {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		require.Eventually(t, func() bool {
			n := 0
			for i := range 4 {
				p := s.peer(fmt.Sprint("stalled", i))
				p.mu.Lock()
				if p.stalledLocked() > 64<<10 {
					n++
				}
				p.mu.Unlock()
			}
			return n == 4
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, s.peer("reader").Send(Data, "n", 1))
		used := s.hub.Stats().QueueBytes
		freed := s.hub.Reclaim(1 << 40)
		require.GreaterOrEqual(t, freed, int64(4*(64<<10)))
		require.LessOrEqual(t, s.hub.Stats().QueueBytes, used-freed+1<<10)
		require.EqualValues(t, 4, s.hub.Stats().Closed[4008])
		require.Equal(t, "n", reader.next().Type)
		require.NoError(t, s.peer("reader").Send(Data, "n", 2))
		require.Equal(t, "2", string(reader.next().Data))
		require.Eventually(t, func() bool { return s.hub.Stats().Sockets == 1 }, 10*time.Second, time.Millisecond)
	})
}

// TestLeftOverIsOnTheBudget: what the kernel did not take of a write is a copy,
// also when the message itself is shared with others and counted once.
func TestLeftOverIsOnTheBudget(t *testing.T) {
	s := serve(t, func(o *Options) { o.ResumeFor = -1 })
	conn := s.rawClient("ann")
	defer conn.Close()
	p := s.peer("ann")
	p.mu.Lock()
	sock := p.sock
	p.mu.Unlock()
	used := s.hub.Stats().QueueBytes
	fill := s.hub.budget.max - used - 99
	require.True(t, s.hub.budget.reserve(fill))
	require.False(t, sock.stall(make([]byte, 100)))
	require.True(t, sock.stall(make([]byte, 99)))
	require.Equal(t, s.hub.budget.max, s.hub.Stats().QueueBytes)
	s.hub.budget.release(fill)
	sock.lost(CloseInfo{Code: 1006})
	require.Zero(t, s.hub.Stats().QueueBytes)
	require.True(t, sock.stall(make([]byte, 100)), "nothing is kept for a dead socket")
	require.Zero(t, s.hub.Stats().QueueBytes)
}
