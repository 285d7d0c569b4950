package bots

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// callStart is the data of call:start.
type callStart struct {
	RoomID      string
	IsInitiator bool
	Here        bool
	Peer        card
}

// A call is a bot's side of one. It belongs to the goroutine of its person.
type call struct {
	p         *person
	room      string
	initiator bool
	withBot   bool
	link      *link // nil with a bot
	closed    bool
	typing    bool
	lines     int // written by us
	shared    bool
}

// soon runs f after about n hesitations, if the call still lasts.
func (c *call) soon(n float64, f func()) {
	c.p.after(time.Duration(n*float64(c.p.crowd.opt.Hesitation)), func() {
		if !c.closed {
			f()
		}
	})
}

func (c *call) begin() {
	c.connect()
	if c.withBot {
		// Small talk, and one of the two goes first.
		c.soon(1, func() { c.say(greetings) })
		c.chat()
		if c.initiator {
			c.soon(15+30*c.p.rnd.Float64(), c.end)
		}
		return
	}
	c.soon(1.5, func() { c.say(greetings) })
	if c.p.rnd.IntN(2) == 0 {
		c.soon(25, c.share)
	}
	c.soon(20, c.breakSilence)
}

// connect makes a fresh WebRTC connection.
func (c *call) connect() {
	if c.withBot {
		if c.initiator {
			c.soon(0.2, c.playOffer)
		}
		return
	}
	p := c.p
	if c.link != nil {
		c.link.close()
		c.link = nil
	}
	var l *link
	send := func(kind string, s signal) {
		s.RoomID = c.room
		if kind != "rtc:ice" {
			p.send(kind, s)
			return
		}
		// pion finds candidates on its own goroutines.
		p.post(func() {
			if !c.closed && c.link == l {
				p.send(kind, s)
			}
		})
	}
	restart := func() {
		p.post(func() {
			if !c.closed && c.link == l {
				c.trouble("restart", l.offer(true))
			}
		})
	}
	var err error
	if l, err = p.crowd.studio.newLink(c.initiator, p.iceServers(), send, restart); err != nil {
		c.trouble("connection", err)
		return
	}
	c.link = l
	if c.initiator {
		c.trouble("offer", l.offer(false))
	}
}

// trouble logs what went wrong with the media: the call goes on without.
func (c *call) trouble(what string, err error) {
	if err != nil {
		c.p.crowd.opt.Logger.Warn("bots: "+what, slog.String("bot", c.p.name), slog.Any("err", err))
	}
}

func (c *call) handle(m sigclient.Message) {
	in := read[signal](m)
	if in.RoomID != c.room {
		return
	}
	switch m.Type {
	case "peer:back":
		if read[struct{ Restart bool }](m).Restart {
			c.connect()
		}
	case "room:chat":
		if in.From != c.p.id && !c.withBot {
			c.answer()
		}
	case "room:socialShared":
		if in.From != c.p.id {
			c.soon(1, func() { c.write("Thank you, I will write to you!") })
			c.soon(3, c.share)
		}
	default:
		switch {
		case c.withBot:
			if m.Type == "rtc:offer" {
				c.playAnswer(in.Offer)
			}
		case c.link != nil:
			c.trouble(m.Type, c.link.receive(m.Type, in))
		}
	}
}

// playOffer and playAnswer send what was recorded.
func (c *call) playOffer() {
	s, err := c.p.crowd.studio.recorded()
	if err != nil {
		c.trouble("recording", err)
		return
	}
	c.p.send("rtc:offer", signal{RoomID: c.room, Description: &s.offer})
	c.playCandidates(s)
}

func (c *call) playAnswer(offer uint64) {
	s, err := c.p.crowd.studio.recorded()
	if err != nil {
		c.trouble("recording", err)
		return
	}
	c.p.send("rtc:answer", signal{RoomID: c.room, Offer: offer, Description: &s.answer})
	c.playCandidates(s)
}

func (c *call) playCandidates(s script) {
	for _, candidate := range s.candidates {
		c.p.send("rtc:ice", signal{RoomID: c.room, Candidate: &candidate})
	}
}

// chat keeps two bots talking.
func (c *call) chat() {
	c.soon(2+4*c.p.rnd.Float64(), func() {
		if c.lines%2 == 0 {
			c.say(questions)
		} else {
			c.say(answers)
		}
		if c.p.rnd.IntN(12) == 0 {
			c.share()
		}
		c.chat()
	})
}

// answer answers a person's line, one at a time.
func (c *call) answer() {
	if c.typing {
		return
	}
	c.typing = true
	c.soon(1.2, func() {
		c.typing = false
		c.say(answers)
	})
}

// breakSilence asks something now and then, so that a person who does not
// type sees a chat too.
func (c *call) breakSilence() {
	c.say(questions)
	if c.lines < 20 {
		c.soon(25, c.breakSilence)
	}
}

func (c *call) say(from []string) { c.write(pick(c.p.rnd, from)) }

func (c *call) write(text string) {
	c.lines++
	c.p.send("room:chat", map[string]string{"roomId": c.room, "text": text})
}

// share gives a handle, once.
func (c *call) share() {
	if c.shared {
		return
	}
	c.shared = true
	c.p.send("room:giveSocial", map[string]any{
		"roomId":  c.room,
		"socials": map[string]string{"instagram": "@" + c.p.socialHandle()},
	})
}

// end ends the call for both.
func (c *call) end() {
	c.p.ask("call:end", map[string]string{"roomId": c.room}, func(_ json.RawMessage, code string) {
		if code != "" && c.p.call == c {
			c.p.hangUp() // it was over already
			c.p.rest(time.Second)
		}
	})
}

func (c *call) close() {
	c.closed = true
	if c.link != nil {
		c.link.close()
	}
}
