package signaling

import (
	"maps"
	"sync/atomic"
	"time"
)

// Stats are the figures of a hub.
type Stats struct {
	Peers       int           `json:"peers"`       // sessions, those away included
	Sockets     int           `json:"sockets"`     // open connections, those closing included
	Parked      int           `json:"parked"`      // of them without a goroutine while idle
	Rooms       int           `json:"rooms"`       // open rooms
	QueueBytes  int64         `json:"queueBytes"`  // queued, kept for resume or being read
	MessagesIn  int64         `json:"messagesIn"`  // from clients
	MessagesOut int64         `json:"messagesOut"` // written, each receiver counted
	BytesIn     int64         `json:"bytesIn"`     // read from sockets
	BytesOut    int64         `json:"bytesOut"`    // written to sockets
	PlainOut    int64         `json:"plainOut"`    // what the messages among them take uncompressed
	Writes      int64         `json:"writes"`      // batches written: MessagesOut / Writes were joined
	Opened      int64         `json:"opened"`      // sessions begun
	Away        int64         `json:"away"`        // times a socket was lost and the session waited
	Resumed     int64         `json:"resumed"`     // times one came back
	NotResumed  int64         `json:"notResumed"`  // resume tokens that led to a new session
	RTT         time.Duration `json:"rtt"`         // of the latest pong

	Closed  map[int]int64    `json:"closed"`  // sessions over, by close code
	Refused map[string]int64 `json:"refused"` // handshakes, by reason: full, origin, handshake, shutdown
	Dropped map[string]int64 `json:"dropped"` // messages, by reason: full, latest, budget, reclaim
	Relayed map[string]int64 `json:"relayed"` // messages for others in a room, by outcome: "ok" or the Error's code

	Panics int64 `json:"panics"` // callbacks that panicked
	Shed   int64 `json:"shed"`   // peers ended or cut because TotalQueueBytes was used up, or by Reclaim

	BusErrors int64 `json:"busErrors"` // calls of the Bus that failed
	BusGaps   int64 `json:"busGaps"`   // gaps that the Bus told of
}

type counters struct {
	messagesIn, messagesOut, bytesIn, bytesOut, plainOut, writes atomic.Int64
	opened, away, resumed, notResumed, rtt                       atomic.Int64
	busErrors, busGaps                                           atomic.Int64
	closedSlow, panics, shed                                     atomic.Int64
	droppedFull, droppedLatest, droppedBudget, droppedReclaim    atomic.Int64
	refusedFull, refusedOrigin, refusedBad, refusedClosed        atomic.Int64
	sockets, parked, relayed                                     atomic.Int64
}

// Stats returns the hub's figures.
func (h *Hub) Stats() Stats {
	c := &h.stats
	s := Stats{
		Sockets: int(c.sockets.Load()), Parked: int(c.parked.Load()), QueueBytes: h.budget.used.Load(),
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), PlainOut: c.plainOut.Load(), Writes: c.writes.Load(),
		Opened: c.opened.Load(), Away: c.away.Load(), Resumed: c.resumed.Load(), NotResumed: c.notResumed.Load(),
		RTT: time.Duration(c.rtt.Load()), Panics: c.panics.Load(), Shed: c.shed.Load(),
		BusErrors: c.busErrors.Load(), BusGaps: c.busGaps.Load(),
		Refused: map[string]int64{"full": c.refusedFull.Load(), "origin": c.refusedOrigin.Load(),
			"handshake": c.refusedBad.Load(), "shutdown": c.refusedClosed.Load()},
		Dropped: map[string]int64{"full": c.droppedFull.Load(), "latest": c.droppedLatest.Load(), "budget": c.droppedBudget.Load(),
			"reclaim": c.droppedReclaim.Load()},
		Closed:  map[int]int64{},
		Relayed: map[string]int64{"ok": c.relayed.Load()},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Peers, s.Rooms = len(h.peers), len(h.rooms)
	maps.Copy(s.Closed, h.closed)
	maps.Copy(s.Relayed, h.relayed)
	return s
}
