package web

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const (
	loginRefill  = 6 * time.Second       // one more password guess for an address
	signupRefill = 20 * time.Millisecond // one more guest from an address: schools and carriers share one
	signupBurst  = 2000
	maxAttempts  = 4096 // addresses remembered; the one unused for longest is forgotten
)

var errTooOften = &dating.Error{Code: dating.TooMany, Message: "too many attempts from this address; wait a moment"}

// attempts is a token bucket for each address. Any goroutine may call it.
type attempts struct {
	burst  int
	refill time.Duration

	mu sync.Mutex
	at *simplelru.LRU[netip.Addr, time.Time] // when the bucket was empty, reckoned by refill
}

func newAttempts(burst int, refill time.Duration) (*attempts, error) {
	at, err := simplelru.NewLRU[netip.Addr, time.Time](maxAttempts, nil)
	return &attempts{burst: burst, refill: refill, at: at}, err
}

// take uses one attempt of addr, or refuses.
func (a *attempts) take(addr netip.Addr) error { return a.try(addr, true) }

// try refuses addr if it has no attempt left, and else uses one if the caller
// says so. Whoever is refused must not learn whether the guess was right.
func (a *attempts) try(addr netip.Addr, use bool) error {
	if addr.Is6() && !addr.Is4In6() {
		p, _ := addr.Prefix(64) // one household or host; 64 is in range for IPv6
		addr = p.Addr()
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	full := now.Add(-time.Duration(a.burst) * a.refill)
	since, ok := a.at.Get(addr)
	if !ok || since.Before(full) {
		since = full
	}
	next := since.Add(a.refill)
	if next.After(now) {
		return errTooOften
	}
	if use {
		a.at.Add(addr, next)
	}
	return nil
}

// retrySeconds is a jittered hint for who was refused, so that those refused
// together do not come back together.
func retrySeconds() int { return 1 + rand.IntN(5) }
