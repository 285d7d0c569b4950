package dating

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/plimsoll-go/plimsoll/lru"
)

// Metrics are a person's talk so far.
type Metrics struct {
	TalkSeconds int64 `json:"talkSeconds"`
	Calls       int64 `json:"calls"`
}

// ProfileMetrics are the metrics with the last calls.
type ProfileMetrics struct {
	Metrics
	Recent []HistoryEntry `json:"recent"` // at most 10, without chat
}

// Profile is a person as they see themselves.
type Profile struct {
	UserID      UserID         `json:"userId"`
	Name        string         `json:"name"`
	Gender      string         `json:"gender"`
	SelfieURL   string         `json:"selfieUrl"` // empty: no picture
	Socials     Socials        `json:"socials"`
	Email       string         `json:"email,omitempty"`
	UnderReview bool           `json:"underReview"`      // may not take part
	Banned      bool           `json:"banned,omitempty"` // nor will: an admin has decided so
	CreatedAt   time.Time      `json:"createdAt"`
	Metrics     ProfileMetrics `json:"metrics"`
}

// ProfileChange is what PUT /user/me changes; nil leaves a field as it is.
type ProfileChange struct {
	Name    *string
	Gender  *string
	Socials *Socials
}

// Profile gives the profile with metrics.
func (p *Platform) Profile(ctx context.Context, id UserID) (Profile, error) {
	u, err := p.user(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	recent, err := p.store.Recent(ctx, id, p.rules.RecentCalls)
	if err != nil {
		return Profile{}, unavailable("the database does not answer", err)
	}
	return Profile{
		UserID: u.ID, Name: u.Name, Gender: u.Gender, SelfieURL: u.card().SelfieURL, Socials: u.Socials, Email: u.Email,
		UnderReview: u.Standing != Good, Banned: u.Standing == Out, CreatedAt: u.CreatedAt,
		Metrics: ProfileMetrics{Metrics{TalkSeconds: u.TalkSeconds, Calls: u.Calls}, recent},
	}, nil
}

// UpdateProfile changes it; who looks at the queue sees it. UnderReview,
// Banned, Invalid.
func (p *Platform) UpdateProfile(ctx context.Context, id UserID, c ProfileChange) (Profile, error) {
	u, err := p.active(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	name, gender, socials := u.Name, u.Gender, u.Socials
	if c.Name != nil {
		if name, err = p.checkName(*c.Name); err != nil {
			return Profile{}, err
		}
	}
	if c.Gender != nil {
		if err := checkGender(*c.Gender); err != nil {
			return Profile{}, err
		}
		gender = *c.Gender
	}
	if c.Socials != nil {
		if socials, err = p.checkSocials(*c.Socials); err != nil {
			return Profile{}, err
		}
	}
	if err := p.store.UpdateProfile(ctx, id, name, gender, socials); err != nil {
		p.forget(id) // it may have been written all the same
		return Profile{}, unavailable("the database does not answer", err)
	}
	if err := p.changed(ctx, id); err != nil {
		return Profile{}, err
	}
	return p.Profile(ctx, id)
}

// changed makes every node see a person's new card.
func (p *Platform) changed(ctx context.Context, id UserID) error {
	p.forget(id)
	u, err := p.user(ctx, id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.emitLocked(id, "", cardChangedKind, &changedCard{Card: u.card()})
	p.mu.Unlock()
	p.flush()
	return nil
}

// SetSelfie stores a picture that the caller has decoded and re-encoded, and
// gives its URL (/media/ID). UnderReview, Banned, Invalid: too large.
func (p *Platform) SetSelfie(ctx context.Context, id UserID, b []byte, contentType string) (url string, err error) {
	old, err := p.active(ctx, id)
	if err != nil {
		return "", err
	}
	if len(b) == 0 || len(b) > p.rules.SelfieBytes {
		return "", refuse(Invalid, "this picture is too large")
	}
	m := Media{ID: randomID(20), Type: contentType, Bytes: b}
	if err := p.store.SetSelfie(ctx, id, m); err != nil {
		p.forget(id)
		return "", unavailable("the database does not answer", err)
	}
	if old.SelfieID != "" {
		p.media.Delete(old.SelfieID)
	}
	p.media.Set(m.ID, m)
	return selfieURL(m.ID), p.changed(ctx, id)
}

// Selfie gives a picture. NotFound. The bytes are shared: do not change them.
func (p *Platform) Selfie(ctx context.Context, mediaID string) (Media, error) {
	none := refuse(NotFound, "no such picture")
	if mediaID == "" || len(mediaID) > 64 {
		return Media{}, none
	}
	m, err := p.media.GetOrLoad(ctx, mediaID, func(ctx context.Context, id string) (Media, error) {
		m, err := p.store.Media(ctx, id)
		if errors.Is(err, ErrNotFound) {
			err = lru.ErrNotFound
		}
		return m, err
	})
	if errors.Is(err, lru.ErrNotFound) {
		return Media{}, none
	}
	return m, unavailable("the database does not answer", err)
}

func selfieURL(id string) string { return "/media/" + id }

// checkSocials gives s trimmed: networks in lower case, no empty handles.
func (p *Platform) checkSocials(s Socials) (Socials, error) {
	if len(s) > p.rules.SocialsKept {
		return nil, refuse(Invalid, "too many handles")
	}
	out := make(Socials, len(s))
	for network, handle := range s {
		network, handle = strings.ToLower(strings.TrimSpace(network)), strings.TrimSpace(handle)
		if handle == "" {
			continue
		}
		if network == "" || len(network) > 20 || utf8.RuneCountInString(handle) > p.rules.SocialRunes ||
			!utf8.ValidString(network+handle) || strings.ContainsFunc(network+handle, unicode.IsControl) {
			return nil, refuse(Invalid, "a handle has at most 64 characters, a network 20")
		}
		out[network] = handle
	}
	return out, nil
}
