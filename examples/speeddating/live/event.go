package live

import (
	"time"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

const maxEvents = 200

// Event is something that happened to the memory, or was done about it.
type Event struct {
	At    int64  `json:"at"`              // Unix time in milliseconds
	Kind  string `json:"kind"`            // level, reclaim, refused, sweep, stuck
	Name  string `json:"name"`            // of the level, the reclaimer, the account or the sweep
	Count uint64 `json:"count,omitempty"` // refusals or rows
	Bytes int64  `json:"bytes,omitempty"` // given back
	Why   string `json:"why,omitempty"`   // the source of a level, the error of what failed
}

// compare tells what happened between two readings. The watchdog's own
// counters are compared, so that what came and went between them is told too.
func compare(at time.Time, last, r *Reading) []Event {
	var out []Event
	say := func(e Event) {
		e.At = at.UnixMilli()
		out = append(out, e)
	}
	was, is := &last.Memory, &r.Memory
	if is.Changes > was.Changes {
		e := Event{Kind: "level", Name: is.Level.String(), Count: is.Changes - was.Changes}
		if is.Level > memmgr.Normal {
			e.Why = is.Source
		}
		say(e)
	}
	for i, now := range is.Reclaim {
		if i >= len(was.Reclaim) || now.Calls == was.Reclaim[i].Calls {
			continue
		}
		e := Event{Kind: "reclaim", Name: now.Name, Bytes: now.Freed - was.Reclaim[i].Freed}
		if now.Errors+now.Timeouts > was.Reclaim[i].Errors+was.Reclaim[i].Timeouts {
			e.Why = now.LastError
		}
		say(e)
	}
	if n := is.Refused - was.Refused; n > 0 {
		say(Event{Kind: "refused", Name: "new work", Count: n})
	}
	if n := r.Refused - last.Refused; n > 0 {
		say(Event{Kind: "refused", Name: "connections", Count: n})
	}
	for i := range is.Accounts {
		if i >= len(was.Accounts) {
			break
		}
		if n := refusedBy(&is.Accounts[i]) - refusedBy(&was.Accounts[i]); n > 0 {
			say(Event{Kind: "refused", Name: is.Accounts[i].Name, Count: n})
		}
	}
	for i, now := range is.Sweeps {
		if i >= len(was.Sweeps) || now.Runs == was.Sweeps[i].Runs {
			continue
		}
		before := was.Sweeps[i].Total
		if rows := now.Total.Archived + now.Total.Deleted - before.Archived - before.Deleted; rows > 0 || now.LastError != "" {
			say(Event{Kind: "sweep", Name: now.Name, Count: uint64(max(rows, 0)), Why: now.LastError})
		}
	}
	if is.Episodes > was.Episodes {
		say(Event{Kind: "stuck", Name: is.Level.String(), Why: is.Source})
	}
	return out
}

func refusedBy(a *memmgr.AccountStats) uint64 {
	return a.RefusedBudget + a.RefusedMax + a.RefusedPressure + a.RefusedInvalid
}

// keep adds e to the events. Refusals and reclaims that go on are one event
// that grows, so that a storm does not push out how it began.
func (b *Board) keep(e Event) {
	if e.Kind == "refused" || e.Kind == "reclaim" {
		for i := len(b.events) - 1; i >= 0 && e.At-b.events[i].At < time.Minute.Milliseconds(); i-- {
			old := &b.events[i]
			if old.Kind == "level" {
				break // another chapter
			}
			if old.Kind == e.Kind && old.Name == e.Name && old.Why == e.Why {
				old.Count += e.Count
				old.Bytes += e.Bytes
				return
			}
		}
	}
	if len(b.events) == maxEvents {
		b.events = append(b.events[:0], b.events[1:]...)
	}
	b.events = append(b.events, e)
}
