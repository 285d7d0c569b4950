package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// receipts is what one side has received.
type receipts struct {
	sdp        map[int]int     // by round
	candidates map[int][]int   // by round
	chat       [2][]int        // numbers of the lines, by sender; newSession where one begins
	read       [2]map[int]bool // lines that came with the answer to call:resume
	finalized  int
	told       bool // that the call or the invitation is over
	absent     bool // lost its session and did not come back into the call: the history has the lines
}

// newSession stands in receipts.chat where the receiver came back.
const newSession = -1

// take takes what the server tells p.
func (c *call) take(p *person, m sigclient.Message) {
	f := &c.r.figures
	now := time.Now()
	side := c.side(p)
	var in struct {
		RoomID, InviteID, Text string
		IsInitiator, Here      bool
		Restart                bool
		Reason                 string
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
		if c.room != "" && c.room != in.RoomID {
			f.count("call:start with two different rooms")
		}
		offerTo(c.started[side], in.RoomID, f, m.Type)
	case "rtc:offer", "rtc:answer":
		n := sessionID(in.Description.SDP)
		round := int(n & maxRound)
		if n != c.number(1-side, round) || len(in.Description.SDP) < sdpBytes/2 {
			f.count("changed " + m.Type)
			return
		}
		got.sdp[round]++
		f.record(&f.sdp, now.Sub(c.sentSDP[1-side]))
		if m.Type == "rtc:offer" {
			if c.room == "" {
				c.room = in.RoomID
			}
			offer := in.Offer
			c.round = max(c.round, round)
			c.mu.Unlock()
			c.describe(1, "answer", offer, round)
			c.mu.Lock()
		} else if round == 0 || len(c.answered) == 0 {
			offerTo(c.answered, struct{}{}, f, m.Type)
		}
	case "rtc:ice":
		if in.Candidate != nil {
			in.Candidates = append(in.Candidates, *in.Candidate)
		}
		for _, candidate := range in.Candidates {
			i, n := candidateNumber(candidate.Candidate)
			round := int(n & maxRound)
			if n != uint32(c.number(1-side, round)) {
				f.count("candidate of another call")
				continue
			}
			got.candidates[round] = append(got.candidates[round], i)
		}
	case "room:chat":
		from, n, ok := c.line(in.Text)
		if !ok {
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
		if got.told = true; !c.ending {
			f.announce("call ended by the platform: " + in.Reason)
			c.abandon()
		}
	case "peer:back":
		if in.Restart {
			c.broken = now
			if side == 0 && c.r.opt.Faults {
				go c.restart()
			}
		}
	case "call:expired", "call:declined", "call:rescinded", "peer:disconnected":
		f.announce(m.Type + " " + in.Reason)
		got.told = true
		c.abandon()
	}
}

// settle waits until both sides have everything, or for 3 s; where faults are
// expected, as long as anything may take.
func (c *call) settle() {
	patience := 3 * time.Second
	if c.r.opt.Faults {
		patience = c.r.opt.Patience
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		all := true
		for side := range c.sides {
			got := &c.seen[side]
			all = all && (!c.whole || got.sdp[c.round] >= 1 && len(got.candidates[c.round]) >= c.r.opt.Candidates)
			for from := range got.chat {
				all = all && len(got.chat[from])+len(c.unsure[from]) >= len(c.sentAt[from])
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
		// What was under way when a side lost its session is gone, and both
		// know; the round after it must be whole.
		whole := c.whole && !c.unrelayed
		for round := range c.round + 1 {
			if got.sdp[round] > 1 {
				f.doubled.Add(int64(got.sdp[round] - 1))
				f.count("doubled SDP")
			}
			want := 0
			if round == c.round && whole {
				want = c.r.opt.Candidates
				if got.sdp[round] == 0 {
					f.lose("SDP", 1)
				}
				f.checked.Add(int64(1 + want))
			}
			f.compare("candidate", got.candidates[round], c.r.opt.Candidates, func(i int) bool { return i < want })
		}
		for from := range got.chat {
			before := f.lost.Load() + f.reordered.Load()
			f.compare("chat", got.chat[from], len(c.sentAt[from]), func(n int) bool {
				return !c.unsure[from][n] && !got.read[from][n] && !got.absent
			})
			if f.lost.Load()+f.reordered.Load() > before { // roughly: others count too
				c.r.opt.Progress(fmt.Sprintf("room %s: of the lines of side %d, side %d got %v, read %v; refused or not answered %v",
					c.room, from, side, got.chat[from], got.read[from], c.unsure[from]))
			}
			f.checked.Add(int64(len(c.sentAt[from])))
		}
		if got.finalized > 1 {
			f.doubled.Add(int64(got.finalized - 1))
		}
	}
}
