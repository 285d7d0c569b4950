package dating

import "time"

// ClockPutBack makes an invite look as it does when the wall clock was put
// back by d after it was made.
func (p *Platform) ClockPutBack(inviteID string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.invites[inviteID]
	in.expires = in.expires.Add(d)
}

// Crowd takes the lock n times, and holds it for a while.
func (p *Platform) Crowd(n int) {
	for range n {
		p.mu.Lock()
		for range 1_000 {
			_ = p.sockets[""]
		}
		p.mu.Unlock()
	}
}
