package load

import (
	"context"
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

	speaking sync.WaitGroup   // lines whose answer is not there yet
	spoken   [2]chan struct{} // closed when the side's last line has its answer; chat's own

	mu        sync.Mutex
	room      string
	invited   time.Time
	sentSDP   [2]time.Time
	sentAt    [2][]time.Time  // lines of chat
	unsure    [2]map[int]bool // of these, those that were refused, or not answered
	round     int             // of descriptions: another one after each break
	broken    time.Time       // the last break, of which both were told
	unrelayed bool            // the platform said so of a description or candidate
	ending    bool
	whole     bool        // as the end began, the last break was long ago: the last round is all there
	seen      [2]receipts // by receiver
}

// maxRound bounds the rounds of descriptions that are told apart.
const maxRound = 15

func newCall(r *runner, caller, callee *person) *call {
	c := &call{
		r: r, sides: [2]*person{caller, callee}, serial: r.serial.Add(1),
		notified: make(chan string, 1), answered: make(chan struct{}, 1), over: make(chan struct{}),
	}
	for i := range c.sides {
		c.started[i] = make(chan string, 1)
		c.ended[i] = make(chan struct{}, 1)
		c.unsure[i] = map[int]bool{}
		c.seen[i] = receipts{sdp: map[int]int{}, candidates: map[int][]int{}, read: [2]map[int]bool{{}, {}}}
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
		f.announce("call abandoned: " + err.Error())
	default:
		f.fail("call", err)
	}
	if err != nil && c.r.opt.Faults {
		c.part()
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
			if p.rejoin(ctx) {
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
	c.finish()

	end := time.Now()
	c.mu.Lock()
	c.ending = true
	c.whole = end.Sub(c.broken) > 5*time.Second
	c.mu.Unlock()
	if err := c.insist(func() error {
		return caller.request(ctx, "call:end", map[string]any{"roomId": c.roomID()}, nil)
	}); err != nil {
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

// finish waits until what a cut, a fault or a busy machine held up has been
// said after all: a socket's messages are taken in order, so the answer to a ping
// comes after all of them.
func (c *call) finish() {
	c.speaking.Wait()
	var both sync.WaitGroup
	for _, p := range c.sides {
		both.Go(func() {
			if err := p.request(context.Background(), "ping", nil, nil); err != nil {
				c.r.figures.fail("ping", err)
			}
		})
	}
	both.Wait()
}

// insist tries again what the platform says it cannot do now, where faults are
// expected.
func (c *call) insist(f func() error) error {
	err := f()
	for end := time.Now().Add(c.r.opt.Patience); err != nil && c.r.opt.Faults && time.Now().Before(end); err = f() {
		if e, ok := errors.AsType[*sigclient.Error](err); ok && e.Code != "unavailable" {
			return err
		}
		c.r.figures.fail("again", err)
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// number is the session id of a side's description.
func (c *call) number(side, round int) int64 { return (2*c.serial+int64(side))<<4 | int64(round) }

func (c *call) negotiate() error {
	c.describe(0, "offer", 0, 0)
	if _, err := await(c, "rtc:answer", c.answered); err != nil {
		return err
	}
	return nil
}

// describe sends a side's description and candidates. It is called for the
// answer by the goroutine of the callee's socket.
func (c *call) describe(side int, kind string, offer uint64, round int) {
	setup := map[string]string{"offer": "actpass", "answer": "active"}[kind]
	n, room := c.number(side, round), c.roomID()
	data := map[string]any{
		"roomId":      room,
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
		p.send("rtc:ice", map[string]any{"roomId": room, "candidate": iceCandidate(n, i)})
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
			c.say(p, side, n, map[string]any{"roomId": c.roomID(), "text": text})
		}
		select {
		case <-c.over:
			return errAbandoned
		default:
		}
	}
	return nil
}

// roomID is the call's room as far as it is known.
func (c *call) roomID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room
}

// say sends a line of chat. Where faults are expected it waits for the answer,
// behind those of the lines before: a line that was taken must arrive, one that
// was refused need not.
func (c *call) say(p *person, side, n int, data map[string]any) {
	if !c.r.opt.Faults {
		p.send("room:chat", data)
		return
	}
	before, said := c.spoken[side], make(chan struct{})
	c.spoken[side] = said
	c.speaking.Go(func() {
		defer close(said)
		if before != nil {
			<-before // one line after the other
		}
		if err := p.request(context.Background(), "room:chat", data, nil); err != nil {
			c.r.figures.fail("room:chat", err)
			c.mu.Lock()
			c.unsure[side][n] = true
			c.mu.Unlock()
		}
	})
}

// restart is for a call in which a side has begun a new session: the two
// exchange descriptions once more.
func (c *call) restart() {
	c.mu.Lock()
	c.broken = time.Now()
	again := c.round < maxRound && !c.ending
	if again {
		c.round++
	}
	round := c.round
	c.mu.Unlock()
	if again {
		c.describe(0, "offer", 0, round)
	}
}

// broke notes that a side has a new session.
func (c *call) broke(p *person) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = time.Now()
	got := &c.seen[c.side(p)]
	got.absent = true
	for from := range got.chat {
		got.chat[from] = append(got.chat[from], newSession)
	}
}

func (c *call) side(p *person) int {
	if p == c.sides[1] {
		return 1
	}
	return 0
}

// resumed takes the answer to call:resume: what was said so far.
func (c *call) resumed(p *person, lines []string) {
	c.mu.Lock()
	got := &c.seen[c.side(p)]
	got.absent = false
	for _, text := range lines {
		if from, n, ok := c.line(text); ok {
			got.read[from][n] = true
		}
	}
	c.mu.Unlock()
	c.r.figures.rejoined.Add(1)
	if p == c.sides[0] {
		c.restart()
	}
}

// line reads a line of chat.
func (c *call) line(text string) (from, n int, ok bool) {
	var serial int64
	if _, err := fmt.Sscanf(text, "%d %d %d", &serial, &from, &n); err != nil || serial != c.serial || from < 0 || from > 1 {
		c.r.figures.count("chat of another call")
		return 0, 0, false
	}
	return from, n, true
}

// overFor notes that p knows of the end.
func (c *call) overFor(p *person) {
	c.mu.Lock()
	c.seen[c.side(p)].told = true
	c.mu.Unlock()
	c.abandon()
}

// part ends a call that went wrong, and makes sure that both sides hear that it is
// over: silence is an error.
func (c *call) part() {
	f := &c.r.figures
	c.speaking.Wait()
	c.mu.Lock()
	c.ending = true
	room := c.room
	c.mu.Unlock()
	told := func(side int) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.seen[side].told || c.seen[side].finalized > 0
	}
	end := time.Now().Add(2 * c.r.opt.Patience)
	for side, p := range c.sides {
		for room != "" && !told(side) && time.Now().Before(end) {
			err := p.request(context.Background(), "call:end", map[string]any{"roomId": room}, nil)
			if e, ok := errors.AsType[*sigclient.Error](err); err == nil || ok && e.Code == "not_found" {
				c.mu.Lock()
				c.seen[side].told = true
				c.mu.Unlock()
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	for side, p := range c.sides {
		if side == 1 && len(c.notified) == 0 && room == "" {
			continue // never heard of it
		}
		for room != "" && !told(side) && !p.gone.Load() && time.Now().Before(end) {
			time.Sleep(50 * time.Millisecond)
		}
		if room != "" && !told(side) && !p.gone.Load() {
			f.lose("end of a call", 1)
		}
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
