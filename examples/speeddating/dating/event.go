package dating

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Event is one message for one person's browsers. Kind and the JSON of Data
// are the wire of PLATFORM.md. Data is always one of the types below, also
// when the event came from another node.
type Event struct {
	To     UserID
	Socket string // empty: every socket of To on every node
	Kind   string
	Data   any

	// Plain is Data without what is marked for this viewer alone, for who sends
	// the two apart. It is Data itself when nothing is marked, and set for the
	// queue only.
	Plain any

	// Shared is set when the very same Plain goes to many sockets at once:
	// encode it once and keep the frame there.
	Shared *Shared
}

// Shared keeps what the first receiver of an event made of it for the others.
type Shared struct {
	once  sync.Once
	value any
}

// Do calls encode the first time and gives its result every time.
func (s *Shared) Do(encode func() any) any {
	s.once.Do(func() { s.value = encode() })
	return s.value
}

// The kinds of Event and, after the arrow, the type of their Data.
const (
	QueueSnapshotKind      = "queue:snapshot"      // → *Window
	QueueUpdateKind        = "queue:update"        // → *QueueUpdate
	CallNotifyKind         = "call:notify"         // → *CallNotify, to the callee
	CallDeclinedKind       = "call:declined"       // → *InviteOutcome, to both
	CallRescindedKind      = "call:rescinded"      // → *InviteOutcome, to both
	CallExpiredKind        = "call:expired"        // → *InviteOutcome, to both
	CallWaitExtendedKind   = "call:wait-extended"  // → *InviteOutcome, to both
	CallStartKind          = "call:start"          // → *CallStart, to each socket of both by itself
	ChatKind               = "room:chat"           // → *ChatLine, to the call's sockets
	SocialSharedKind       = "room:socialShared"   // → *SocialShared, to the call's sockets
	PeerAwayKind           = "peer:away"           // → *PeerState, to the other's socket in the call
	PeerBackKind           = "peer:back"           // → *PeerState
	PeerDisconnectedKind   = "peer:disconnected"   // → *PeerState
	SessionFinalizedKind   = "session:finalized"   // → *Finalized, to every socket of both
	MetricsUpdateKind      = "metrics:update"      // → *Metrics
	AccountReviewKind      = "account:review"      // → *Review: close this user's sockets with 4003
	SessionInvalidatedKind = "session:invalidated" // → *Invalidated: close this socket with 4002

	// Not for browsers:
	RelayedKind = "-rtc"    // → *Relayed: signaling of a partner on another node
	MissedKind  = "-missed" // → *Missed: close this user's sockets, they have to begin anew
)

// Card is what others see of a person.
type Card struct {
	UserID        UserID     `json:"userId" delta:"key"`
	Name          string     `json:"name"`
	Gender        string     `json:"gender"`
	SelfieURL     string     `json:"selfieUrl" delta:"prefix=/media/"`  // empty: no picture
	CooldownUntil *time.Time `json:"cooldownUntil,omitempty" delta:"-"` // for this viewer
	IntroducedBy  string     `json:"introducedBy,omitempty" delta:"-"`  // name of who brought these two together
}

// Marked reports whether there is something on the card for its viewer alone.
func (c *Card) Marked() bool { return c.CooldownUntil != nil || c.IntroducedBy != "" }

// Window is a viewer's part of the queue.
type Window struct {
	Cards  []Card `json:"cards"`
	Total  int    `json:"total"`            // people in the queue, the viewer not counted
	Cursor string `json:"cursor,omitempty"` // of the next window; empty at the end

	// Version changes whenever the window may have, and names its viewer: an
	// ETag. Not on the wire.
	Version string `json:"-"`
}

// QueueUpdate is what changed in a viewer's window since the last one.
type QueueUpdate struct {
	Added   []Card   `json:"added"` // new or changed cards
	Removed []UserID `json:"removed"`
	Total   int      `json:"total"`
	Cursor  string   `json:"cursor,omitempty"` // of the next window, as it is now; empty at the end
}

// Apply gives the cards of a window after u. It copies.
func (u *QueueUpdate) Apply(cards []Card) []Card {
	out := make([]Card, 0, len(cards)+len(u.Added))
	for _, c := range cards {
		if !slices.Contains(u.Removed, c.UserID) {
			out = append(out, c)
		}
	}
	for _, c := range u.Added {
		if i := slices.IndexFunc(out, func(o Card) bool { return o.UserID == c.UserID }); i >= 0 {
			out[i] = c
		} else {
			out = append(out, c)
		}
	}
	return out
}

// CallNotify tells a callee of an invite.
type CallNotify struct {
	InviteID         string    `json:"inviteId"`
	FromUser         Card      `json:"fromUser"`
	RequestedSeconds int       `json:"requestedSeconds"`
	ExpiresAt        time.Time `json:"expiresAt"`
}

// InviteOutcome tells what became of an invite. Reason is declined, busy,
// rescinded, vanished, expired, offline, restart or extended.
type InviteOutcome struct {
	InviteID  string     `json:"inviteId"`
	Reason    string     `json:"reason"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"` // call:wait-extended
}

// InviteView is an open invite as one of its two sees it: the answer to
// call:invite, and hello's invite.
type InviteView struct {
	InviteID         string    `json:"inviteId"`
	FromUser         *Card     `json:"fromUser,omitempty"` // for the callee
	ToUser           *Card     `json:"toUser,omitempty"`   // for the caller
	Outgoing         bool      `json:"outgoing,omitempty"` // this is the caller's
	RequestedSeconds int       `json:"requestedSeconds"`
	ExpiresAt        time.Time `json:"expiresAt"`
	ExtensionsLeft   int       `json:"extensionsLeft"`
}

// CallStart tells a member that the call has begun. It comes to each socket by
// itself. Members of the signaling room are Event.To and Peer.UserID; the
// initiator is the one with IsInitiator.
type CallStart struct {
	RoomID        string    `json:"roomId"`
	AgreedSeconds int       `json:"agreedSeconds"`
	StartedAt     time.Time `json:"startedAt"`
	EndsAt        time.Time `json:"endsAt"`
	IsInitiator   bool      `json:"isInitiator"`
	Here          bool      `json:"here"` // this socket takes part
	Peer          Card      `json:"peer"`

	// Socket is the one that takes part. It travels between nodes and is empty
	// when an event is delivered.
	Socket string `json:"socket,omitempty"`
}

// ChatLine is one line of a call's chat.
type ChatLine struct {
	RoomID string    `json:"roomId,omitempty"`
	From   UserID    `json:"from"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// SocialShared tells both that one has shared handles.
type SocialShared struct {
	RoomID  string    `json:"roomId,omitempty"`
	From    UserID    `json:"from"`
	Socials Socials   `json:"socials"`
	At      time.Time `json:"at"`
}

// PeerState is the data of peer:away, peer:back and peer:disconnected.
// Restart asks both for a fresh connection, the initiator to offer.
type PeerState struct {
	RoomID  string `json:"roomId"`
	Restart bool   `json:"restart,omitempty"`
}

// Finalized tells that a call is over. Reason is ended, time, disconnected,
// review or restart.
type Finalized struct {
	RoomID          string `json:"roomId"`
	DurationSeconds int    `json:"durationSeconds"`
	Reason          string `json:"reason"`
}

// Review is the data of account:review.
type Review struct {
	Reason string `json:"reason"`
}

// Relayed is what the relay of another node has for a member here. It does not
// leave the servers.
type Relayed struct {
	RoomID string
	Signal json.RawMessage
}

// Missed says that messages for this node were lost on the bus.
type Missed struct{}

// Invalidated is the data of session:invalidated: login, logout or expired.
type Invalidated struct {
	Reason string `json:"reason"`
}

// CallView is a call as one of its two sees it on coming back: hello's call,
// and the answer to call:resume.
type CallView struct {
	CallStart
	Chat    []ChatLine     `json:"chat"` // the last that fit into 16 KiB
	Socials []SocialShared `json:"socials,omitempty"`
}
