package signaling

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sdp is a small description with the given ufrag.
func sdp(ufrag string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" +
		"a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\n"
}

const candidate = "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host"

// pair opens a room of ann and bob, both joined.
func pair(t *testing.T, o RoomOptions) (h *Hub, r *Room, ann, bob *Peer) {
	h, ann = idle(t, func(o *Options) { o.MaxRooms = 10 })
	bob, err := h.add("bob")
	require.NoError(t, err)
	bob.state = peerAway
	o.Members = []string{"ann", "bob"}
	r, err = h.OpenRoom("r1", o)
	require.NoError(t, err)
	require.NoError(t, r.Join(ann))
	require.NoError(t, r.Join(bob))
	return h, r, ann, bob
}

func rtc(typ string, data any) Message {
	b, _ := json.Marshal(data)
	return Message{Type: typ, Data: b}
}

func describe(room, typ, ufrag string, offer uint64) Message {
	return rtc("rtc:"+typ, signal{RoomID: room, Offer: offer, Description: &Description{Type: typ, SDP: sdp(ufrag)}})
}

func trickle(room, ufrag string, n int) Message {
	s := signal{RoomID: room}
	for range n {
		s.Candidates = append(s.Candidates, ICECandidate{Candidate: candidate, UsernameFragment: &ufrag})
	}
	return rtc("rtc:ice", s)
}

// last is the last signal that waits for p.
func last(t *testing.T, p *Peer) (typ string, s signal) {
	t.Helper()
	require.NotEmpty(t, p.out.frames)
	var m struct {
		Type string
		Data signal
	}
	require.NoError(t, json.Unmarshal(p.out.frames[len(p.out.frames)-1].JSON(), &m))
	return m.Type, m.Data
}

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return "ok"
}

func TestOffersAndAnswers(t *testing.T) {
	_, r, ann, bob := pair(t, RoomOptions{Initiator: "bob"})
	require.True(t, r.Polite("ann", "bob"))
	require.False(t, r.Polite("bob", "ann"))
	require.NoError(t, r.Relay(bob, describe("r1", "offer", "b1", 0)))
	typ, s := last(t, ann)
	require.Equal(t, "rtc:offer", typ)
	require.Equal(t, "bob", s.From)
	require.EqualValues(t, 1, s.Offer)
	require.Equal(t, sdp("b1"), s.Description.SDP)

	require.NoError(t, r.Relay(bob, describe("r1", "offer", "b2", 0)), "a second offer replaces the first")
	require.Equal(t, "superseded", code(r.Relay(ann, describe("r1", "answer", "a1", 1))))
	require.Empty(t, bob.out.frames)
	require.NoError(t, r.Relay(ann, describe("r1", "answer", "a1", 2)))
	typ, s = last(t, bob)
	require.Equal(t, "rtc:answer", typ)
	require.EqualValues(t, 2, s.Offer)
	require.Equal(t, "superseded", code(r.Relay(ann, describe("r1", "answer", "a1", 2))), "answered already")
	require.Equal(t, "superseded", code(r.Relay(bob, describe("r1", "answer", "b2", 0))), "nobody offered")

	// Glare: both offer; who answers has taken its own offer back.
	require.NoError(t, r.Relay(ann, describe("r1", "offer", "a2", 0)))
	require.NoError(t, r.Relay(bob, describe("r1", "offer", "b3", 0)))
	require.NoError(t, r.Relay(ann, describe("r1", "answer", "a3", 3)))
	require.Equal(t, "superseded", code(r.Relay(bob, describe("r1", "answer", "b3", 1))))
}

// TestRolesWhileJoining asks for the roles while others come and go: roles are
// the room's for its whole life and must need no lock (race detector).
func TestRolesWhileJoining(t *testing.T) {
	_, r, ann, bob := pair(t, RoomOptions{Initiator: "bob"})
	var wg sync.WaitGroup
	for _, p := range []*Peer{ann, bob} {
		wg.Go(func() {
			for range 1000 {
				r.Leave(p)
				if !r.Polite("ann", "bob") || r.Join(p) != nil {
					t.Error("a role changed, or a member could not join")
				}
			}
		})
	}
	wg.Wait()
}

func TestCandidates(t *testing.T) {
	_, r, ann, bob := pair(t, RoomOptions{MaxCandidates: 10})
	require.NoError(t, r.Relay(ann, describe("r1", "offer", "a1", 0)))
	require.NoError(t, r.Relay(ann, trickle("r1", "a1", 9)))
	_, s := last(t, bob)
	require.Len(t, s.Candidates, 9)
	require.NoError(t, r.Relay(ann, trickle("r1", "a1", 1)))
	_, s = last(t, bob)
	require.NotNil(t, s.Candidate)
	require.Equal(t, "too_many_candidates", code(r.Relay(ann, trickle("r1", "a1", 1))))
	require.NoError(t, r.Relay(ann, describe("r1", "offer", "a2", 0)), "another generation")
	require.NoError(t, r.Relay(ann, trickle("r1", "a2", 10)))
	require.NoError(t, r.Relay(ann, describe("r1", "offer", "a3", 0)))
	n := len(bob.out.frames)
	require.NoError(t, r.Relay(ann, trickle("r1", "a1", 1)))
	require.Len(t, bob.out.frames, n, "of a description that was replaced: dropped")
	for _, bad := range []string{"x", "candidate:1 1 udp", candidate + "\r\na=x", strings.Repeat("x", 2000)} {
		m := rtc("rtc:ice", signal{RoomID: "r1", Candidate: &ICECandidate{Candidate: bad}})
		require.Equal(t, "invalid_candidate", code(r.Relay(ann, m)), bad)
	}
	require.NoError(t, r.Relay(ann, rtc("rtc:ice", signal{RoomID: "r1", Candidate: &ICECandidate{}})), "the end of candidates")
}

func TestRelayOnly(t *testing.T) {
	_, r, ann, bob := pair(t, RoomOptions{RelayOnly: true})
	require.NoError(t, r.Relay(ann, trickle("r1", "a1", 3)))
	require.Empty(t, bob.out.frames)
	relay := strings.Replace(candidate, "typ host", "typ relay", 1)
	require.NoError(t, r.Relay(ann, rtc("rtc:ice", signal{RoomID: "r1", Candidate: &ICECandidate{Candidate: relay}})))
	require.Len(t, bob.out.frames, 1)
}

// TestOnlyMembersRelay tries everything that is not a joined member's socket:
// nothing may arrive, and no answer may tell rooms apart.
func TestOnlyMembersRelay(t *testing.T) {
	h, r, ann, bob := pair(t, RoomOptions{})
	eve, err := h.add("eve")
	require.NoError(t, err)
	secondTab, err := h.add("ann")
	require.NoError(t, err)
	eve.state, secondTab.state = peerAway, peerAway
	require.Equal(t, ErrNotInRoom, r.Join(eve))
	other, err := h.OpenRoom("r2", RoomOptions{Members: []string{"eve", "mal"}})
	require.NoError(t, err)
	require.NoError(t, other.Join(eve))
	tries, want := 0, 5_000
	if os.Getenv("PLIMSOLL_LONG") != "" {
		want = 100_000
	}
	for tries < want {
		for _, m := range []Message{describe("r1", "offer", "x", 0), describe("r1", "answer", "x", 1), trickle("r1", "x", 1),
			rtc("rtc:offer", signal{RoomID: "r1", To: "bob", From: "ann", Description: &Description{"offer", sdp("x")}})} {
			require.Equal(t, ErrNotInRoom, h.Relay(eve, m))
			require.Equal(t, ErrNotInRoom, r.Relay(secondTab, m))
			require.Equal(t, ErrInvalidSignal, other.Relay(eve, m), "a message for another room")
			tries += 3
		}
		require.Equal(t, ErrNotInRoom, h.Relay(eve, describe("none", "offer", "x", 0)))
	}
	require.Empty(t, ann.out.frames)
	require.Empty(t, bob.out.frames)
	// The second tab may take the place of the first.
	require.NoError(t, r.Join(secondTab))
	require.Equal(t, ErrNotInRoom, h.Relay(ann, describe("r1", "offer", "a", 0)))
	require.NoError(t, h.Relay(secondTab, describe("r1", "offer", "a", 0)))
	secondTab.Close(1000, "")
	require.Nil(t, r.Joined("ann"))
	r.Close()
	require.Equal(t, ErrNotInRoom, h.Relay(bob, describe("r1", "offer", "b", 0)))
	require.Equal(t, ErrNotInRoom, r.Join(bob))
	require.Nil(t, h.Room("r1"))
	require.Empty(t, bob.rooms)
}

func TestRoomOptions(t *testing.T) {
	h, _ := idle(t, func(o *Options) { o.MaxRooms = 1 })
	for _, o := range []RoomOptions{{}, {Members: []string{"a"}}, {Members: []string{"a", "a"}}, {Members: []string{"a", "b"}, Initiator: "c"}, {Members: []string{"a", "b"}, MaxCandidates: -1}} {
		_, err := h.OpenRoom("r", o)
		require.ErrorContains(t, err, "signaling: RoomOptions.")
	}
	_, err := h.OpenRoom("r", RoomOptions{Members: []string{"a", "b"}})
	require.NoError(t, err)
	_, err = h.OpenRoom("r", RoomOptions{Members: []string{"a", "b"}})
	require.ErrorIs(t, err, ErrRoomExists)
	_, err = h.OpenRoom("s", RoomOptions{Members: []string{"a", "b"}})
	require.ErrorIs(t, err, ErrRoomsFull)
}

func TestRoomOfMany(t *testing.T) {
	h, ann := idle(t, func(o *Options) { o.MaxRooms = 1 })
	r, err := h.OpenRoom("r", RoomOptions{Members: []string{"ann", "bob", "cid"}})
	require.NoError(t, err)
	require.NoError(t, r.Join(ann))
	require.Equal(t, ErrNotInRoom, r.Relay(ann, describe("r", "offer", "a", 0)), "to whom?")
	m := rtc("rtc:offer", signal{RoomID: "r", To: "cid", Description: &Description{"offer", sdp("x")}})
	require.NoError(t, r.Relay(ann, m), "a member who has not joined yet")
	require.True(t, r.Polite("cid", "bob"))
	require.False(t, r.Polite("bob", "cid"))
}

func TestDescriptions(t *testing.T) {
	good := sdp("x")
	for name, bad := range map[string]string{
		"empty": "", "not SDP": "hello", "LF only": strings.ReplaceAll(good, "\r\n", "\n"), "control": good + "a=\x00\r\n",
		"lone CR": good + "a=x\ry\r\n", "no ufrag": strings.Replace(good, "a=ice-ufrag", "a=x", 1), "long": good + strings.Repeat("a=x\r\n", 20000),
		"many media": good + strings.Repeat("m=audio 9 X 1\r\n", 65), "empty line": good + "\r\n", "no end": good + "a=x",
	} {
		d := Description{"offer", bad}
		require.Error(t, d.check(), name)
	}
	d := Description{"offer", good}
	require.NoError(t, d.check())
	require.Equal(t, "x", d.ufrag())
}

// TestGlareModel plays perfect negotiation between two model peers over a
// room, with offers at random times and deliveries in random order between the
// two directions: it must always settle.
func TestGlareModel(t *testing.T) {
	rounds := 200
	if os.Getenv("PLIMSOLL_LONG") != "" {
		rounds = 10_000
	}
	for round := range rounds {
		h, r, ann, bob := pair(t, RoomOptions{Initiator: []string{"ann", "bob"}[round%2]})
		sides := map[*Peer]*negotiator{ann: {polite: r.Polite("ann", "bob"), state: "stable"}, bob: {polite: r.Polite("bob", "ann"), state: "stable"}}
		require.NotEqual(t, sides[ann].polite, sides[bob].polite)
		offers := 1 + rand.IntN(6)
		for step := 0; ; step++ {
			require.Less(t, step, 1000, "does not settle: %+v %+v", sides[ann], sides[bob])
			var moves []func()
			for p, n := range sides {
				if len(p.out.frames) > 0 {
					moves = append(moves, func() {
						typ, s := first(t, h, p)
						if answer := n.receive(typ, s); answer > 0 {
							require.NoError(t, r.Relay(p, describe("r1", "answer", "u", answer)))
						}
					})
				}
				if offers > 0 || n.again {
					moves = append(moves, func() {
						if n.state != "stable" {
							n.again = true
							return
						}
						n.again = false
						offers--
						n.state = "have-local"
						require.NoError(t, r.Relay(p, describe("r1", "offer", "u", 0)))
					})
				}
			}
			if len(moves) == 0 {
				break
			}
			moves[rand.IntN(len(moves))]()
		}
		require.Equal(t, "stable", sides[ann].state)
		require.Equal(t, "stable", sides[bob].state)
	}
}

// negotiator is perfect negotiation without the media.
type negotiator struct {
	polite, again bool
	state         string
}

func (n *negotiator) receive(typ string, s signal) (answer uint64) {
	switch typ {
	case "rtc:offer":
		if n.state == "have-local" {
			if !n.polite {
				return 0 // ignored
			}
			n.again = true // rolled back; negotiation is needed again
		}
		n.state = "stable"
		return s.Offer
	case "rtc:answer":
		if n.state == "have-local" {
			n.state = "stable"
		}
	}
	return 0
}

// first takes the first signal that waits for p.
func first(t *testing.T, h *Hub, p *Peer) (string, signal) {
	var m struct {
		Type string
		Data signal
	}
	require.NoError(t, json.Unmarshal(p.out.frames[0].JSON(), &m))
	p.mu.Lock()
	p.out.take(1)
	p.out.written()
	p.out.forget(h, 1)
	p.mu.Unlock()
	return m.Type, m.Data
}

func TestTURN(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old := TURN{URLs: []string{"stun:s", "turn:t", "turns:t"}, Secrets: []string{"old"}}
	c, err := old.Credentials("user:with:colons", now)
	require.NoError(t, err)
	require.Len(t, c.ICEServers, 2)
	require.Equal(t, []string{"turn:t", "turns:t"}, c.ICEServers[1].URLs)
	require.Equal(t, "1700003600:user:with:colons", c.ICEServers[1].Username)
	require.True(t, c.RenewAt.Before(c.ExpiresAt))
	name, pass := c.ICEServers[1].Username, c.ICEServers[1].Credential
	both := TURN{URLs: old.URLs, Secrets: []string{"new", "old"}}
	require.True(t, both.Valid(name, pass, now), "during a rotation the old secret is good")
	require.False(t, TURN{Secrets: []string{"new"}}.Valid(name, pass, now))
	require.False(t, both.Valid(name, pass, now.Add(time.Hour)))
	require.False(t, both.Valid("9999999999:x", pass, now))
	d, err := both.Credentials("u", now)
	require.NoError(t, err)
	require.True(t, TURN{Secrets: []string{"new"}}.Valid(d.ICEServers[1].Username, d.ICEServers[1].Credential, now))
	// The test vector of RFC 2202, 2 (HMAC-SHA1, "Jefe").
	require.Equal(t, "7/zfauXrL6LSdBbV8YTfnCWafHk=", turnPassword("Jefe", "what do ya want for nothing?"))
	_, err = TURN{URLs: []string{"http://x"}}.Credentials("u", now)
	require.Error(t, err)
	e, err := TURN{URLs: []string{"stun:s"}}.Credentials("u", now)
	require.NoError(t, err)
	require.Len(t, e.ICEServers, 1)
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{`{"type":"x"}`, `[`, `{"type":"x","id":1,"data":{}}`, `null`, strings.Repeat("[", 100), `{"type":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b, 8)
		if (err == errNotJSON) == json.Valid(b) {
			t.Fatalf("%q: %v", b, err)
		}
		if err == nil && (m.Type == "" || m.Data != nil && !json.Valid(m.Data) || m.ID != nil && !json.Valid(m.ID)) {
			t.Fatalf("%q gave %+v", b, m)
		}
	})
}

func FuzzSignal(f *testing.F) {
	f.Add("rtc:offer", []byte(`{"roomId":"r1","description":{"type":"offer","sdp":"v=0\r\n"}}`))
	f.Add("rtc:ice", []byte(`{"roomId":"r1","candidate":{"candidate":"`+candidate+`"}}`))
	b, _ := json.Marshal(signal{RoomID: "r1", Description: &Description{"offer", sdp("u")}})
	f.Add("rtc:offer", b)
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		_, r, ann, bob := pair(t, RoomOptions{})
		err := r.Relay(ann, Message{Type: typ, Data: data})
		if err == nil {
			for _, fr := range bob.out.frames {
				if !json.Valid(fr.JSON()) {
					t.Fatalf("relayed %q", fr.JSON())
				}
			}
		} else if code(err) == "ok" {
			t.Fatalf("%v is not an *Error", err)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add(sdp("x"))
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		d := Description{"offer", s}
		if d.check() == nil && (strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n\x00") || len(s) > maxSDP) {
			t.Fatalf("%q accepted", s)
		}
	})
}

func FuzzCandidate(f *testing.F) {
	f.Add(candidate)
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c := ICECandidate{Candidate: s}
		if c.check() == nil && (len(s) > maxCandidate || strings.ContainsAny(s, "\r\n\x00")) {
			t.Fatalf("%q accepted", s)
		}
	})
}
