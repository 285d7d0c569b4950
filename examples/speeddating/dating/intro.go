package dating

import (
	"context"
	"errors"
	"time"
)

// IntroView is what an introduction link leads to.
type IntroView struct {
	Code      string    `json:"code"`
	By        Card      `json:"by"`
	To        Card      `json:"to"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// CreateIntro makes a link that introduces a newcomer to a person; to empty
// means to oneself. UnderReview, Banned, UserNotFound, TooMany.
func (p *Platform) CreateIntro(ctx context.Context, by, to UserID) (IntroView, error) {
	if _, err := p.active(ctx, by); err != nil {
		return IntroView{}, err
	}
	if to == "" {
		to = by
	}
	in := Intro{Code: randomID(12), By: by, To: to, ExpiresAt: now().Add(p.rules.IntroFor)}
	view, err := p.introView(ctx, in)
	if err != nil {
		return IntroView{}, err
	}
	err = p.store.AddIntro(ctx, in, now(), p.rules.IntrosKept)
	if errors.Is(err, ErrConflict) {
		return IntroView{}, refuse(TooMany, "you have made many links already")
	}
	return view, unavailable("the database does not answer", err)
}

// Intro tells what a link leads to. NotFound.
func (p *Platform) Intro(ctx context.Context, code string) (IntroView, error) {
	in, err := p.intro(ctx, code)
	if err != nil {
		return IntroView{}, err
	}
	return p.introView(ctx, in)
}

func (p *Platform) intro(ctx context.Context, code string) (Intro, error) {
	if code == "" || len(code) > 64 {
		return Intro{}, refuse(NotFound, "no such link")
	}
	in, err := p.store.Intro(ctx, code, now())
	if errors.Is(err, ErrNotFound) {
		return Intro{}, refuse(NotFound, "no such link")
	}
	return in, unavailable("the database does not answer", err)
}

func (p *Platform) introView(ctx context.Context, in Intro) (IntroView, error) {
	by, err := p.user(ctx, in.By)
	if err != nil {
		return IntroView{}, err
	}
	to, err := p.user(ctx, in.To)
	if err != nil {
		return IntroView{}, err
	}
	return IntroView{Code: in.Code, By: by.card(), To: to.card(), ExpiresAt: in.ExpiresAt}, nil
}

// introduction is what a newcomer's code stands for.
func (p *Platform) introduction(ctx context.Context, code string, newcomer UserID) (Introduction, error) {
	view, err := p.Intro(ctx, code)
	if err != nil {
		return Introduction{}, err
	}
	return Introduction{User: newcomer, Other: view.To.UserID, By: view.By.Name}, nil
}
