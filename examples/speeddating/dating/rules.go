package dating

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Rules are the constants of the platform. The zero value of a field is its
// default; tests shorten them.
type Rules struct {
	NameRunes    int           // 40
	GuestFor     time.Duration // life of a guest's session: 7 days
	AccountFor   time.Duration // life of an account's session: 30 days
	MinPassword  int           // characters: 8
	PasswordCost int           // of bcrypt: 10
	MinCall      time.Duration // shortest wish: 60 s
	MaxCall      time.Duration // longest wish: 30 min
	InviteFor    time.Duration // life of an invite, and of each extension: 20 s
	Extensions   int           // 3
	CallCounts   time.Duration // from here on a call has a history and a cooldown: 5 s
	CooldownFor  time.Duration // after a call or a decline: 24 h
	RescindFor   time.Duration // after the caller rescinds or vanishes: 1 h
	TakeOver     time.Duration // a call whose socket is gone while the user has others waits so long: 30 s
	ChatRunes    int           // characters a line: 500
	ChatKept     int           // lines a call: 200
	ChatPerSec   int           // lines a second and member: 5
	WindowCards  int           // cards a viewer holds: 50
	Reporters    int           // different people that bring one under review: 4
	ReasonRunes  int           // characters of a report: 500
	HistoryPage  int           // calls: 20
	HistoryBytes int           // of chat and handles on a page; one call may be more: 256 KiB
	RecentCalls  int           // calls in the metrics: 10
	HistoryFor   time.Duration // then to the archive: 7 days
	IntroFor     time.Duration // life of an introduction link: 30 days
	IntrosKept   int           // open links a person: 20
	StaleInvite  time.Duration // the sweep removes older ones: 5 min
	SweepEvery   time.Duration // 5 min
	FlushEvery   time.Duration // chat to the store, and the beat of this node: 1 s
	NodeLease    time.Duration // a node silent for so long is dead: 15 s
	SocialsKept  int           // handles a person: 8
	SocialRunes  int           // characters a handle: 64
	SelfieBytes  int           // a stored picture: 1 MiB
	RelationKept int           // cooldowns and reports of one person held in memory: 4096
}

func (r Rules) withDefaults() (Rules, error) {
	var errs []error
	n := func(name string, v *int, d int) {
		if *v == 0 {
			*v = d
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("dating: Rules.%s = %d, want > 0", name, *v))
		}
	}
	t := func(name string, v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
		if *v < 0 {
			errs = append(errs, fmt.Errorf("dating: Rules.%s = %v, want > 0", name, *v))
		}
	}
	const day = 24 * time.Hour
	n("NameRunes", &r.NameRunes, 40)
	t("GuestFor", &r.GuestFor, 7*day)
	t("AccountFor", &r.AccountFor, 30*day)
	n("MinPassword", &r.MinPassword, 8)
	n("PasswordCost", &r.PasswordCost, bcrypt.DefaultCost)
	t("MinCall", &r.MinCall, time.Minute)
	t("MaxCall", &r.MaxCall, 30*time.Minute)
	t("InviteFor", &r.InviteFor, 20*time.Second)
	n("Extensions", &r.Extensions, 3)
	t("CallCounts", &r.CallCounts, 5*time.Second)
	t("CooldownFor", &r.CooldownFor, day)
	t("RescindFor", &r.RescindFor, time.Hour)
	t("TakeOver", &r.TakeOver, 30*time.Second)
	n("ChatRunes", &r.ChatRunes, 500)
	n("ChatKept", &r.ChatKept, 200)
	n("ChatPerSec", &r.ChatPerSec, 5)
	n("WindowCards", &r.WindowCards, 50)
	n("Reporters", &r.Reporters, 4)
	n("ReasonRunes", &r.ReasonRunes, 500)
	n("HistoryPage", &r.HistoryPage, 20)
	n("HistoryBytes", &r.HistoryBytes, 256<<10)
	n("RecentCalls", &r.RecentCalls, 10)
	t("HistoryFor", &r.HistoryFor, 7*day)
	t("IntroFor", &r.IntroFor, 30*day)
	n("IntrosKept", &r.IntrosKept, 20)
	t("StaleInvite", &r.StaleInvite, 5*time.Minute)
	t("SweepEvery", &r.SweepEvery, 5*time.Minute)
	t("FlushEvery", &r.FlushEvery, time.Second)
	t("NodeLease", &r.NodeLease, 15*time.Second)
	n("SocialsKept", &r.SocialsKept, 8)
	n("SocialRunes", &r.SocialRunes, 64)
	n("SelfieBytes", &r.SelfieBytes, 1<<20)
	n("RelationKept", &r.RelationKept, 4096)
	if len(errs) == 0 && r.MinCall > r.MaxCall {
		errs = append(errs, fmt.Errorf("dating: Rules.MinCall = %v, want <= MaxCall = %v", r.MinCall, r.MaxCall))
	}
	if len(errs) == 0 && r.NodeLease < 3*r.FlushEvery {
		errs = append(errs, fmt.Errorf("dating: Rules.NodeLease = %v, want >= 3 x FlushEvery = %v", r.NodeLease, 3*r.FlushEvery))
	}
	if r.PasswordCost > bcrypt.MaxCost {
		errs = append(errs, fmt.Errorf("dating: Rules.PasswordCost = %d, want <= %d", r.PasswordCost, bcrypt.MaxCost))
	}
	return r, errors.Join(errs...)
}
