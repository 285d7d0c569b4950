package dating

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/plimsoll-go/plimsoll/lru"
)

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
func (p *Platform) SignUp(ctx context.Context, n Newcomer) (Credential, error) {
	p.mu.Lock()
	err := p.admitLocked()
	p.mu.Unlock()
	if err != nil {
		return Credential{}, err
	}
	u := &User{ID: UserID(randomID(16)), Gender: n.Gender, Socials: Socials{}, CreatedAt: now()}
	if u.Name, err = p.checkName(n.Name); err != nil {
		return Credential{}, err
	}
	if err := checkGender(n.Gender); err != nil {
		return Credential{}, err
	}
	var intros []Introduction
	if n.IntroCode != "" {
		in, err := p.introduction(ctx, n.IntroCode, u.ID)
		if err != nil {
			return Credential{}, err
		}
		intros = append(intros, in)
	}
	c, s := newSession(u.ID, p.rules.GuestFor)
	if err := p.store.CreateGuest(ctx, *u, s, intros); err != nil {
		return Credential{}, unavailable("the database does not answer", err)
	}
	p.users.Set(u.ID, u)
	p.watch(CacheUse{Cache: "users", Key: string(u.ID), Fill: true})
	p.sessions.Set(s.Hash, s)
	p.watch(CacheUse{Cache: "sessions", Key: string(s.Hash[:]), Fill: true})
	if len(intros) == 0 {
		p.relations.Set(u.ID, p.newRelations(Relations{})) // a stranger to all
	}
	for _, in := range intros {
		p.relateAll(relation{A: in.User, B: in.Other, By: in.By})
	}
	return c, nil
}

// Link makes the guest of s an account. The credential takes the place of s,
// whose sockets stay open. Invalid, Conflict, TooMany.
func (p *Platform) Link(ctx context.Context, s Session, email, password string) (Credential, error) {
	email, err := checkEmail(email)
	if err != nil {
		return Credential{}, err
	}
	// bcrypt takes no more than 72 bytes and would ignore the rest.
	if utf8.RuneCountInString(password) < p.rules.MinPassword || len(password) > 72 {
		return Credential{}, refuse(Invalid, "a password has at least 8 characters and at most 72 bytes")
	}
	var hash []byte
	err = p.hashers.run(ctx, func() (err error) {
		hash, err = bcrypt.GenerateFromPassword([]byte(password), p.rules.PasswordCost)
		return err
	})
	if err != nil {
		return Credential{}, err
	}
	c, fresh := newSession(s.User, p.rules.AccountFor)
	switch err := p.store.LinkAccount(ctx, s.Hash, fresh, email, hash); {
	case errors.Is(err, ErrConflict):
		return Credential{}, refuse(Conflict, "this address is taken, or you have an account already")
	case errors.Is(err, ErrNotFound):
		return Credential{}, refuse(Unauthenticated, "the session is over")
	case err != nil:
		p.sessions.Delete(s.Hash) // it may have been written all the same
		return Credential{}, unavailable("the database does not answer", err)
	}
	p.forget(s.User)
	p.endEverywhere(endedSessions{User: s.User, Hashes: []TokenHash{s.Hash}, Now: &fresh})
	// A login meanwhile has ended the fresh session when no socket was in it yet.
	if _, err := p.sessionOf(ctx, fresh.Hash); CodeOf(err) == Unauthenticated {
		p.endEverywhere(endedSessions{User: s.User, Hashes: []TokenHash{fresh.Hash}, Reason: "login"})
	}
	return c, nil
}

// Login starts a session and ends the account's older ones; their sockets get
// session:invalidated. Unauthenticated, TooMany.
func (p *Platform) Login(ctx context.Context, email, password string) (Credential, error) {
	wrong := refuse(Unauthenticated, "no account has this address and password")
	address, err := checkEmail(email)
	if err != nil || len(password) > 72 {
		return Credential{}, wrong
	}
	id, hash, err := p.store.Credentials(ctx, address)
	known := err == nil
	if errors.Is(err, ErrNotFound) {
		hash, err = p.nobody, nil // so that both take as long
	}
	if err != nil {
		return Credential{}, unavailable("the database does not answer", err)
	}
	err = p.hashers.run(ctx, func() error {
		if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !known {
			return wrong
		}
		return nil
	})
	if err != nil {
		return Credential{}, err
	}
	c, s := newSession(id, p.rules.AccountFor)
	ended, err := p.store.ReplaceSessions(ctx, s)
	if err != nil {
		return Credential{}, unavailable("the database does not answer", err)
	}
	// s does not go into the cache here: a login after this one may have ended it.
	p.endEverywhere(endedSessions{User: id, Hashes: ended, Reason: "login"})
	return c, nil
}

// Logout ends s; its sockets get session:invalidated.
func (p *Platform) Logout(ctx context.Context, s Session) error {
	if err := p.store.EndSession(ctx, s.Hash); err != nil {
		p.sessions.Delete(s.Hash) // it may have been written all the same
		return unavailable("the database does not answer", err)
	}
	p.endEverywhere(endedSessions{User: s.User, Hashes: []TokenHash{s.Hash}, Reason: "logout"})
	return nil
}

// Authenticate gives the session of a token. Unauthenticated if there is none
// or it is over.
func (p *Platform) Authenticate(ctx context.Context, token string) (Session, error) {
	if token == "" || len(token) > 128 {
		return Session{}, refuse(Unauthenticated, "no session")
	}
	return p.sessionOf(ctx, sha256.Sum256([]byte(token)))
}

func (p *Platform) sessionOf(ctx context.Context, hash TokenHash) (Session, error) {
	p.watch(CacheUse{Cache: "sessions", Key: string(hash[:])})
	s, err := p.sessions.GetOrLoad(ctx, hash, func(ctx context.Context, hash TokenHash) (Session, error) {
		s, err := p.store.Session(ctx, hash)
		if errors.Is(err, ErrNotFound) {
			err = lru.ErrNotFound
		}
		return s, err
	})
	if errors.Is(err, lru.ErrNotFound) || err == nil && !s.ExpiresAt.After(time.Now()) {
		return Session{}, refuse(Unauthenticated, "the session is over")
	}
	return s, unavailable("the database does not answer", err)
}

// endedSessions tells the nodes that sessions are over. With Now their sockets
// stay, in that session.
type endedSessions struct {
	User   UserID
	Hashes []TokenHash
	Reason string
	Now    *Session
}

func (p *Platform) endEverywhere(e endedSessions) {
	p.endSessions(e)
	p.broadcast(message{Sessions: &e})
}

// endSessions does so on this node: from here on the tokens are refused.
func (p *Platform) endSessions(e endedSessions) {
	var events []Event
	p.mu.Lock()
	for _, h := range e.Hashes {
		p.sessions.Delete(h)
		who := p.people[e.User]
		if who == nil {
			continue
		}
		for _, s := range who.sockets {
			switch {
			case s.session != h:
			case e.Now != nil:
				s.session, s.expires = e.Now.Hash, e.Now.ExpiresAt
			default:
				events = append(events, Event{To: who.id, Socket: s.id, Kind: SessionInvalidatedKind, Data: &Invalidated{Reason: e.Reason}})
			}
		}
	}
	p.mu.Unlock()
	for _, e := range events {
		p.stats.events.Add(1)
		p.deliver(e)
	}
}

func newSession(id UserID, life time.Duration) (Credential, Session) {
	token := rand.Text() + rand.Text() // 260 random bits
	s := Session{Hash: sha256.Sum256([]byte(token)), User: id, ExpiresAt: now().Add(life)}
	return Credential{UserID: id, Token: token, ExpiresAt: s.ExpiresAt}, s
}

func (p *Platform) checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	n := utf8.RuneCountInString(name)
	if n < 1 || n > p.rules.NameRunes || !utf8.ValidString(name) || strings.ContainsFunc(name, misleading) {
		return "", refuse(Invalid, "a name has 1 to 40 characters")
	}
	if !strings.ContainsFunc(name, visible) {
		return "", refuse(Invalid, "a name has a character that one sees")
	}
	return name, nil
}

// misleading are the characters that no name needs: controls, line ends, and
// those that turn the text after them round.
func misleading(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// visible reports whether r alone leaves a mark. The fillers of Hangul and the
// empty pattern of Braille are letters and symbols that do not.
func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.IsMark(r) &&
		!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && r != '\u2800'
}

func checkGender(g string) error {
	switch g {
	case "female", "male", "nonbinary", "unspecified":
		return nil
	}
	return refuse(Invalid, "gender is female, male, nonbinary or unspecified")
}

func checkEmail(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.ContainsFunc(s, unicode.IsControl) {
		return "", refuse(Invalid, "this is no e-mail address")
	}
	return strings.ToLower(s), nil
}

// active gives a person who may take part. UserNotFound, UnderReview, Banned.
func (p *Platform) active(ctx context.Context, id UserID) (*User, error) {
	u, err := p.user(ctx, id)
	if err == nil {
		err = u.Standing.refusal()
	}
	return u, err
}

// refusal is what a person of this standing hears.
func (s Standing) refusal() error {
	switch s {
	case InReview:
		return refuse(UnderReview, "people have reported you; somebody will look at it")
	case Out:
		return refuse(Banned, "you cannot take part any more")
	}
	return nil
}
