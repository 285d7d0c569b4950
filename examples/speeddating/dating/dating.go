// Package dating holds the rules of the speed-dating platform: who may meet
// whom, when, and for how long. It knows no HTTP, no SQL and no Redis. What it
// needs of the world it takes as two interfaces, Store (what must last) and
// Bus (what must reach the other nodes), and what it has to tell it hands to
// Options.Deliver as events that are the platform's wire.
//
// Read in this order: this file, platform.go (one Platform is one node),
// socket.go (a person comes and goes), queue.go, invite.go, answer.go, call.go,
// chat.go, end.go; then outbox.go and cluster.go for how an event finds its person on
// any node.
//
// # Memory
//
// Every map is bounded: people and sockets by Options.MaxSockets, invites and
// calls by one a person, chat by Rules.ChatKept a call, users, sessions and
// relations by lru caches. Chat and people are on Options.Account.
//
// # Concurrency
//
// Every method may be called by any goroutine. One mutex guards the maps; it
// is never held across the store, the bus or Deliver. A node's timers are one
// time.AfterFunc for an open invite and one for a call. Run owns everything
// else that goes on by itself, and Shutdown ends all of it.
//
// # Errors
//
// Every refusal is an *Error with a Code. A fault of store or bus is
// Unavailable and wraps its cause.
package dating

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"
)

// UserID names a person. It is random and says nothing.
type UserID string

// TokenHash is the SHA-256 of a session token: the token itself is only with
// its owner.
type TokenHash [sha256.Size]byte

// Standing is whether a person may take part.
type Standing int

// What a person's standing may be.
const (
	Good     Standing = iota
	InReview          // reported by Rules.Reporters people; an admin has not decided
	Out               // an admin decided against
)

// Socials are handles by network, such as {"instagram": "ada"}.
type Socials map[string]string

// User is what the store and the cache keep of a person.
type User struct {
	ID          UserID
	Name        string
	Gender      string // female, male, nonbinary, unspecified
	SelfieID    string // empty: no picture
	Socials     Socials
	Email       string // empty: a guest
	Standing    Standing
	TalkSeconds int64
	Calls       int64
	CreatedAt   time.Time
}

// Session is a logged-in browser.
type Session struct {
	Hash      TokenHash
	User      UserID
	ExpiresAt time.Time
}

// Media is a picture.
type Media struct {
	ID    string
	Type  string
	Bytes []byte
}

// Introduction says that By (a name) brought User and Other together.
type Introduction struct {
	User, Other UserID
	By          string
}

// Intro is a link that introduces a newcomer to a person.
type Intro struct {
	Code      string
	By        UserID // who made it
	To        UserID // whom the newcomer shall meet
	ExpiresAt time.Time
}

// Relations are what one person's view of the others depends on.
type Relations struct {
	Cooldowns  map[UserID]time.Time // until when
	Reported   []UserID             // by this person
	Introduced map[UserID]string    // the name of who did
}

// Call is a call in progress as the store keeps it.
type Call struct {
	RoomID        string
	Node          string // its owner
	Incarnation   string // of the owner
	Members       [2]UserID
	AgreedSeconds int
	StartedAt     time.Time
	EndsAt        time.Time
}

// EndedCall is all that the end of a call writes, in one transaction.
type EndedCall struct {
	Call
	EndedAt  time.Time
	Reason   string
	Counts   bool      // long enough for histories, metrics and cooldown
	Cooldown time.Time // until when, if Counts
	Chat     []ChatLine
	Socials  []SocialShared
}

// HistoryEntry is one side's record of one call.
type HistoryEntry struct {
	RoomID          string         `json:"roomId"`
	WithUserID      UserID         `json:"withUserId"`
	WithName        string         `json:"withName"`
	StartedAt       time.Time      `json:"startedAt"`
	EndedAt         time.Time      `json:"endedAt"`
	DurationSeconds int            `json:"durationSeconds"`
	Reason          string         `json:"reason"`
	Chat            []ChatLine     `json:"chat"`
	Socials         []SocialShared `json:"socials"`
}

// HistoryKey is a place in a history: everything older than it.
type HistoryKey struct {
	EndedAt time.Time
	RoomID  string
}

// Totals are a person's metrics as the store counts them.
type Totals struct{ TalkSeconds, Calls int64 }

// ReviewCase is a person under review, for an admin.
type ReviewCase struct {
	User    User     `json:"-"`
	UserID  UserID   `json:"userId"`
	Name    string   `json:"name"`
	Reports []Report `json:"reports"`
}

// Report is what one person says about another.
type Report struct {
	By     UserID    `json:"by"`
	About  UserID    `json:"about"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Pending is what was said in a running call and is on its way to the store:
// a line of chat, or handles.
type Pending struct {
	RoomID  string
	Seq     int
	Chat    *ChatLine     `json:",omitempty"`
	Socials *SocialShared `json:",omitempty"`
}

// What a Store answers besides its own faults.
var (
	ErrNotFound  = errors.New("dating: not in the store")
	ErrConflict  = errors.New("dating: already in the store")
	ErrBusy      = errors.New("dating: a member is in a call")
	ErrNotTalked = errors.New("dating: never talked with")
)

// Store keeps what must outlive the process. Each method is one transaction;
// when it returns nil, what it wrote survives kill -9. Package storetest holds
// the suite that every implementation passes.
type Store interface {
	// Ping reports within about a second whether the database can be read and
	// written; it may be asked often.
	Ping(ctx context.Context) error

	// CreateGuest adds a person, their session and who introduced them.
	CreateGuest(ctx context.Context, u User, s Session, intros []Introduction) error
	// Users gives those of ids that exist, in one query.
	Users(ctx context.Context, ids []UserID) (map[UserID]User, error)
	UpdateProfile(ctx context.Context, id UserID, name, gender string, socials Socials) error
	// SetSelfie stores m as the picture of id and forgets the one before.
	SetSelfie(ctx context.Context, id UserID, m Media) error
	Media(ctx context.Context, id string) (Media, error)

	// LinkAccount gives s.User an e-mail address and a password, and puts s in the
	// place of the session old. ErrConflict: the address is taken, or the user
	// has one. ErrNotFound: old has ended.
	LinkAccount(ctx context.Context, old TokenHash, s Session, email string, password []byte) error
	Credentials(ctx context.Context, email string) (id UserID, password []byte, err error)

	Session(ctx context.Context, hash TokenHash) (Session, error)
	// ReplaceSessions ends every session of s.User, adds s, and gives the ended.
	ReplaceSessions(ctx context.Context, s Session) (ended []TokenHash, err error)
	EndSession(ctx context.Context, hash TokenHash) error

	// Relations gives what is in force at now, in one query; at most limit
	// cooldowns, the longest.
	Relations(ctx context.Context, id UserID, now time.Time, limit int) (Relations, error)
	// SetCooldown keeps a and b apart until then, or longer if they are already.
	SetCooldown(ctx context.Context, a, b UserID, until time.Time) error

	// AddIntro adds a link unless by has keep open ones (ErrConflict).
	AddIntro(ctx context.Context, in Intro, now time.Time, keep int) error
	Intro(ctx context.Context, code string, now time.Time) (Intro, error)

	// AddReport records r and gives the number of reporters; with threshold of
	// them it puts r.About in review. ErrNotTalked unless the two have a call in
	// their histories or one in progress that had lasted for talked at r.At;
	// ErrConflict for the second of a pair.
	AddReport(ctx context.Context, r Report, talked time.Duration, threshold int) (reporters int, standing Standing, err error)
	UnderReview(ctx context.Context, limit int) ([]ReviewCase, error)
	// Decide sets the standing; Good also settles the reports so far.
	Decide(ctx context.Context, id UserID, s Standing) error

	// StartCall makes the call durable. ErrBusy when a member is in one: the
	// store's constraint holds that, also among several servers.
	StartCall(ctx context.Context, c Call) error
	// AddChat keeps what was said in running calls: of each the last keep lines
	// of chat and each side's last handles, whatever came before. What belongs
	// to a call that has ended is dropped, and what it holds already is not
	// doubled.
	AddChat(ctx context.Context, said []Pending, keep int) error
	// Said gives of a running call the last keep lines of chat and each side's
	// last handles, oldest first.
	Said(ctx context.Context, roomID string, keep int) ([]ChatLine, []SocialShared, error)
	// EndCall removes the call and, if it counts, writes both histories, both
	// totals and the cooldown. ErrNotFound: it has ended before.
	EndCall(ctx context.Context, c EndedCall) (map[UserID]Totals, error)

	// Beat says that this incarnation of node lives until then.
	Beat(ctx context.Context, node, incarnation string, now, until time.Time) error
	// Orphans gives the calls nobody owns: of other incarnations of node, and
	// of nodes whose lease is over; with the last beat of their owner.
	Orphans(ctx context.Context, node, incarnation string, now time.Time, limit int) ([]Orphan, error)

	// History gives up to limit entries older than before (zero: from the
	// newest), live and archived alike. The page ends before chat and handles
	// are more than maxBytes, but has one entry if there is one; more reports
	// whether others follow. Nothing that is not given is read.
	History(ctx context.Context, id UserID, before HistoryKey, limit, maxBytes int) (page []HistoryEntry, more bool, err error)
	// Recent gives the newest up to limit without chat and handles, which it
	// does not read.
	Recent(ctx context.Context, id UserID, limit int) ([]HistoryEntry, error)

	// The sweeps: each removes at most limit rows and says how many.
	SweepSessions(ctx context.Context, now time.Time, limit int) (int, error)
	SweepCooldowns(ctx context.Context, now time.Time, limit int) (int, error)
	SweepIntros(ctx context.Context, now time.Time, limit int) (int, error)
	// SweepNodes forgets nodes that died before then and own no call.
	SweepNodes(ctx context.Context, before time.Time, limit int) (int, error)
	// SweepGuests deletes guests that signed up before then and can never
	// return: without an e-mail address or a session. Kept is who has a
	// history, a call, a link in force, or a report by or about them that is
	// not settled.
	SweepGuests(ctx context.Context, before time.Time, limit int) (int, error)
	// ArchiveHistory moves what ended before then to the archive, in one
	// transaction.
	ArchiveHistory(ctx context.Context, before time.Time, limit int) (int, error)

	Stats() StoreStats
}

// Orphan is a call whose owner is gone.
type Orphan struct {
	Call
	LastBeat time.Time // zero: the owner never said that it lives
}

// StoreStats are the figures of a Store.
type StoreStats struct {
	Statements   uint64  `json:"statements"`   // since the start, without BEGIN and COMMIT
	PerMinute    float64 `json:"perMinute"`    // over the last minute
	Transactions uint64  `json:"transactions"` // commits of the writer
	Waits        uint64  `json:"waits"`        // requests that waited for a connection
	WaitSeconds  float64 `json:"waitSeconds"`  // how long, all together
	Conns        int     `json:"conns"`        // connections that are open
	MaxConns     int     `json:"maxConns"`     // that may be
	Retries      uint64  `json:"retries"`      // of what the database undid for others' sake, or never got
	Refused      uint64  `json:"refused"`      // for a full queue or a wait too long
	Errors       uint64  `json:"errors"`       // faults of the database
}

// Handler is what a node does with what the bus brings. Both are called one at a
// time for a given sender, in its order, and must not wait.
type Handler struct {
	// Message takes what another node published, to all or to a person.
	Message func(from string, payload []byte)
	// Request answers a command of another node; it may wait.
	Request func(ctx context.Context, from string, payload []byte) ([]byte, error)
	// Left tells that a node has left or died. What it published is here, or
	// will never be.
	Left func(node string)
	// Missed tells that messages of a node, or of any if it is empty, were lost:
	// so much waited that the bus threw it away.
	Missed func(from string)
}

// ErrNoNode is what Request returns when the node is not on the bus.
var ErrNoNode = errors.New("dating: no such node on the bus")

// Bus connects the nodes of one platform. Package bustest holds the suite that
// every implementation passes. Publish and Broadcast hand over and do not wait;
// what cannot be handed over is counted in Stats.
type Bus interface {
	// Join puts node on the bus until leave is called.
	Join(ctx context.Context, node string, h Handler) (leave func(), err error)

	// Subscribe makes node hear what is published to id; it returns when that is in
	// force.
	Subscribe(ctx context.Context, node string, id UserID) error
	Unsubscribe(node string, id UserID)
	// Publish reaches every other node that has subscribed to id.
	Publish(from string, id UserID, payload []byte)
	// Broadcast reaches every other node.
	Broadcast(from string, payload []byte)
	// Peers gives the names of the other nodes.
	Peers(node string) []string
	// Ping reports at once whether the bus carries anything now.
	Ping(ctx context.Context) error
	// Request has a command carried out by one node. ErrNoNode if it is not
	// there. Those of one sender with the same key are carried out one after the
	// other, in order, also when nobody waits for the answer any more.
	Request(ctx context.Context, from, node, key string, payload []byte) ([]byte, error)

	// Claim takes all keys for owner until ttl is over, or none: it is false if
	// another owner holds one of them. What owner itself holds is prolonged.
	Claim(ctx context.Context, owner string, ttl time.Duration, keys ...string) (bool, error)
	// Release gives back those of keys that owner holds.
	Release(ctx context.Context, owner string, keys ...string) error
	// Holder gives who holds key, empty if nobody.
	Holder(ctx context.Context, key string) (string, error)

	Stats() BusStats
}

// BusStats are the figures of a Bus.
type BusStats struct {
	Nodes     int    `json:"nodes"`
	Published uint64 `json:"published"` // messages handed over
	Delivered uint64 `json:"delivered"` // messages that reached a node
	Requests  uint64 `json:"requests"`
	Claims    int    `json:"claims"` // keys held now
	Dropped   uint64 `json:"dropped"`

	// Between processes:
	Away    bool   `json:"away"`    // the bus does not answer now
	Waiting int    `json:"waiting"` // what other nodes have not acknowledged
	Letters uint64 `json:"letters"` // written, each with one or more messages
	Bytes   uint64 `json:"bytes"`   // in these
	Doubled uint64 `json:"doubled"` // sent again without need, and ignored
	Gaps    uint64 `json:"gaps"`    // messages were missed, and those concerned were told
	Deaths  uint64 `json:"deaths"`  // of other nodes, and their leaving
	Lives   uint64 `json:"lives"`   // times that the bus lost its data
}
