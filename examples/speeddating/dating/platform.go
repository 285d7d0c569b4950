package dating

import (
	"context"
	"log/slog"
	"time"
)

// Account is asked for memory before it is used. A *memmgr.Account is one.
type Account interface {
	Reserve(bytes int64) error // an error at once, never waits
	Release(bytes int64)
}

// Options are what a Platform is made of.
type Options struct {
	Rules Rules
	// Store keeps what must last. Required.
	Store Store
	// Bus connects the nodes. Required; bus.NewMemory for one process.
	Bus Bus
	// Presence knows who is here, and holds the queue. Required. The Platform
	// uses it and does not shut it down.
	// Presence *presence.Tracker (as soon as that package is there)
	// Deliver takes every event for a person with a socket on this node, in the
	// order of what happened. Required. It is called with no lock held and must
	// not wait.
	Deliver func(Event)
	// Node names this node among those on the bus; letters and digits. Default "n1".
	Node string

	// MaxSockets bounds the sockets of this node. Required, > 0.
	MaxSockets int
	// MaxUsers, MaxSessions and MaxRelations bound the caches. Default:
	// 2 x MaxSockets each.
	MaxUsers, MaxSessions, MaxRelations int
	// MediaBytes bounds the cache of pictures. Default 4 MiB.
	MediaBytes int64
	// Hashers bounds how many passwords are hashed at once. Default 2.
	Hashers int

	// Accounts for the caches and for people, chat and the rest; nil: only the bounds above.
	CacheAccount, Account Account
	// Logger, nil means silent.
	Logger *slog.Logger
}

// Platform is one node of the platform: the rules, on a Store and a Bus.
type Platform struct{ _ int }

// New builds a node. It reads nothing yet: Run does.
func New(o Options) (*Platform, error) { panic("soon") }

// Run joins the bus, finishes the calls that an earlier incarnation of this node left
// open, and then writes chat, says that the node lives and finishes the calls of dead nodes,
// until ctx ends or Shutdown is called. It blocks. Ready turns true once the calls left open are finished.
func (p *Platform) Run(ctx context.Context) error { panic("soon") }

// Ready reports why this node should get no new people: nil when it should.
func (p *Platform) Ready(ctx context.Context) error { panic("soon") }

// Drain refuses new people, invites and calls with Draining; calls go on.
func (p *Platform) Drain(ctx context.Context) { panic("soon") }

// Shutdown drains, ends every invite and call of this node (reason shutdown, histories
// written) and ends Run. When it returns no goroutine or timer of p is left.
func (p *Platform) Shutdown(ctx context.Context) error { panic("soon") }

// Newcomer is what a guest gives.
type Newcomer struct {
	Name, Gender, IntroCode string
}

// Credential is a new session: the only place that holds its token.
type Credential struct {
	UserID    UserID    `json:"userId"`
	Token     string    `json:"sessionToken"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// SignUp makes a guest. Invalid: name or gender; NotFound: the introduction.
func (p *Platform) SignUp(ctx context.Context, n Newcomer) (Credential, error) { panic("soon") }

// Link makes the guest of s an account. The credential takes the place of s,
// whose sockets stay open. Invalid, Conflict, TooMany.
func (p *Platform) Link(ctx context.Context, s Session, email, password string) (Credential, error) {
	panic("soon")
}

// Login starts a session and ends the account's older ones; their sockets get
// session:invalidated. Unauthenticated, TooMany.
func (p *Platform) Login(ctx context.Context, email, password string) (Credential, error) {
	panic("soon")
}

// Logout ends s; its sockets get session:invalidated.
func (p *Platform) Logout(ctx context.Context, s Session) error { panic("soon") }

// Authenticate gives the session of a token. Unauthenticated if there is none or it is over.
func (p *Platform) Authenticate(ctx context.Context, token string) (Session, error) { panic("soon") }

// Metrics are a person's talk so far.
type Metrics struct {
	TalkSeconds int64          `json:"talkSeconds"`
	Calls       int64          `json:"calls"`
	Recent      []HistoryEntry `json:"recent,omitempty"` // the last 10, without chat; not in metrics:update
}

// Profile is a person as they see themselves.
type Profile struct {
	UserID      UserID    `json:"userId"`
	Name        string    `json:"name"`
	Gender      string    `json:"gender"`
	SelfieURL   string    `json:"selfieUrl,omitempty"`
	Socials     Socials   `json:"socials"`
	Email       string    `json:"email,omitempty"`
	UnderReview bool      `json:"underReview"`
	CreatedAt   time.Time `json:"createdAt"`
	Metrics     Metrics   `json:"metrics"`
}

// ProfileChange is what PUT /user/me changes; nil leaves a field as it is.
type ProfileChange struct {
	Name    *string
	Gender  *string
	Socials *Socials
}

// Profile gives the profile with metrics.
func (p *Platform) Profile(ctx context.Context, id UserID) (Profile, error) { panic("soon") }

// UpdateProfile changes it; who looks at the queue sees it. Invalid.
func (p *Platform) UpdateProfile(ctx context.Context, id UserID, c ProfileChange) (Profile, error) {
	panic("soon")
}

// SetSelfie stores a picture that the caller has decoded and re-encoded, and gives its
// URL (/media/ID). Invalid: too large.
func (p *Platform) SetSelfie(ctx context.Context, id UserID, b []byte, contentType string) (url string, err error) {
	panic("soon")
}

// Selfie gives a picture. NotFound. The bytes are shared: do not change them.
func (p *Platform) Selfie(ctx context.Context, mediaID string) (Media, error) { panic("soon") }

// IntroView is what an introduction link leads to.
type IntroView struct {
	Code      string    `json:"code"`
	By        Card      `json:"by"`
	To        Card      `json:"to"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// CreateIntro makes a link that introduces a newcomer to a person; to empty means to
// oneself. UserNotFound, TooMany.
func (p *Platform) CreateIntro(ctx context.Context, by, to UserID) (IntroView, error) { panic("soon") }

// Intro tells what a link leads to. NotFound.
func (p *Platform) Intro(ctx context.Context, code string) (IntroView, error) { panic("soon") }

// Report says something about a person one has talked with. Invalid, InvalidTarget, UserNotFound,
// Forbidden (never talked), Conflict (reported before).
func (p *Platform) Report(ctx context.Context, by, about UserID, reason string) error { panic("soon") }

// UnderReview lists up to 100 people who wait for a decision, for an admin.
func (p *Platform) UnderReview(ctx context.Context) ([]ReviewCase, error) { panic("soon") }

// Decide puts a person back in Good standing or Out, for an admin. Invalid, UserNotFound.
func (p *Platform) Decide(ctx context.Context, about UserID, s Standing) error { panic("soon") }

// HistoryView is a page of a history.
type HistoryView struct {
	Calls  []HistoryEntry `json:"calls"`
	Cursor string         `json:"cursor,omitempty"` // empty at the end
}

// History gives a page, newest first, live and archived alike. Invalid: the cursor.
func (p *Platform) History(ctx context.Context, id UserID, cursor string) (HistoryView, error) {
	panic("soon")
}

// SocketOpened says that id has a (new) tab here. Call it before any other
// method with that socket. UnderReview, Banned, Draining, Overloaded.
func (p *Platform) SocketOpened(ctx context.Context, id UserID, socket string, s Session) error {
	panic("soon")
}

// SocketAway says that the socket was cut and may come back.
func (p *Platform) SocketAway(socket string) { panic("soon") }

// SocketBack says that it did: nothing was missed.
func (p *Platform) SocketBack(socket string) { panic("soon") }

// SocketClosed says that the socket is gone for good: at once after a clean
// close, after the grace otherwise.
func (p *Platform) SocketClosed(socket string, clean bool) { panic("soon") }

// JoinQueue makes id free and lets socket watch the queue from its beginning:
// queue:snapshot follows, then queue:update. Busy: in a call.
func (p *Platform) JoinQueue(ctx context.Context, id UserID, socket string) error { panic("soon") }

// LeaveQueue makes id not free and ends the watch of all its sockets.
func (p *Platform) LeaveQueue(ctx context.Context, id UserID, socket string) error { panic("soon") }

// WatchQueue moves the window of socket to the cursor: queue:snapshot follows, then
// queue:update of that window. One window a socket.
func (p *Platform) WatchQueue(ctx context.Context, id UserID, socket, cursor string) error {
	panic("soon")
}

// QueueWindow gives a window once. It costs no statement when warm.
func (p *Platform) QueueWindow(ctx context.Context, id UserID, cursor string) (*Window, error) {
	panic("soon")
}

// Invite asks to for a call of so many seconds. Refusals, in this order: InvalidTarget,
// UserNotFound, InvalidDuration, Busy, Offline, Cooldown. The callee gets call:notify.
func (p *Platform) Invite(ctx context.Context, from UserID, socket string, to UserID, seconds int) (InviteView, error) {
	panic("soon")
}

// Accept begins the call on this socket: call:start to every socket of both.
// NotFound, Forbidden (not the callee), InvalidDuration, Busy.
func (p *Platform) Accept(ctx context.Context, id UserID, socket, inviteID string, seconds int) (CallStart, error) {
	panic("soon")
}

// Decline refuses an invite: call:declined. NotFound, Forbidden (not the callee).
func (p *Platform) Decline(ctx context.Context, id UserID, inviteID string) error { panic("soon") }

// ExtendWait gives the callee longer: call:wait-extended. NotFound, Forbidden (not the caller), TooMany.
func (p *Platform) ExtendWait(ctx context.Context, id UserID, inviteID string) (InviteView, error) {
	panic("soon")
}

// Rescind takes an invite back: call:rescinded. NotFound, Forbidden (not the caller).
func (p *Platform) Rescind(ctx context.Context, id UserID, inviteID string) error { panic("soon") }

// Current gives what a person who connects is in the middle of, for hello: nil, nil when nothing.
func (p *Platform) Current(ctx context.Context, id UserID) (*CallView, *InviteView, error) {
	panic("soon")
}

// Resume makes socket the one of its user in the call; the other gets peer:back with
// restart. NotFound, Forbidden.
func (p *Platform) Resume(ctx context.Context, id UserID, socket, roomID string) (CallView, error) {
	panic("soon")
}

// Chat relays a line to both and keeps it. Invalid, NotFound, Forbidden, TooMany.
func (p *Platform) Chat(ctx context.Context, id UserID, roomID, text string) error { panic("soon") }

// GiveSocial relays handles to both and keeps them. Invalid, NotFound, Forbidden.
func (p *Platform) GiveSocial(ctx context.Context, id UserID, roomID string, s Socials) error {
	panic("soon")
}

// EndCall ends the call: session:finalized to both. NotFound, Forbidden.
func (p *Platform) EndCall(ctx context.Context, id UserID, roomID string) error { panic("soon") }

// Live are the public figures of the whole platform.
type Live struct {
	OnlineUsers    int `json:"onlineUsers"`
	AvailableUsers int `json:"availableUsers"`
	ActiveCalls    int `json:"activeCalls"`
}

// LiveStats gives them, from memory.
func (p *Platform) LiveStats() Live { panic("soon") }

// Sweep is a periodic job; give it to memmgr.
type Sweep struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) (SweepResult, error)
}

// SweepResult is what one run did.
type SweepResult struct{ Archived, Deleted int }

// Sweeps gives the jobs: sessions, cooldowns, invites, intros, presence, history.
func (p *Platform) Sweeps() []Sweep { panic("soon") }

// Trim gives back this fraction of the caches, for memory pressure.
func (p *Platform) Trim(fraction float64) (freed int64) { panic("soon") }

// Stats are the figures of a node, for /health.
type Stats struct {
	Live  Live       `json:"live"`
	Store StoreStats `json:"store"`
	Bus   BusStats   `json:"bus"`
}

// Stats gives them.
func (p *Platform) Stats() Stats { panic("soon") }
