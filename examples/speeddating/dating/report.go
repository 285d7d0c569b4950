package dating

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"
)

// Report says something about a person one has talked with, for as long as it
// takes to be a call that counts. UnderReview, Banned, Invalid, InvalidTarget,
// UserNotFound, Forbidden (never talked), Conflict (reported before).
func (p *Platform) Report(ctx context.Context, by, about UserID, reason string) error {
	if _, err := p.active(ctx, by); err != nil {
		return err
	}
	if about == "" || about == by {
		return refuse(InvalidTarget, "one reports somebody else")
	}
	reason = strings.TrimSpace(reason)
	if reason == "" || !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > p.rules.ReasonRunes {
		return refuse(Invalid, "a reason has 1 to 500 characters")
	}
	if _, err := p.user(ctx, about); err != nil {
		return err
	}
	reporters, standing, err := p.store.AddReport(ctx, Report{By: by, About: about, Reason: reason, At: now()}, p.rules.CallCounts, p.rules.Reporters)
	switch {
	case errors.Is(err, ErrNotTalked):
		return refuse(Forbidden, "one reports only people one has talked with")
	case errors.Is(err, ErrConflict):
		return refuse(Conflict, "you have reported this person already")
	case err != nil:
		p.forget(about) // it may have been written all the same
		return unavailable("the database does not answer", err)
	}
	p.relateAll(relation{A: by, B: about, Reported: true})
	if standing == InReview && reporters == p.rules.Reporters {
		p.suspend(ctx, about, "reported")
	}
	return nil
}

// UnderReview lists up to 100 people who wait for a decision, for an admin.
func (p *Platform) UnderReview(ctx context.Context) ([]ReviewCase, error) {
	cases, err := p.store.UnderReview(ctx, 100)
	return cases, unavailable("the database does not answer", err)
}

// Decide puts a person back in Good standing or Out, for an admin. Invalid,
// UserNotFound.
func (p *Platform) Decide(ctx context.Context, about UserID, s Standing) error {
	if s != Good && s != Out {
		return refuse(Invalid, "a person is cleared or banned")
	}
	err := p.store.Decide(ctx, about, s)
	if errors.Is(err, ErrNotFound) {
		return refuse(UserNotFound, "no such person")
	}
	p.forget(about) // after a fault too: it may have been written all the same
	if err != nil {
		return unavailable("the database does not answer", err)
	}
	if s == Out {
		p.suspend(ctx, about, "banned")
	}
	return nil
}

// suspend takes a person out of everything on every node: the web layer closes
// their sockets, and their invite and call end.
func (p *Platform) suspend(ctx context.Context, id UserID, reason string) {
	p.forget(id)
	if holder, err := p.bus.Holder(ctx, claimKey(id)); err == nil && holder != "" {
		p.notify(command{Verb: verbGone, User: id, ID: holder, Reason: "review"})
	}
	p.mu.Lock()
	p.emitLocked(id, "", AccountReviewKind, &Review{Reason: reason})
	p.mu.Unlock()
	p.flush()
}
