package load

import (
	"context"
	"fmt"
	"time"
)

// Trial is one run of a Search.
type Trial struct {
	Users  int
	OK     bool   // nothing failed and the latency held
	Why    string // what did not, "" if OK
	Report *Report
}

// Search finds the largest number of people whom the server holds without an
// error and with a p99 of invite → notify of at most bound: it doubles
// opt.Users until that fails, up to most, and then halves the gap until it is
// a tenth. Each trial is a Run of its own, after which everybody leaves.
func Search(ctx context.Context, opt Options, bound time.Duration, most int, tell func(Trial)) (best *Trial, err error) {
	try := func(users int) (bool, error) {
		o := opt
		o.Users = users
		if o.Ramp == 0 {
			o.Ramp = max(time.Second, time.Duration(users)*10*time.Millisecond)
		}
		r, err := Run(ctx, o)
		if r == nil || err != nil {
			return false, err
		}
		t := Trial{Users: users, Report: r}
		switch {
		case r.Connected != int64(users):
			t.Why = fmt.Sprintf("%d of %d connected", r.Connected, users)
		case !r.OK():
			t.Why = fmt.Sprintf("%d faults", r.faults())
		case r.Notify.P99 > bound:
			t.Why = fmt.Sprintf("invite → notify p99 %v", r.Notify.P99.Round(100*time.Microsecond))
		default:
			t.OK = true
		}
		tell(t)
		if t.OK && (best == nil || users > best.Users) {
			best = &t
		}
		wait(ctx, 3*time.Second) // the server forgets those who left
		return t.OK, ctx.Err()
	}
	good, bad := 0, 0
	for users := opt.Users; bad == 0; users = min(2*users, most) {
		ok, err := try(users)
		if err != nil {
			return best, err
		}
		if !ok {
			bad = users
		} else if good = users; users >= most {
			return best, nil
		}
	}
	for bad-good > max(good/10, 1) {
		middle := (good + bad) / 2
		ok, err := try(middle)
		if err != nil {
			return best, err
		}
		if ok {
			good = middle
		} else {
			bad = middle
		}
	}
	return best, nil
}

// faults counts everything that makes a Report not OK.
func (r *Report) faults() int64 {
	n := r.Lost + r.Doubled + r.Reordered
	for _, c := range r.Errors {
		n += c
	}
	return n
}
