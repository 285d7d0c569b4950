package bus

import "time"

const (
	gather    = 500 * time.Microsecond // even on a quiet link: an answer and its events travel together
	paceBurst = 25                     // in a row without a wait
)

// pace spreads out what comes in numbers: one each Linger on average. Who has
// been quiet may do some in a row at once.
type pace struct {
	every  time.Duration
	tokens float64
	last   time.Time
}

// took notes one.
func (p *pace) took(now time.Time) {
	if p.last.IsZero() {
		p.tokens = paceBurst
	} else {
		p.tokens = min(paceBurst, p.tokens+float64(now.Sub(p.last))/float64(p.every))
	}
	p.tokens, p.last = max(p.tokens-1, 0), now
}

// wait gives how long one should wait now.
func (p *pace) wait(now time.Time) time.Duration {
	if p.tokens+float64(now.Sub(p.last))/float64(p.every) >= 1 || p.last.IsZero() {
		return 0
	}
	return p.every - now.Sub(p.last)
}
