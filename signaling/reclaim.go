package signaling

import (
	"cmp"
	"slices"
)

// Reclaim frees queue memory and returns how many bytes: it drops waiting
// droppable messages until want bytes are free, then ends the peers that take
// nothing, the heaviest first, with close code 4008. Such a peer is away, or
// its kernel buffer is full; one that holds less than a sixteenth of QueueBytes
// is left alone, so that Reclaim may free less than want. Messages that others
// wait for too are freed with the last of them. It looks at each peer once and
// does not wait for the network: a memory watchdog may call it at any time.
func (h *Hub) Reclaim(want int64) (freed int64) {
	if want <= 0 {
		return 0
	}
	h.handOut()
	type load struct {
		peer  *Peer
		bytes int
	}
	var stalled []load
	for _, p := range h.all() {
		p.mu.Lock()
		if freed < want {
			n, bytes := p.out.dropDroppable(h, want-freed)
			h.stats.droppedReclaim.Add(int64(n))
			freed += bytes
		}
		if n := p.stalledLocked(); n >= h.opt.QueueBytes/16 {
			stalled = append(stalled, load{p, n})
		}
		p.mu.Unlock()
	}
	slices.SortFunc(stalled, func(a, b load) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, l := range stalled {
		if freed >= want {
			break
		}
		p := l.peer
		p.mu.Lock()
		still := p.stalledLocked() > 0
		if still {
			freed += p.out.clear(h)
		}
		p.mu.Unlock()
		if still {
			h.stats.shed.Add(1)
			p.end(CloseInfo{Code: 4008, Reason: "too slow"}, true)
		}
	}
	return freed
}

// stalledLocked returns the bytes that wait or are kept for a peer that takes
// none now.
func (p *Peer) stalledLocked() int {
	s := p.sock
	away := p.state == peerAway
	stuck := p.state == peerOpen && s != nil && (s.rest != nil || !s.parked && s.writing)
	if !away && !stuck {
		return 0
	}
	return int(p.out.queued + p.out.kept)
}

// shed ends the peer that holds the most of the queue memory, other than p, if
// it holds a good part of a full queue. It reports whether it did.
func (h *Hub) shed(p *Peer) bool {
	var heaviest *Peer
	most := min(h.opt.QueueBytes, h.opt.MaxMessageBytes) / 4
	h.mu.Lock()
	looked := 0
	for _, q := range h.peers { // a random sample
		if looked++; looked > 64 {
			break
		}
		if q != p && q.mu.TryLock() {
			if n := int(q.out.queued + q.out.kept); n > most {
				heaviest, most = q, n
			}
			q.mu.Unlock()
		}
	}
	h.mu.Unlock()
	if heaviest == nil {
		return false
	}
	h.stats.shed.Add(1)
	heaviest.end(CloseInfo{Code: 4008, Reason: "too slow"}, true)
	return true
}
