package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// A call is one conversation: side 0 invites side 1. Its goroutine plays both
// sides; what the server tells them comes in take.
type call struct {
	r      *runner
	sides  [2]*person
	serial int64

	notified chan string    // the invite's id, at the callee
	started  [2]chan string // the room's id
	ended    [2]chan struct{}
	answered chan struct{} // the offer has its answer
	over     chan struct{} // abandoned
	abandonO sync.Once

	mu      sync.Mutex
	room    string
	invited time.Time
	sentSDP [2]time.Time
	sentAt  [2][]time.Time // lines of chat
	seen    [2]receipts    // by receiver
}

// receipts is what one side has received.
type receipts struct {
	sdp        int
	chat       [2][]int // numbers of the lines, by sender
	candidates []int
	finalized  int
}

func newCall(r *runner, caller, callee *person) *call {
	c := &call{
		r: r, sides: [2]*person{caller, callee}, serial: r.serial.Add(1),
		notified: make(chan string, 1), answered: make(chan struct{}, 1), over: make(chan struct{}),
	}
	for i := range c.sides {
		c.started[i] = make(chan string, 1)
		c.ended[i] = make(chan struct{}, 1)
	}
	return c
}

// abandon gives up a call whose side lost its session.
func (c *call) abandon() { c.abandonO.Do(func() { close(c.over) }) }

var errAbandoned = errors.New("a side lost its session")

// await waits for what one side must be told.
func await[T any](c *call, what string, ch <-chan T) (v T, err error) {
	t := time.NewTimer(c.r.opt.Patience)
	defer t.Stop()
	select {
	case v = <-ch:
		return v, nil
	case <-c.over:
		return v, errAbandoned
	case <-t.C:
		return v, fmt.Errorf("no %s in %v", what, c.r.opt.Patience)
	}
}

// run plays the call, and lets both go on.
func (c *call) run(ctx context.Context) {
	f := &c.r.figures
	f.calling.Add(1)
	for _, p := range c.sides {
		p.call.Store(c)
	}
	f.attempted.Add(1)
	f.window(&f.attemptedIn)
	err := c.play(ctx)
	switch {
	case err == nil:
		f.completed.Add(1)
		f.window(&f.completedIn)
	case errors.Is(err, errAbandoned):
		f.count("call abandoned: " + err.Error())
	default:
		f.fail("call", err)
	}
	for _, p := range c.sides {
		p.call.Store(nil)
	}
	f.calling.Add(-1)
	for _, p := range c.sides {
		if p.gone.Load() || ctx.Err() != nil {
			continue
		}
		go func() {
			if p.join(ctx) {
				p.readySoon(2 * max(c.r.opt.Pace-c.r.opt.Call, time.Second))
			} else { // it goes on trying
				p.readySoon(2 * c.r.opt.Pace)
			}
		}()
	}
}

func (c *call) play(ctx context.Context) error {
	caller, callee, f := c.sides[0], c.sides[1], &c.r.figures
	seconds := max(int(3*c.r.opt.Call/time.Second), 60)

	c.mu.Lock()
	c.invited = time.Now()
	c.mu.Unlock()
	data := map[string]any{"toUserId": callee.id, "requestedSeconds": seconds}
	if err := caller.request(ctx, "call:invite", data, nil); err != nil {
		return fmt.Errorf("call:invite: %w", err)
	}
	invite, err := await(c, "call:notify", c.notified)
	if err != nil {
		return err
	}

	accepted := time.Now()
	data = map[string]any{"inviteId": invite, "requestedSeconds": seconds}
	if err := callee.request(ctx, "call:accept", data, nil); err != nil {
		return fmt.Errorf("call:accept: %w", err)
	}
	for i := range c.sides {
		room, err := await(c, "call:start", c.started[i])
		if err != nil {
			return err
		}
		f.record(&f.start, time.Since(accepted))
		c.mu.Lock()
		if c.room != "" && c.room != room {
			f.count("call:start with two different rooms")
		}
		c.room = room
		c.mu.Unlock()
	}

	talked := time.Now()
	if err := c.negotiate(); err != nil {
		return err
	}
	if err := c.chat(ctx, talked); err != nil {
		return err
	}
	wait(ctx, time.Until(talked.Add(c.r.opt.Call)))

	end := time.Now()
	if err := caller.request(ctx, "call:end", map[string]any{"roomId": c.room}, nil); err != nil {
		return fmt.Errorf("call:end: %w", err)
	}
	for i := range c.sides {
		if _, err := await(c, "session:finalized", c.ended[i]); err != nil {
			return err
		}
		f.record(&f.finalized, time.Since(end))
	}
	// The end may overtake the last words.
	c.settle()
	c.check()
	return nil
}

// number is the session id of a side's description.
func (c *call) number(side int) int64 { return 2*c.serial + int64(side) }

func (c *call) negotiate() error {
	c.describe(0, "offer", 0)
	if _, err := await(c, "rtc:answer", c.answered); err != nil {
		return err
	}
	return nil
}

// describe sends a side's description and candidates. It is called for the
// answer by the goroutine of the callee's socket.
func (c *call) describe(side int, kind string, offer uint64) {
	setup := map[string]string{"offer": "actpass", "answer": "active"}[kind]
	n := c.number(side)
	data := map[string]any{
		"roomId":      c.room,
		"description": map[string]string{"type": kind, "sdp": description(n, setup)},
	}
	if offer != 0 {
		data["offer"] = offer
	}
	p := c.sides[side]
	c.mu.Lock()
	c.sentSDP[side] = time.Now()
	c.mu.Unlock()
	p.send("rtc:"+kind, data)
	for i := range c.r.opt.Candidates {
		p.send("rtc:ice", map[string]any{"roomId": c.room, "candidate": iceCandidate(n, i)})
	}
}

// chat lets both write their lines over the first four fifths of the call.
func (c *call) chat(ctx context.Context, since time.Time) error {
	c.mu.Lock()
	for i := range c.sides {
		c.sentAt[i] = make([]time.Time, 0, c.r.opt.ChatLines)
	}
	c.mu.Unlock()
	for n := range c.r.opt.ChatLines {
		due := since.Add(c.r.opt.Call * 4 / 5 * time.Duration(n+1) / time.Duration(c.r.opt.ChatLines))
		if !wait(ctx, time.Until(due)) {
			return nil
		}
		for side, p := range c.sides {
			text := fmt.Sprintf("%d %d %d is what I wanted to say, in about sixty bytes", c.serial, side, n)
			c.mu.Lock()
			c.sentAt[side] = append(c.sentAt[side], time.Now())
			c.mu.Unlock()
			p.send("room:chat", map[string]any{"roomId": c.room, "text": text})
		}
		select {
		case <-c.over:
			return errAbandoned
		default:
		}
	}
	return nil
}

// take takes what the server tells p.
func (c *call) take(p *person, m sigclient.Message) {
	f := &c.r.figures
	now := time.Now()
	side := 0
	if p == c.sides[1] {
		side = 1
	}
	var in struct {
		RoomID, InviteID, Text string
		IsInitiator, Here      bool
		Offer                  uint64
		FromUser               struct{ UserID string }
		Description            struct{ SDP string }
		Candidate              *struct{ Candidate string }
		Candidates             []struct{ Candidate string }
	}
	if err := json.Unmarshal(m.Data, &in); err != nil {
		f.count("malformed " + m.Type)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	got := &c.seen[side]
	switch m.Type {
	case "call:notify":
		if side != 1 || in.FromUser.UserID != c.sides[0].id {
			f.count("call:notify of somebody else")
			return
		}
		f.record(&f.notify, now.Sub(c.invited))
		offerTo(c.notified, in.InviteID, f, m.Type)
	case "call:start":
		if !in.Here || in.IsInitiator != (side == 0) {
			f.count("call:start with a wrong role")
		}
		offerTo(c.started[side], in.RoomID, f, m.Type)
	case "rtc:offer", "rtc:answer":
		got.sdp++
		if sessionID(in.Description.SDP) != c.number(1-side) || len(in.Description.SDP) < sdpBytes/2 {
			f.count("changed " + m.Type)
		}
		f.record(&f.sdp, now.Sub(c.sentSDP[1-side]))
		if m.Type == "rtc:offer" {
			if c.room == "" {
				c.room = in.RoomID
			}
			offer := in.Offer
			c.mu.Unlock()
			c.describe(1, "answer", offer)
			c.mu.Lock()
		} else {
			offerTo(c.answered, struct{}{}, f, m.Type)
		}
	case "rtc:ice":
		if in.Candidate != nil {
			in.Candidates = append(in.Candidates, *in.Candidate)
		}
		for _, candidate := range in.Candidates {
			got.candidates = append(got.candidates, candidateNumber(candidate.Candidate))
		}
	case "room:chat":
		var serial int64
		var from, n int
		if _, err := fmt.Sscanf(in.Text, "%d %d %d", &serial, &from, &n); err != nil || serial != c.serial || from < 0 || from > 1 {
			f.count("chat of another call")
			return
		}
		got.chat[from] = append(got.chat[from], n)
		if from != side && n < len(c.sentAt[from]) {
			f.record(&f.chat, now.Sub(c.sentAt[from][n]))
		}
	case "session:finalized":
		if got.finalized++; got.finalized == 1 {
			c.ended[side] <- struct{}{}
		}
	case "call:expired", "call:declined", "call:rescinded", "peer:disconnected":
		f.count(m.Type)
		c.abandon()
	}
}

// offerTo hands a value to the call's goroutine; a second one is a double.
func offerTo[T any](ch chan T, v T, f *figures, kind string) {
	select {
	case ch <- v:
	default:
		f.doubled.Add(1)
		f.count("doubled " + kind)
	}
}

// settle waits until both sides have everything, or for 3 s.
func (c *call) settle() {
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		all := true
		for side := range c.sides {
			got := &c.seen[side]
			all = all && got.sdp >= 1 && len(got.candidates) >= c.r.opt.Candidates
			for from := range got.chat {
				all = all && len(got.chat[from]) >= len(c.sentAt[from])
			}
		}
		c.mu.Unlock()
		if all {
			return
		}
	}
}

// check counts what was lost, doubled and reordered.
func (c *call) check() {
	f := &c.r.figures
	c.mu.Lock()
	defer c.mu.Unlock()
	for side := range c.sides {
		got := &c.seen[side]
		if got.sdp == 0 {
			f.lose("SDP", 1)
		}
		f.compare("candidate", got.candidates, c.r.opt.Candidates)
		for from := range got.chat {
			f.compare("chat", got.chat[from], len(c.sentAt[from]))
		}
		f.checked.Add(int64(1 + c.r.opt.Candidates + len(c.sentAt[0]) + len(c.sentAt[1])))
		if got.sdp > 1 {
			f.doubled.Add(int64(got.sdp - 1))
		}
		if got.finalized > 1 {
			f.doubled.Add(int64(got.finalized - 1))
		}
	}
}
