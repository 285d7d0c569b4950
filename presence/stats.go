package presence

// Stats is what a Tracker holds and has done.
type Stats struct {
	Users      int   // records: here, away, remembered, of other nodes
	Here       int   // users with a socket or in their grace
	Remembered int   // users who left and are remembered
	Sockets    int   // sockets on this node
	Topics     int   // topics with a member or a watcher
	Members    int   // memberships, as told
	Watchers   int   // open watchers
	Bytes      int64 // what is reserved for all of it

	Joins, Leaves, Updates uint64 // changes that were told
	Silenced               uint64 // changes that were taken back before they were told
	Saved                  uint64 // users who came back within their grace
	Expired                uint64 // sockets without a heartbeat
	Damped                 uint64 // joins held back because the user flaps

	Made      uint64 // different diffs
	Delivered uint64 // diffs given to watchers
	Resyncs   uint64 // of those, whole windows
	Behind    uint64 // watchers that asked for a resync
	Panics    uint64 // Deliver functions that panicked; their watchers were closed

	Refused Refused // calls that a bound refused, by the bound
	Cluster Cluster // what a Store adds; empty without one
}

// Refused counts the calls that a bound refused.
type Refused struct {
	Users    uint64 // MaxUsers
	Sockets  uint64 // MaxSockets
	PerUser  uint64 // MaxSocketsPerUser, MaxTopicsPerUser
	Topics   uint64 // MaxTopics
	Watchers uint64 // MaxWatchers
	Window   uint64 // MaxWindow, MaxExclude
	Meta     uint64 // MaxMeta
	IDs      uint64 // empty or longer than MaxID
	Memory   uint64 // the Account
	Remote   uint64 // members of other nodes that did not fit
}

// counters are the parts of Stats that only rise.
type counters struct {
	Joins, Leaves, Updates                   uint64
	Silenced, Saved, Expired, Damped         uint64
	Made, Delivered, Resyncs, Behind, Panics uint64
	refused                                  Refused
}

// Stats returns the present figures.
func (t *Tracker) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.stats
	s := Stats{
		Users: t.users.n, Here: t.here, Remembered: t.gone.n, Sockets: t.sockets,
		Topics: len(t.topics), Members: t.members, Watchers: t.watches, Bytes: t.bytes,
		Joins: c.Joins, Leaves: c.Leaves, Updates: c.Updates,
		Silenced: c.Silenced, Saved: c.Saved, Expired: c.Expired, Damped: c.Damped,
		Made: c.Made, Delivered: c.Delivered, Resyncs: c.Resyncs, Behind: c.Behind, Panics: c.Panics,
		Refused: c.refused,
	}
	if t.rep != nil {
		s.Cluster = t.rep.stats
		s.Cluster.Waiting = t.rep.waiting
	}
	return s
}

func (t *Tracker) count(n *uint64) {
	t.mu.Lock()
	*n++
	t.mu.Unlock()
}
