package signaling

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func chat(data string) Message { return Message{Type: "room:chat", Data: []byte(data)} }

// texts are the messages that wait for p.
func texts(p *Peer) (all []string) {
	for _, f := range p.out.frames {
		all = append(all, string(f.JSON()))
	}
	return all
}

func TestForward(t *testing.T) {
	h, _, ann, bob := pair(t, RoomOptions{})
	require.NoError(t, h.Forward(ann, chat(`{"roomId":"r1","text":"a\u0041 \"ä\"","from":"x"}`)))
	require.NoError(t, h.Forward(ann, chat(`{"roomId":"r1","to":"bob","likes":{"ä":[1e2]}}`)))
	require.Equal(t, []string{
		`{"type":"room:chat","from":"ann","data":{"roomId":"r1","text":"a\u0041 \"ä\"","from":"x"}}`,
		`{"type":"room:chat","from":"ann","data":{"roomId":"r1","to":"bob","likes":{"ä":[1e2]}}}`,
	}, texts(bob))
	require.Empty(t, texts(ann))
	require.NoError(t, h.Forward(ann, chat(`{"roomId":"r1"}`)))
	require.EqualValues(t, 3, h.Stats().Relayed["ok"])
}

func TestForwardRefuses(t *testing.T) {
	h, r, ann, bob := pair(t, RoomOptions{})
	_, err := h.OpenRoom("r2", RoomOptions{Members: []string{"ann", "bob"}})
	require.NoError(t, err)
	eve, err := h.add("eve")
	require.NoError(t, err)
	second, err := h.add("ann")
	require.NoError(t, err)
	for data, want := range map[string]string{
		`{"roomId":"none"}`: "not_in_room", `{"roomId":"r2"}`: "not_in_room", `{"roomId":""}`: "not_in_room",
		`{"roomId":"r1","to":"eve"}`: "not_in_room", `{"roomId":"r1","to":"ann"}`: "not_in_room",
		`{"to":"bob"}`: "not_in_room", `{}`: "not_in_room", `null`: "not_in_room",
		`{"roomId":7}`: "invalid_message", `{"roomId":"r1","to":7}`: "invalid_message",
		`[]`: "invalid_message", `"r1"`: "invalid_message", ``: "invalid_message", `{`: "invalid_message",
	} {
		require.Equal(t, want, code(h.Forward(ann, chat(data))), data)
	}
	good := chat(`{"roomId":"r1"}`)
	require.Equal(t, ErrNotInRoom, h.Forward(eve, good))
	require.Equal(t, ErrNotInRoom, h.Forward(second, good), "another tab")
	for _, typ := range []string{"", "hello", "ok", "error", "ping", "rtc:offer", "rtc:x"} {
		require.Equal(t, ErrInvalidMessage, h.Forward(ann, Message{Type: typ, Data: good.Data}), typ)
	}
	require.Empty(t, texts(bob))
	r.Leave(bob)
	require.NoError(t, h.Forward(ann, good), "who has not joined gets nothing")
	require.Empty(t, texts(bob))
	r.Close()
	require.Equal(t, ErrNotInRoom, h.Forward(ann, good))
}

func TestForwardInManyRooms(t *testing.T) {
	h, _, ann, bob := pair(t, RoomOptions{})
	for _, id := range []string{"r2", "r3", "r4", "r5", "r6"} {
		r, err := h.OpenRoom(id, RoomOptions{Members: []string{"ann", "bob"}})
		require.NoError(t, err)
		require.NoError(t, r.Join(ann))
		require.NoError(t, r.Join(bob))
	}
	_, err := h.OpenRoom("r7", RoomOptions{Members: []string{"ann", "bob"}})
	require.NoError(t, err)
	for _, id := range []string{"r1", "r2", "r3", "r4", "r5", "r6"} {
		require.NoError(t, h.Forward(ann, chat(`{"roomId":"`+id+`"}`)))
	}
	require.Len(t, texts(bob), 6)
	require.Equal(t, ErrNotInRoom, h.Forward(ann, chat(`{"roomId":"r7"}`)), "not joined")
	require.Equal(t, ErrNotInRoom, h.Forward(ann, chat(`{"roomId":"r8"}`)))
}

func TestForwardToAll(t *testing.T) {
	h, ann := idle(t, func(o *Options) { o.MaxRooms = 1 })
	r, err := h.OpenRoom("r", RoomOptions{Members: []string{"ann", "bob", "cid", "dan"}})
	require.NoError(t, err)
	require.NoError(t, r.Join(ann))
	peers := map[string]*Peer{}
	for _, user := range []string{"bob", "cid", "dan"} {
		p, err := h.add(user)
		require.NoError(t, err)
		p.state = peerAway
		require.NoError(t, r.Join(p))
		peers[user] = p
	}
	require.NoError(t, h.Forward(ann, chat(`{"roomId":"r"}`)))
	require.NoError(t, h.Forward(ann, chat(`{"roomId":"r","to":"cid"}`)))
	require.Len(t, texts(peers["bob"]), 1)
	require.Len(t, texts(peers["cid"]), 2)
	require.Len(t, texts(peers["dan"]), 1)
}

// TestForwardAcross has ann on one hub and bob on another, over a Bus and over
// Remote.
func TestForwardAcross(t *testing.T) {
	bus, err := NewMemoryBus(MemoryBusOptions{MaxTopics: 10, MaxMessages: 1000, MaxBytes: 1 << 20})
	require.NoError(t, err)
	for _, remote := range []bool{false, true} {
		with := func(o *Options) {
			o.OnMessage = func(p *Peer, m Message) { p.hub.Forward(p, m) }
			if !remote {
				o.Bus = bus
			}
		}
		one, two := serve(t, with), serve(t, with)
		a, b := one.dial("ann", ""), two.dial("bob", "")
		o := RoomOptions{Members: []string{"ann", "bob"}}
		r2, err := two.hub.OpenRoom("r1", o)
		require.NoError(t, err)
		if remote {
			o.Remote = func(to string, data []byte) error {
				require.Equal(t, "bob", to)
				return r2.Arrived(data)
			}
		}
		r1, err := one.hub.OpenRoom("r1", o)
		require.NoError(t, err)
		require.NoError(t, r1.Join(one.peer("ann")))
		require.NoError(t, r2.Join(two.peer("bob")))
		for _, n := range []string{"1", "2"} {
			a.send(`{"type":"x","data":{"roomId":"r1","n":` + n + `}}`)
			m := b.next()
			require.Equal(t, "x", m.Type)
			require.JSONEq(t, `{"roomId":"r1","n":`+n+`}`, string(m.Data))
		}
		r1.Close()
		r2.Close()
	}
}

// TestDeliverIsPrompt: the first message does not wait for the tick, what
// follows within it does.
func TestDeliverIsPrompt(t *testing.T) {
	s := serve(t, func(o *Options) { o.FlushEvery = time.Second })
	b := s.dial("bob", "")
	bob := s.peer("bob")
	f, err := NewFrame(Data, "x", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the hello is out, and the hub's first second over
		bob.mu.Lock()
		defer bob.mu.Unlock()
		return !bob.sock.writing && s.hub.now() > time.Second
	}, 10*time.Second, time.Millisecond)
	first, second := bob.deliver(f, s.hub.now()), bob.deliver(f, s.hub.now())
	require.NotNil(t, first.writes)
	require.Nil(t, second.writes)
	began := time.Now()
	first.done(f)
	second.done(f)
	require.Equal(t, "x", b.next().Type)
	require.Equal(t, "x", b.next().Type)
	require.Less(t, time.Since(began), time.Second, "both were there when the first was written")
	third := bob.deliver(f, s.hub.now())
	third.done(f)
	require.Nil(t, third.writes)
	require.Equal(t, "x", b.next().Type)
	require.Greater(t, time.Since(began), time.Second/2)
}

// TestForwardByItself: what Options.Forward names the hub passes on, and the
// sender learns what became of it.
func TestForwardByItself(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Forward = []string{"room:chat", "rtc:offer"}
		o.OnMessage = func(p *Peer, m Message) { p.Reply(m.ID, "seen "+m.Type) }
	})
	a, b := s.dial("ann", ""), s.dial("bob", "")
	r, err := s.hub.OpenRoom("r1", RoomOptions{Members: []string{"ann", "bob"}})
	require.NoError(t, err)
	require.NoError(t, r.Join(s.peer("ann")))
	require.NoError(t, r.Join(s.peer("bob")))
	a.send(`{"type":"room:chat","id":1,"data":{"roomId":"r1","text":"hi"}}`)
	m := b.next()
	require.Equal(t, "room:chat", m.Type)
	require.JSONEq(t, `{"roomId":"r1","text":"hi"}`, string(m.Data))
	m = a.next()
	require.Equal(t, "ok", m.Type)
	require.Equal(t, "1", string(m.ID))
	a.send(`{"type":"room:chat","id":2,"data":{"roomId":"r2"}}`)
	m = a.next()
	require.Equal(t, "error", m.Type)
	require.Contains(t, string(m.Data), "not_in_room")
	a.send(`{"type":"rtc:offer","data":` + string(describe("r1", "offer", "u", 0).Data) + `}`)
	require.Equal(t, "rtc:offer", b.next().Type)
	a.send(`{"type":"other","id":3}`)
	require.Contains(t, string(a.next().Data), "seen other")

	_, err = New(Options{MaxPeers: 1, TotalQueueBytes: 1, OnMessage: func(*Peer, Message) {}, Forward: []string{"x", "hello", "rtc:x", ""}})
	for _, typ := range []string{`"hello"`, `"rtc:x"`, `""`} {
		require.ErrorContains(t, err, "Options.Forward = "+typ)
	}
}

// FuzzForward: the address is what encoding/json reads, and what goes out is
// JSON with the data as it came.
func FuzzForward(f *testing.F) {
	f.Add([]byte(`{"roomId":"r1","to":"b","text":"x"}`))
	f.Add([]byte(` {"roomId":"r1","ä":{"from":1}} `))
	f.Add([]byte(`{"roomId":"r1","roomId":"r2","a":[[]]}`))
	f.Add([]byte(`{"roomID":"r1","t\u006f":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := parseAddress(data)
		var want struct {
			Room string `json:"roomId"`
			User string `json:"to"`
		}
		require.Equal(t, ok, json.Unmarshal(data, &want) == nil, "%q", data)
		if !ok {
			return
		}
		require.Equal(t, want.Room, string(got.room), "%q", data)
		require.Equal(t, want.User, string(got.user), "%q", data)
		var m struct {
			Type, From string
			Data       json.RawMessage
		}
		require.NoError(t, json.Unmarshal(forwarded(chat(string(data)), "ann", len(data)%2 == 0).JSON(), &m), "%q", data)
		require.Equal(t, "room:chat", m.Type)
		require.Equal(t, "ann", m.From)
		require.Equal(t, strings.Trim(string(data), " \t\r\n"), string(m.Data), "%q", data)
	})
}

// BenchmarkForward takes a message of a KiB from its bytes to the other's queue.
func BenchmarkForward(b *testing.B) {
	h, err := New(Options{MaxPeers: 2, MaxRooms: 1, TotalQueueBytes: 1 << 20, OnMessage: func(*Peer, Message) {}})
	require.NoError(b, err)
	defer h.Shutdown(context.Background())
	ann, _ := h.add("ann")
	bob, _ := h.add("bob")
	ann.state, bob.state = peerAway, peerAway
	r, _ := h.OpenRoom("r1", RoomOptions{Members: []string{"ann", "bob"}})
	r.Join(ann)
	r.Join(bob)
	frame := []byte(`{"type":"room:chat","data":{"roomId":"r1","text":"` + strings.Repeat("hello ", 160) + `"}}`)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := parseMessage(frame, 32)
		if err != nil {
			b.Fatal(err)
		}
		h.pass(ann, m)
		bob.mu.Lock()
		bob.out.take(1)
		bob.out.written()
		bob.out.forget(h, 1)
		bob.mu.Unlock()
	}
}
