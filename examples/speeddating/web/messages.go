package web

import (
	"context"
	"strconv"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// The messages of a client: what their data holds. The server's messages are
// package dating's events, and the relayed ones are package signaling's.
type (
	joinMessage struct {
		Delta bool `json:"delta"` // speaks queue:delta
	}
	cursorMessage struct {
		Cursor string `json:"cursor"`
	}
	inviteMessage struct {
		ToUserID         dating.UserID `json:"toUserId"`
		RequestedSeconds seconds       `json:"requestedSeconds"`
	}
	acceptMessage struct {
		InviteID         string  `json:"inviteId"`
		RequestedSeconds seconds `json:"requestedSeconds"`
	}
	inviteIDMessage struct {
		InviteID string `json:"inviteId"`
	}
	roomMessage struct {
		RoomID string `json:"roomId"`
	}
	chatMessage struct {
		RoomID string `json:"roomId"`
		Text   string `json:"text"`
	}
	socialMessage struct {
		RoomID  string         `json:"roomId"`
		Socials dating.Socials `json:"socials"`
	}
)

// handle carries out one message of a client: one case a type. The answer goes
// back if the client gave an id.
func (s *Sockets) handle(ctx context.Context, p *signaling.Peer, m signaling.Message) (any, error) {
	user, socket := dating.UserID(p.User()), p.ID()
	switch m.Type {
	case "queue:join":
		if len(m.Data) > 0 {
			in, err := read[joinMessage](m)
			if err != nil {
				return nil, err
			}
			if in.Delta {
				s.windows.ask(socket)
			}
		}
		return nil, s.platform.JoinQueue(ctx, user, socket)
	case "queue:leave":
		return nil, s.platform.LeaveQueue(ctx, user, socket)
	case "queue:more":
		in, err := read[cursorMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.WatchQueue(ctx, user, socket, in.Cursor)

	case "call:invite":
		in, err := read[inviteMessage](m)
		if err != nil {
			return nil, err
		}
		return s.platform.Invite(ctx, user, socket, in.ToUserID, int(in.RequestedSeconds))
	case "call:accept":
		in, err := read[acceptMessage](m)
		if err != nil {
			return nil, err
		}
		return s.platform.Accept(ctx, user, socket, in.InviteID, int(in.RequestedSeconds))
	case "call:decline":
		in, err := read[inviteIDMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.Decline(ctx, user, in.InviteID)
	case "call:extend-wait":
		in, err := read[inviteIDMessage](m)
		if err != nil {
			return nil, err
		}
		return s.platform.ExtendWait(ctx, user, in.InviteID)
	case "call:rescind":
		in, err := read[inviteIDMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.Rescind(ctx, user, in.InviteID)
	case "call:resume":
		in, err := read[roomMessage](m)
		if err != nil {
			return nil, err
		}
		return s.resumeCall(ctx, p, in.RoomID)
	case "call:end":
		in, err := read[roomMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.EndCall(ctx, user, in.RoomID)

	case "rtc:offer", "rtc:answer", "rtc:ice":
		return nil, s.hub.Relay(p, m) // the room checks that p is the socket of a member
	case "room:chat":
		in, err := read[chatMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.Chat(ctx, user, in.RoomID, in.Text)
	case "room:giveSocial":
		in, err := read[socialMessage](m)
		if err != nil {
			return nil, err
		}
		return nil, s.platform.GiveSocial(ctx, user, in.RoomID, in.Socials)
	}
	return nil, &dating.Error{Code: unknownType, Message: "there is no such message type"}
}

// resumeCall makes this socket the one of its user in the call, for the rules
// and for the relay.
func (s *Sockets) resumeCall(ctx context.Context, p *signaling.Peer, roomID string) (any, error) {
	// The room first: the partner may offer as soon as it hears of us.
	room, user := s.hub.Room(roomID), dating.UserID(p.User())
	if room == nil { // the call began on another server
		call, _, err := s.platform.Current(ctx, user)
		if err != nil {
			return nil, err
		}
		if call != nil && call.RoomID == roomID {
			room = s.openRoom(user, &call.CallStart)
		}
	}
	if room != nil {
		if err := room.Join(p); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.rooms[user] = roomID
		s.mu.Unlock()
	}
	return s.platform.Resume(ctx, user, p.ID(), roomID)
}

// read decodes the data of a message into T, strictly.
func read[T any](m signaling.Message) (T, error) {
	var v T
	err := decode(m.Data, &v)
	return v, err
}

// seconds is a whole number of them. What is none, or is missing, is 0, which
// the rules refuse at its place in the order of their refusals.
type seconds int

// UnmarshalJSON implements json.Unmarshaler.
func (s *seconds) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(string(b))
	if err != nil {
		n = 0
	}
	*s = seconds(n)
	return nil
}
