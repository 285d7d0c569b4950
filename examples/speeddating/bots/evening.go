package bots

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/plimsoll-go/plimsoll/signaling/sigclient"
)

// handle takes one message of the server.
func (p *person) handle(m sigclient.Message) {
	switch m.Type {
	case "call:notify":
		p.invited(m)
	case "call:declined", "call:expired", "call:rescinded":
		out := read[struct{ InviteID, Reason string }](m)
		if p.notified == out.InviteID {
			p.notified = ""
		}
		if p.inviting != "" && m.Type != "call:rescinded" {
			p.crowd.leaveAlone(p.inviting, 10*p.crowd.opt.Manners)
			p.hasMet(p.inviting)
		}
		p.inviting = ""
		p.rest(time.Second)
	case "call:start":
		p.started(read[callStart](m))
	case "session:finalized":
		if end := read[struct{ RoomID string }](m); p.call != nil && p.call.room == end.RoomID {
			p.hangUp()
			p.rest(4 * p.crowd.opt.Hesitation)
		}
	case "rtc:offer", "rtc:answer", "rtc:ice", "room:chat", "room:socialShared", "peer:back":
		if p.call != nil {
			p.call.handle(m)
		}
	}
}

// read decodes the data of a message; what does not fit stays zero, and then
// nothing is done about it.
func read[T any](m sigclient.Message) T {
	var v T
	json.Unmarshal(m.Data, &v)
	return v
}

// hello begins, or goes on with what the server says is going on.
func (p *person) hello(resumed bool) {
	if resumed {
		if p.call == nil && p.inviting == "" && p.notified == "" {
			p.rest(time.Millisecond)
		}
		return
	}
	var in struct {
		Call   *callStart
		Invite *struct {
			InviteID string
			Outgoing bool
		}
	}
	if p.client != nil {
		p.client.Hello("call", &in.Call) // what is missing stays nil
		p.client.Hello("invite", &in.Invite)
	}
	p.inviting, p.notified = "", ""
	p.hangUp()
	switch {
	case in.Call != nil:
		room := in.Call.RoomID
		p.ask("call:resume", map[string]string{"roomId": room}, func(data json.RawMessage, code string) {
			var view struct {
				callStart
				Call *callStart
			}
			if code != "" || json.Unmarshal(data, &view) != nil {
				p.rest(time.Second)
				return
			}
			start := view.callStart
			if view.Call != nil {
				start = *view.Call
			}
			start.Here = true
			p.started(start)
		})
	case in.Invite != nil && !in.Invite.Outgoing:
		p.acceptSoon(in.Invite.InviteID)
	default:
		p.rest(time.Millisecond)
	}
}

// rest goes to the queue after about d, unless something has happened then.
func (p *person) rest(d time.Duration) {
	p.after(d, func() {
		if p.call != nil || p.client == nil {
			return
		}
		p.ask("queue:join", nil, func(_ json.RawMessage, code string) {
			if code == "" && p.call == nil && p.inviting == "" && p.notified == "" {
				p.crowd.setFree(p, true)
			}
		})
	})
}

// invite invites somebody, if p is still free.
func (p *person) invite(id string) {
	if p.call != nil || p.inviting != "" || p.notified != "" || p.client == nil {
		return
	}
	p.inviting = id
	p.crowd.setFree(p, false)
	data := map[string]any{"toUserId": id, "requestedSeconds": p.wish()}
	p.ask("call:invite", data, func(_ json.RawMessage, code string) {
		if code == "" {
			return // accepted, declined or expired follows
		}
		if code == "cooldown" || code == "user_not_found" {
			p.hasMet(id)
		}
		p.inviting = ""
		p.rest(time.Second)
	})
}

// invited answers an invitation, as somebody who has to read it first.
func (p *person) invited(m sigclient.Message) {
	in := read[struct{ InviteID string }](m)
	if in.InviteID == "" || p.call != nil {
		return
	}
	p.acceptSoon(in.InviteID)
}

// wish is the length of a call that p asks for, in seconds.
func (p *person) wish() int {
	if wish := p.crowd.opt.Wish; wish > 0 {
		return int(wish / time.Second)
	}
	return 180 + 30*p.rnd.IntN(9)
}

func (p *person) acceptSoon(invite string) {
	p.notified = invite
	p.crowd.setFree(p, false)
	p.after(p.crowd.opt.Hesitation, func() {
		if p.notified != invite || p.call != nil {
			return
		}
		data := map[string]any{"inviteId": invite, "requestedSeconds": p.wish()}
		p.ask("call:accept", data, func(_ json.RawMessage, code string) {
			if code != "" && p.notified == invite {
				p.notified = ""
				p.rest(time.Second)
			}
		})
	})
}

// started begins a call.
func (p *person) started(s callStart) {
	p.inviting, p.notified = "", ""
	p.crowd.setFree(p, false)
	if !s.Here || s.RoomID == "" {
		return
	}
	p.hangUp()
	p.hasMet(s.Peer.UserID)
	withBot := p.crowd.isBot(s.Peer.UserID)
	if !withBot {
		p.crowd.leaveAlone(s.Peer.UserID, p.crowd.opt.Manners)
	}
	p.call = &call{p: p, room: s.RoomID, initiator: s.IsInitiator, withBot: withBot}
	p.crowd.opt.Logger.Debug("bots: call", slog.String("bot", p.name), slog.String("with", s.Peer.Name))
	p.call.begin()
}

// hangUp ends what p has of its call. The server is told by call.end.
func (p *person) hangUp() {
	if p.call != nil {
		p.call.close()
		p.call = nil
	}
}

// iceServers asks the platform, and goes without if it does not answer.
func (p *person) iceServers() []webrtc.ICEServer {
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Second)
	defer cancel()
	servers, err := p.crowd.api.iceServers(ctx, p.session())
	if err != nil {
		p.crowd.opt.Logger.Debug("bots: ice servers", slog.Any("err", err))
	}
	return servers
}

// socialHandle is the name as a network would have it: lower case, no spaces.
func (p *person) socialHandle() string {
	var b []byte
	for _, r := range []byte(p.name) {
		switch {
		case 'A' <= r && r <= 'Z':
			b = append(b, r+'a'-'A')
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b = append(b, r)
		}
	}
	return string(b)
}
