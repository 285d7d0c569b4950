package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is the outcome of Run. What is not said otherwise is of the window.
type Report struct {
	Users     int           `json:"users"`
	Connected int64         `json:"connected"` // at the end of the window
	Window    time.Duration `json:"windowns"`

	CallsStarted   int64   `json:"callsStarted"` // invitations
	CallsCompleted int64   `json:"callsCompleted"`
	CallsPerMinute float64 `json:"callsPerMinute"` // completed
	MessagesPerSec float64 `json:"messagesPerSec"` // received from the server, by everybody

	// PresencePerMinute is how many messages told anybody who is free. A
	// server that tells everybody of everything sends 3 N² under this load.
	PresencePerMinute float64 `json:"presencePerMinute"`

	// Over the whole run: numbered messages that were checked, and what was
	// wrong with them.
	Checked   int64 `json:"checked"`
	Lost      int64 `json:"lost"`
	Doubled   int64 `json:"doubled"`
	Reordered int64 `json:"reordered"`

	Cuts    int64            `json:"cuts"`    // sockets that were cut, whole run
	Resumed int64            `json:"resumed"` // and came back into their session
	Errors  map[string]int64 `json:"errors"`  // by reason, whole run

	// With Options.Faults, whole run: what the platform said of them, sessions
	// that were replaced and found their call again, and how long people were
	// without a socket.
	Announced map[string]int64 `json:"announced,omitempty"`
	Rejoined  int64            `json:"rejoined,omitempty"`
	Back      Latency          `json:"back"`

	SignUp    Latency `json:"signUp"`         // whole run: POST /auth/guest
	Connect   Latency `json:"connect"`        // whole run: handshake until hello
	Notify    Latency `json:"inviteToNotify"` // call:invite → call:notify
	Start     Latency `json:"acceptToStart"`  // call:accept → call:start, both sides
	SDP       Latency `json:"sdp"`            // rtc:offer and rtc:answer, one way
	Chat      Latency `json:"chat"`           // room:chat, one way
	Finalized Latency `json:"endToFinalized"` // call:end → session:finalized, both sides
	QueueRead Latency `json:"queueRead"`      // GET /room/queue
	Unchanged int64   `json:"queueUnchanged"` // of these, answers 304

	// Bytes a minute on the TCP connections.
	WebSocketIn  float64 `json:"webSocketInPerMinute"` // to the clients
	WebSocketOut float64 `json:"webSocketOutPerMinute"`
	HTTPIn       float64 `json:"httpInPerMinute"`
	HTTPOut      float64 `json:"httpOutPerMinute"`

	Server *ServerUsage  `json:"server,omitempty"` // with Options.PID
	Health *ServerHealth `json:"health,omitempty"` // where /health answers

	Kinds map[string]Kind `json:"kinds"` // of messages to the clients, in the window
	Steps []Step          `json:"steps"` // the whole run, at most 600
}

func (r *runner) report(server *ServerUsage) *Report {
	f := &r.figures
	f.mu.Lock()
	faults, announced := maps.Clone(f.errors), maps.Clone(f.announced)
	f.mu.Unlock()
	minutes := f.took.Minutes()
	rate := func(i int) float64 { return float64(f.end[i]-f.base[i]) / minutes }
	return &Report{
		Users: r.opt.Users, Connected: f.connectedAtEnd, Window: f.took,
		CallsStarted: f.attemptedIn.Load(), CallsCompleted: f.completedIn.Load(),
		CallsPerMinute: float64(f.completedIn.Load()) / minutes,
		MessagesPerSec: float64(f.messagesAfter-f.messagesBefore) / f.took.Seconds(),

		PresencePerMinute: float64(f.presenceAfter-f.presenceBefore) / minutes,
		Checked:           f.checked.Load(), Lost: f.lost.Load(), Doubled: f.doubled.Load(), Reordered: f.reordered.Load(),
		Cuts: f.cuts.Load(), Resumed: f.resumed.Load(), Errors: faults,
		Announced: announced, Rejoined: f.rejoined.Load(), Back: f.back.summary(),
		SignUp: f.signUp.summary(), Connect: f.connect.summary(),
		Notify: f.notify.summary(), Start: f.start.summary(), SDP: f.sdp.summary(), Chat: f.chat.summary(),
		Finalized: f.finalized.summary(), QueueRead: f.queueRead.summary(), Unchanged: f.notModified.Load(),
		WebSocketIn: rate(0), WebSocketOut: rate(1), HTTPIn: rate(2), HTTPOut: rate(3),
		Server: server, Kinds: r.kinds.all(), Steps: r.series.all(),
	}
}

// OK reports whether everybody was connected at the end, nothing was lost,
// doubled or reordered, and there was no error.
func (r *Report) OK() bool {
	return r.Connected == int64(r.Users) && r.Lost+r.Doubled+r.Reordered == 0 && len(r.Errors) == 0
}

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("users", "%d, connected at the end %d", r.Users, r.Connected)
	row("window", "%v", r.Window.Round(time.Second))
	row("calls", "%d started, %d completed, %.0f a minute", r.CallsStarted, r.CallsCompleted, r.CallsPerMinute)
	row("messages to clients", "%.0f a second", r.MessagesPerSec)
	row("who is free", "%.0f messages a minute; everything to everybody would be 3 N² = %d", r.PresencePerMinute, 3*r.Users*r.Users)
	row("numbered messages", "%d checked: %d lost, %d doubled, %d reordered", r.Checked, r.Lost, r.Doubled, r.Reordered)
	if r.Cuts > 0 {
		row("sockets cut", "%d, resumed %d", r.Cuts, r.Resumed)
	}
	mb := func(v float64) float64 { return v / 1e6 }
	row("MB a minute", "WebSocket %.2f down, %.2f up; HTTP %.2f down, %.2f up", mb(r.WebSocketIn), mb(r.WebSocketOut), mb(r.HTTPIn), mb(r.HTTPOut))
	row("queue reads", "%d, of these 304 %d", r.QueueRead.Count, r.Unchanged)
	if s := r.Server; s != nil {
		row("server memory", "%.1f MiB before, mean %.1f, max %.1f, peak %.1f",
			mib(s.RSSBefore), mib(s.RSSMean), mib(s.RSSMax), mib(s.RSSPeak))
		row("server CPU", "%.2f cores", s.Cores)
	}
	if h := r.Health; h != nil {
		row("database", "%.0f statements a minute; hit rate of users %.1f %%, of sessions %.1f %%", h.StatementsPerMinute, 100*h.UsersHitRate, 100*h.SessionsHitRate)
		row("server memory level", "%s, %.1f MiB reserved", h.MemoryLevel, mib(h.Reserved))
		for _, name := range slices.Sorted(maps.Keys(h.Layers)) {
			l := h.Layers[name]
			unit := "MB"
			if name == "batch" {
				unit = "million messages and writes"
			}
			row("saved by "+name, "%.2f → %.2f %s, %.1f %% less", l.Before/1e6, l.After/1e6, unit, 100*(1-l.After/l.Before))
		}
	}
	fmt.Fprintf(w, "\nms\tp50\tp95\tp99\tmax\tcount\n")
	for _, l := range r.latencies() {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", l.name, ms(l.P50), ms(l.P95), ms(l.P99), ms(l.Max), l.Count)
	}
	for name, list := range map[string]map[string]int64{"error": r.Errors, "announced": r.Announced} {
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\tcount\n", name)
		for _, reason := range slices.Sorted(maps.Keys(list)) {
			fmt.Fprintf(w, "%s\t%d\n", reason, list[reason])
		}
	}
	return w.Flush()
}

type namedLatency struct {
	name string
	Latency
}

func (r *Report) latencies() []namedLatency {
	return []namedLatency{
		{"sign-up", r.SignUp}, {"connect", r.Connect}, {"invite → notify", r.Notify}, {"accept → start", r.Start},
		{"SDP one way", r.SDP}, {"chat one way", r.Chat}, {"end → finalized", r.Finalized}, {"GET /room/queue", r.QueueRead},
		{"without a socket", r.Back},
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
