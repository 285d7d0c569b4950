package main

import (
	"io"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/plimsoll-go/plimsoll/connmgr"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/prom"
	"github.com/plimsoll-go/plimsoll/memmgr"
)

// metrics writes the figures of /health as Prometheus knows them: base units,
// counters that end in _total, and labels whose values are a fixed few.
// docs/monitoring.md explains them; the dashboard and the alert rules beside
// it use no other.
func (a *app) metrics(out io.Writer) error {
	f := a.figures().(figures)
	w := &prom.Writer{}
	w.Bool("plimsoll_ready", "Whether the node takes new people.", f.Ready)
	memoryMetrics(w, f.Memory)
	connectionMetrics(w, f.Connections)
	socketMetrics(w, f)
	presenceMetrics(w, f)
	compressMetrics(w, f)
	savingsMetrics(w, f.Savings)
	platformMetrics(w, f.Platform)
	w.Gauge("go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	_, err := w.WriteTo(out)
	return err
}

func memoryMetrics(w *prom.Writer, m memmgr.Stats) {
	w.Gauge("plimsoll_memory_limit_bytes", "The limit of the process.", float64(m.Limit))
	w.Gauge("plimsoll_memory_budget_bytes", "What the accounts share.", float64(m.Budget))
	w.Gauge("plimsoll_memory_free_bytes", "Shared bytes that no account has been granted.", float64(m.Free))
	w.Gauge("plimsoll_memory_level", "Pressure: 0 normal, 1 elevated, 2 high, 3 critical.", float64(m.Level))
	w.Gauge("plimsoll_memory_pressure_ratio", "The fullest source, 1 being full.", m.Pressure)
	for i, d := range m.InLevel {
		w.Counter("plimsoll_memory_level_seconds_total", "Time spent in each level.", d.Seconds(), "level", memmgr.Level(i).String())
	}
	w.Counter("plimsoll_memory_level_changes_total", "Changes of the level.", float64(m.Changes))
	w.Bool("plimsoll_memory_stuck", "Whether the level is critical and nothing registered lowers it.", m.Stuck)
	for _, s := range m.Sources {
		w.Gauge("plimsoll_memory_source_used_bytes", "The last reading of each source.", float64(s.Used), "source", s.Name)
		w.Gauge("plimsoll_memory_source_full_bytes", "What each source regards as full.", float64(s.Full), "source", s.Name)
	}
	for _, a := range m.Accounts {
		w.Gauge("plimsoll_memory_account_used_bytes", "Reserved by each account.", float64(a.Used), "account", a.Name)
		w.Gauge("plimsoll_memory_account_peak_bytes", "The most that each account has held.", float64(a.Peak), "account", a.Name)
		w.Gauge("plimsoll_memory_account_max_bytes", "The bound of each account.", float64(a.Max), "account", a.Name)
		for _, r := range []struct {
			reason string
			n      uint64
		}{{"budget", a.RefusedBudget}, {"max", a.RefusedMax}, {"pressure", a.RefusedPressure}, {"invalid", a.RefusedInvalid}} {
			w.Counter("plimsoll_memory_account_refused_total", "Reservations refused.", float64(r.n), "account", a.Name, "reason", r.reason)
		}
	}
	w.Counter("plimsoll_memory_admission_refused_total", "New work refused for pressure.", float64(m.Refused))
	w.Gauge("plimsoll_memory_admission_refusing_ratio", "Share of new work that is being refused.", m.Refusing)
	for _, r := range m.Reclaim {
		w.Counter("plimsoll_memory_reclaimed_bytes_total", "Given back under pressure.", float64(r.Freed), "reclaimer", r.Name)
		w.Counter("plimsoll_memory_reclaim_runs_total", "Times a reclaimer was called.", float64(r.Calls), "reclaimer", r.Name)
		w.Counter("plimsoll_memory_reclaim_errors_total", "Of them, those that failed or hung.", float64(r.Errors+r.Timeouts), "reclaimer", r.Name)
	}
	for _, s := range m.Sweeps {
		w.Counter("plimsoll_sweep_runs_total", "Sweeps that ended.", float64(s.Runs), "sweep", s.Name)
		w.Counter("plimsoll_sweep_errors_total", "Of them, those that failed.", float64(s.Errors), "sweep", s.Name)
		w.Counter("plimsoll_sweep_archived_rows_total", "Moved to the archive.", float64(s.Total.Archived), "sweep", s.Name)
		w.Counter("plimsoll_sweep_deleted_rows_total", "Deleted, the archived ones included.", float64(s.Total.Deleted), "sweep", s.Name)
	}
	w.Gauge("process_resident_memory_bytes", "Resident set of the process.", float64(m.Sample.RSS))
	w.Gauge("go_memory_used_bytes", "What the Go runtime holds and has not returned.", float64(m.Sample.GoTotal))
	w.Gauge("go_memory_limit_bytes", "GOMEMLIMIT.", float64(m.Sample.GoLimit))
	w.Gauge("go_heap_live_bytes", "Heap that the last collection found reachable.", float64(m.Sample.Live))
	w.Counter("go_gc_cycles_total", "Finished collections.", float64(m.Sample.GCCycles))
}

func connectionMetrics(w *prom.Writer, c connmgr.Stats) {
	w.Gauge("plimsoll_connections", "Sockets admitted.", float64(c.Conns))
	w.Gauge("plimsoll_connections_accepted", "TCP connections behind the listener.", float64(c.Open))
	w.Gauge("plimsoll_connection_users", "Different users among the sockets.", float64(c.Users))
	w.Gauge("plimsoll_connection_addresses", "Different addresses among the sockets.", float64(c.Addrs))
	w.Bool("plimsoll_draining", "Whether the node sends its people elsewhere.", c.Draining)
	w.Counter("plimsoll_connections_admitted_total", "Sockets admitted since the start.", float64(c.Admitted))
	w.Counter("plimsoll_connections_evicted_total", "Sockets closed for a newer one of their user.", float64(c.Evicted))
	reasons(w, "plimsoll_connections_refused_total", "Connections refused.", c.Refused, "where", "upgrade")
	reasons(w, "plimsoll_connections_refused_total", "Connections refused.", c.AcceptRefused, "where", "accept")
}

func socketMetrics(w *prom.Writer, f figures) {
	s := f.Sockets
	w.Gauge("plimsoll_sessions", "Sessions of the hub, those away included.", float64(s.Peers))
	w.Gauge("plimsoll_sockets", "Open WebSockets.", float64(s.Sockets))
	w.Gauge("plimsoll_sockets_parked", "Of them, without a goroutine while idle.", float64(s.Parked))
	w.Gauge("plimsoll_rooms", "Open rooms.", float64(s.Rooms))
	w.Gauge("plimsoll_queue_bytes", "Queued, kept for resume or being read.", float64(s.QueueBytes))
	w.Counter("plimsoll_messages_received_total", "Messages from clients.", float64(s.MessagesIn))
	w.Counter("plimsoll_messages_sent_total", "Messages to clients, each receiver counted.", float64(s.MessagesOut))
	w.Counter("plimsoll_socket_writes_total", "Writes that carried them.", float64(s.Writes))
	w.Counter("plimsoll_socket_received_bytes_total", "Read from WebSockets.", float64(s.BytesIn))
	w.Counter("plimsoll_socket_sent_bytes_total", "Written to WebSockets.", float64(s.BytesOut))
	w.Counter("plimsoll_sessions_lost_total", "Times a socket was lost and its session waited.", float64(s.Away))
	w.Counter("plimsoll_sessions_resumed_total", "Times one came back.", float64(s.Resumed))
	w.Counter("plimsoll_sessions_shed_total", "Peers ended or cut for memory.", float64(s.Shed))
	w.Counter("plimsoll_panics_total", "Callbacks that panicked.", float64(s.Panics)+float64(f.Presence.Panics))
	for _, code := range slices.Sorted(maps.Keys(s.Closed)) {
		w.Counter("plimsoll_sessions_closed_total", "Sessions over, by close code.", float64(s.Closed[code]), "code", strconv.Itoa(code))
	}
	counts(w, "plimsoll_handshakes_refused_total", "WebSocket handshakes refused.", s.Refused, "reason")
	counts(w, "plimsoll_messages_dropped_total", "Messages dropped from queues.", s.Dropped, "reason")
	counts(w, "plimsoll_signals_total", "WebRTC messages, by outcome.", s.Relayed, "outcome")
	w.Counter("plimsoll_bus_errors_total", "Calls of the hub's bus that failed.", float64(s.BusErrors))
	w.Counter("plimsoll_bus_gaps_total", "Gaps that the hub's bus told of.", float64(s.BusGaps))
}

func presenceMetrics(w *prom.Writer, f figures) {
	p := f.Presence
	w.Gauge("plimsoll_presence_users", "Users with a socket or in their grace.", float64(p.Here))
	w.Gauge("plimsoll_presence_watchers", "Open watchers.", float64(p.Watchers))
	w.Gauge("plimsoll_presence_bytes", "Reserved for all of it.", float64(p.Bytes))
	w.Counter("plimsoll_presence_changes_total", "Changes that were told.", float64(p.Joins), "change", "join")
	w.Counter("plimsoll_presence_changes_total", "", float64(p.Leaves), "change", "leave")
	w.Counter("plimsoll_presence_changes_total", "", float64(p.Updates), "change", "update")
	w.Counter("plimsoll_presence_silenced_total", "Changes taken back before they were told.", float64(p.Silenced))
	w.Counter("plimsoll_presence_diffs_total", "Diffs given to watchers.", float64(p.Delivered))
	w.Counter("plimsoll_presence_resyncs_total", "Of them, whole windows.", float64(p.Resyncs))
	reasons(w, "plimsoll_presence_refused_total", "Calls that a bound refused.", p.Refused)
}

func compressMetrics(w *prom.Writer, f figures) {
	c := f.Compress
	for _, coding := range slices.Sorted(maps.Keys(c.Codings)) {
		s := c.Codings[coding]
		w.Counter("plimsoll_compress_before_bytes_total", "Before encoding.", float64(s.Before), "coding", coding)
		w.Counter("plimsoll_compress_after_bytes_total", "After encoding.", float64(s.After), "coding", coding)
		w.Counter("plimsoll_compress_seconds_total", "Time in the encoders.", s.Time.Seconds(), "coding", coding)
	}
	for _, reason := range slices.Sorted(maps.Keys(c.Passed)) {
		w.Counter("plimsoll_compress_passed_total", "Answers that went out as they were.", float64(c.Passed[reason]), "reason", reason)
	}
	w.Counter("plimsoll_compress_refused_total", "Bodies left uncompressed for want of an encoder or memory.", float64(c.RefusedBusy), "reason", "busy")
	w.Counter("plimsoll_compress_refused_total", "", float64(c.RefusedMemory), "reason", "memory")
	w.Gauge("plimsoll_compress_buffered_bytes", "Held for bodies.", float64(c.BufferedBytes))
	w.Gauge("plimsoll_compress_encoder_bytes", "Held for idle encoders.", float64(c.EncoderBytes))
}

func savingsMetrics(w *prom.Writer, f savingsFigures) {
	for _, l := range []struct {
		name string
		layerFigures
	}{{"http", f.HTTP}, {"queue", f.Queue}, {"socket", f.Socket}} {
		w.Counter("speeddating_savings_before_bytes_total", "What each layer was given to send; see -savings.", float64(l.BeforeBytes), "layer", l.name)
		w.Counter("speeddating_savings_after_bytes_total", "What it sent, headers of frames included.", float64(l.AfterBytes), "layer", l.name)
	}
}

func platformMetrics(w *prom.Writer, p dating.Stats) {
	w.Gauge("speeddating_online_users", "People here, on all nodes.", float64(p.Live.OnlineUsers))
	w.Gauge("speeddating_available_users", "Of them, free.", float64(p.Live.AvailableUsers))
	w.Gauge("speeddating_calls", "Calls in progress, on all nodes.", float64(p.Live.ActiveCalls))
	w.Gauge("speeddating_node_people", "People with a socket on this node.", float64(p.People))
	w.Gauge("speeddating_node_invites", "Open invites of callers on this node.", float64(p.Invites))
	w.Gauge("speeddating_node_calls", "Calls that this node owns.", float64(p.Calls))
	w.Counter("speeddating_invites_total", "Invites since the start.", float64(p.Invited))
	w.Counter("speeddating_calls_total", "Calls since the start.", float64(p.Called))
	w.Counter("speeddating_events_total", "Events given to sockets.", float64(p.Events))
	w.Counter("speeddating_orphans_total", "Calls of dead nodes that were finished.", float64(p.Orphans))
	w.Counter("speeddating_notices_dropped_total", "Notices to other nodes that did not fit.", float64(p.Dropped))
	for _, c := range []struct {
		name string
		dating.Cache
	}{{"users", p.Users}, {"sessions", p.Sessions}, {"relations", p.Relations}, {"media", p.Media}} {
		w.Gauge("plimsoll_cache_entries", "Entries in each cache.", float64(c.Entries), "cache", c.name)
		w.Gauge("plimsoll_cache_bytes", "Bytes in each cache, where it is bounded by bytes.", float64(c.Bytes), "cache", c.name)
		w.Counter("plimsoll_cache_hits_total", "Look-ups that found something.", float64(c.Hits), "cache", c.name)
		w.Counter("plimsoll_cache_misses_total", "Look-ups that did not.", float64(c.Misses), "cache", c.name)
		w.Counter("plimsoll_cache_evictions_total", "Entries that left for want of room.", float64(c.Evictions), "cache", c.name)
		w.Counter("plimsoll_cache_loads_total", "Loads from the database.", float64(c.Loads), "cache", c.name)
	}
	s := p.Store
	w.Counter("speeddating_store_statements_total", "Statements, without BEGIN and COMMIT.", float64(s.Statements))
	w.Counter("speeddating_store_transactions_total", "Commits.", float64(s.Transactions))
	w.Counter("speeddating_store_waits_total", "Requests that waited for a connection.", float64(s.Waits))
	w.Counter("speeddating_store_refused_total", "Requests refused for a full queue or too long a wait.", float64(s.Refused))
	w.Counter("speeddating_store_errors_total", "Faults of the database.", float64(s.Errors))
	b := p.Bus
	w.Gauge("speeddating_bus_nodes", "Nodes on the bus.", float64(b.Nodes))
	w.Counter("speeddating_bus_published_total", "Messages handed to the bus.", float64(b.Published))
	w.Counter("speeddating_bus_delivered_total", "Messages that reached a node.", float64(b.Delivered))
	w.Counter("speeddating_bus_requests_total", "Commands sent to another node.", float64(b.Requests))
	w.Counter("speeddating_bus_dropped_total", "Messages that did not fit.", float64(b.Dropped))
}

// reasons writes a struct of counters, one sample a field, with the field's
// name as the reason.
func reasons(w *prom.Writer, name, help string, counters any, labels ...string) {
	v := reflect.ValueOf(counters)
	for i := range v.NumField() {
		field := v.Type().Field(i).Name
		var reason strings.Builder
		for j, r := range field {
			if 'A' <= r && r <= 'Z' {
				if j > 0 && field[j-1] >= 'a' {
					reason.WriteByte('_')
				}
				r += 'a' - 'A'
			}
			reason.WriteRune(r)
		}
		w.Counter(name, help, float64(v.Field(i).Uint()), append(labels[:len(labels):len(labels)], "reason", reason.String())...)
	}
}

// counts writes a map of counters in the order of its keys.
func counts(w *prom.Writer, name, help string, m map[string]int64, label string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		w.Counter(name, help, float64(m[key]), label, key)
	}
}
