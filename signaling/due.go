package signaling

import (
	"time"

	"github.com/gorilla/websocket"
)

// due is called by the wheel when one of p's deadlines may have come.
func (p *Peer) due(now time.Duration) {
	h := p.hub
	p.mu.Lock()
	s := p.sock
	switch {
	case p.state == peerAway && now >= p.until:
		p.mu.Unlock()
		p.end(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "did not come back"}, true)
		return
	case p.state == peerAway:
		h.wheel.set(p, p.until)
	case s == nil:
	case s.closing && now >= s.end.by:
		p.mu.Unlock()
		s.lost(CloseInfo{Code: s.end.code, Clean: true})
		return
	case s.closing:
		h.wheel.set(p, s.end.by)
	default:
		next, alive := s.nextLocked(now)
		if alive {
			h.wheel.set(p, next)
		}
		p.mu.Unlock()
		if !alive {
			s.lost(CloseInfo{Code: websocket.CloseAbnormalClosure, Reason: "timeout"})
		} else {
			p.flush()
		}
		return
	}
	p.mu.Unlock()
}

// nextLocked pings if it is time to and returns when to look again. It reports
// false for a socket that does not take or give any bytes.
func (s *socket) nextLocked(now time.Duration) (next time.Duration, alive bool) {
	o := &s.peer.hub.opt
	seen := time.Duration(s.seen.Load())
	if s.stalled > 0 {
		if now-s.stalled >= o.WriteTimeout {
			return 0, false
		}
		return s.stalled + o.WriteTimeout, true
	}
	if s.pinged && seen < s.pingAt { // any bytes since prove it alive
		if now-s.pingAt >= o.PongTimeout {
			return 0, false
		}
		return min(s.pingAt+o.PongTimeout, now+o.PingEvery), true
	}
	if now >= seen+o.PingEvery && now >= s.pingAt+o.PingEvery || s.ackAt > 0 && now >= s.ackAt {
		s.wantPing = true
		return now + min(o.PongTimeout, o.PingEvery), true
	}
	next = max(seen, s.pingAt) + o.PingEvery
	if s.ackAt > 0 {
		next = min(next, s.ackAt)
	}
	return next, true
}
