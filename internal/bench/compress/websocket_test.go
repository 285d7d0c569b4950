package compress

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/plimsoll-go/plimsoll/compress"
)

// The stream of one client: presence 55 %, candidates 16 %, its queue (20
// cards) 18 %, the lobby (120 cards) 7 %, session descriptions 4 %. Between
// two lists a few people move and a few fields change.

type person struct {
	UserID       string `json:"userId" delta:"key"`
	Name         string `json:"name"`
	Gender       string `json:"gender"`
	SelfieURL    string `json:"selfieUrl" delta:"prefix=https://media.example.com/selfies/,suffix=.webp"`
	VideoURL     string `json:"videoUrl" delta:"prefix=https://media.example.com/videos/,suffix=.mp4"`
	HasCooldown  bool   `json:"hasCooldown"`
	LastActiveAt string `json:"lastActiveAt"`
}

type presence struct {
	UserID       string `json:"userId" delta:"key"`
	IsOnline     bool   `json:"isOnline"`
	IsInQueue    bool   `json:"isInQueue"`
	LastActiveAt string `json:"lastActiveAt" delta:"suffix=Z"`
}

type candidate struct {
	RoomID    string `json:"roomId"`
	From      string `json:"from"`
	Candidate string `json:"candidate" delta:"prefix=candidate:"`
	Mid       string `json:"sdpMid"`
	Line      int    `json:"sdpMLineIndex"`
}

// status is a presence that names the person by the place in the lobby, which
// the client has. As a row it begins with its kind, and is a message.
type status struct {
	Kind         string `json:"kind"`
	Place        int    `json:"place"`
	IsOnline     bool   `json:"isOnline"`
	IsInQueue    bool   `json:"isInQueue"`
	LastActiveAt string `json:"lastActiveAt" delta:"suffix=Z"`
}

// description is what travels of an offer: whom it is from the client knows.
type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

type event struct {
	kind   string // the type of the naive message
	data   any
	rows   []person
	list   int // 1 the queue, 2 the lobby
	status *status
	offer  *description
}

func events(n int, weights [5]int, seed uint64) []event {
	r := rand.New(rand.NewPCG(seed, 1))
	hex := func(n int) string { return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())[:n] }
	uuid := func() string { return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12) }
	clock := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	now := func() string {
		clock = clock.Add(37 * time.Millisecond)
		return clock.Format("2006-01-02T15:04:05.000Z")
	}
	names := strings.Fields("Ana Ben Cleo Dan Eva Finn Gia Hugo Ida Jan Kim Leo Mia Noa Ole Pia Quinn Rosa Sam Tea")
	make1 := func() person {
		return person{uuid(), names[r.IntN(20)], []string{"female", "male", "nonbinary"}[r.IntN(3)],
			"https://media.example.com/selfies/" + hex(16) + ".webp", "https://media.example.com/videos/" + hex(16) + ".mp4", r.IntN(9) == 0, now()}
	}
	lists := [3][]person{}
	for i, n := range []int{0, 20, 120} {
		for range n {
			lists[i] = append(lists[i], make1())
		}
	}
	change := func(i, swaps, fields int) []person {
		l := slices.Clone(lists[i])
		for range swaps {
			at := r.IntN(len(l))
			l = append(slices.Delete(l, at, at+1), make1())
		}
		for range fields {
			p := &l[r.IntN(len(l))]
			if r.IntN(3) == 0 {
				p.HasCooldown = !p.HasCooldown
			} else {
				p.LastActiveAt = now()
			}
		}
		lists[i] = l
		return l
	}
	room, other := uuid(), uuid()
	sdp := "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS\r\n" + strings.Repeat("a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=fmtp:97 apt=96\r\n", 28)
	total := 0
	for _, w := range weights {
		total += w
	}
	var out []event
	for range n {
		k, i := r.IntN(total), 0
		for k >= weights[i] {
			k -= weights[i]
			i++
		}
		switch i {
		case 0:
			at := r.IntN(120)
			s := &status{"p", at, r.IntN(5) > 0, r.IntN(2) > 0, now()}
			out = append(out, event{kind: "presence:update", data: &presence{lists[2][at].UserID, s.IsOnline, s.IsInQueue, s.LastActiveAt}, status: s})
		case 1:
			out = append(out, event{kind: "rtc:ice", data: &candidate{room, other, fmt.Sprintf("candidate:%d 1 udp %d 203.0.113.%d %d typ srflx raddr 0.0.0.0 rport 0 generation 0 ufrag EsAw network-cost 999", r.Uint32(), r.Uint32(), r.IntN(255), 1024+r.IntN(60000)), "0", r.IntN(2)}})
		case 2:
			out = append(out, event{kind: "queue:update", rows: change(1, 1, 3), list: 1})
		case 3:
			out = append(out, event{kind: "lobby:update", rows: change(2, 2, 18), list: 2})
		case 4:
			offer := &description{"offer", sdp + "a=ice-pwd:" + hex(24) + "\r\na=fingerprint:sha-256 " + hex(32) + hex(32) + "\r\n"}
			out = append(out, event{kind: "rtc:offer", data: map[string]any{"roomId": room, "from": other, "description": offer}, offer: offer})
		}
	}
	return out
}

// frame is what a message of n bytes takes with its header.
func frame(n int) int {
	switch {
	case n < 126:
		return n + 2
	case n < 1<<16:
		return n + 4
	}
	return n + 10
}

// wire is a connection to a client that takes everything, and counts it from
// the first message on.
type wire struct {
	net.Conn
	n int
}

func (w *wire) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}
func (w *wire) Close() error                     { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }

// hijacked is the ResponseWriter of a request whose connection is a wire.
type hijacked struct {
	http.ResponseWriter
	to *wire
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.to, bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(h.to)), nil
}

// takeover is what goes over the wire for messages under compress.Takeover,
// headers included, the time that deflating each of them took, and the memory
// that the connection has reserved.
func takeover(messages [][]byte) (n int, took []time.Duration, memory int64) {
	c := must(compress.New(compress.Options{MaxEncoders: 2, MaxBufferedBytes: 1 << 20}))
	to := &wire{}
	h := must(c.Takeover(compress.TakeoverOptions{MaxMessageBytes: 1 << 20}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := must(new(websocket.Upgrader).Upgrade(w, r, nil))
		to.n = 0
		before := time.Duration(0)
		for _, m := range messages {
			if err := conn.WriteMessage(websocket.TextMessage, m); err != nil {
				panic(err)
			}
			sum := c.Stats().Codings["permessage-deflate"].Time
			took = append(took, sum-before)
			before = sum
		}
		memory = c.Stats().BufferedBytes
	})))
	h.ServeHTTP(hijacked{httptest.NewRecorder(), to}, upgrade())
	return to.n, took, memory
}

// deflated is what permessage-deflate without context takeover makes of it.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

func (d *deflater) size(message []byte, level int) int {
	if d.w == nil {
		d.w = must(flate.NewWriter(&d.out, level))
	}
	d.out.Reset()
	d.w.Reset(&d.out)
	d.w.Write(message)
	d.w.Flush()
	return d.out.Len() - 4
}

// encoder makes messages of events as a server would that has their state.
type encoder struct {
	presence *compress.Delta[presence] // for viewers who do not need all of it
	statuses *compress.Projection[status]
	ice      *compress.Projection[candidate]
	offers   *compress.Projection[description]
	lists    [3]*compress.Delta[person]
}

// newEncoder is for viewers who need these fields of a presence; all if none.
func newEncoder(fields ...string) *encoder {
	e := &encoder{
		statuses: must(compress.NewProjection[status]()),
		ice:      must(compress.NewProjection[candidate]("candidate", "sdpMid", "sdpMLineIndex")),
		offers:   must(compress.NewProjection[description]()),
	}
	if len(fields) > 0 {
		e.presence = must(compress.NewDelta[presence](compress.DeltaOptions{MaxBytes: 1 << 20, Ordered: true, Fields: fields}))
	}
	for i := range e.lists {
		e.lists[i] = must(compress.NewDelta[person](compress.DeltaOptions{MaxBytes: 1 << 20, Ordered: true}))
	}
	return e
}

// message is nil when nothing changed that the viewer sees.
func (e *encoder) message(dst []byte, ev event) []byte {
	switch {
	case ev.list > 0:
		frame := must(e.lists[ev.list].Update(ev.rows, len(ev.rows)))
		return append(append(append(dst, `["`+"_ql"[ev.list:ev.list+1]+`",`...), frame...), ']')
	case ev.kind == "presence:update" && e.presence == nil:
		return must(e.statuses.Append(dst, ev.status))
	case ev.kind == "presence:update":
		frame := must(e.presence.Set(ev.data.(*presence)))
		if frame == nil {
			return nil
		}
		return append(append(append(dst, `["p",`...), frame...), ']')
	case ev.kind == "rtc:ice":
		return append(must(e.ice.Append(append(dst, `["i",`...), ev.data.(*candidate))), ']')
	}
	return append(must(e.offers.Append(append(dst, `["o",`...), ev.offer)), ']')
}

// batches joins the messages of a tick, n at most.
func batches(messages [][]byte, n int) (out [][]byte) {
	b := must(compress.NewBatcher(compress.BatcherOptions{MaxMessages: n, MaxBytes: 64 << 10, MaxDelay: time.Hour}, func(b []byte, _ int) {
		out = append(out, bytes.Clone(b))
	}))
	for _, m := range messages {
		b.Add(m)
	}
	b.Close()
	return out
}

// inFrames is what messages take when each is deflated alone, if it is worth it.
func inFrames(messages [][]byte) (wire int) {
	var d deflater
	for _, m := range messages {
		n := len(m)
		if compress.WorthDeflating(m) {
			n = min(n, d.size(m, 1))
		}
		wire += frame(n)
	}
	return wire
}

// encode makes messages of events several times, and returns the median of
// the times that each took.
func encode(all []event) (messages [][]byte, took []time.Duration) {
	took = medians(*rounds, func() (took []time.Duration) {
		enc := newEncoder()
		messages = messages[:0]
		for _, e := range all {
			dst := make([]byte, 0, 128)
			start := time.Now()
			m := enc.message(dst, e)
			took = append(took, time.Since(start))
			messages = append(messages, m)
		}
		return took
	})
	return messages, took
}

// takeovers is takeover, with the median of several times.
func takeovers(messages [][]byte) (n int, took []time.Duration, memory int64) {
	took = medians(*rounds, func() (took []time.Duration) {
		n, took, memory = takeover(messages)
		return took
	})
	return n, took, memory
}

// broadcasts sends messages in Frames to two viewers, and returns the medians
// of the times that each took from message to wire for the first, who has it
// deflated, and for the second.
func broadcasts(messages [][]byte) (first, more []time.Duration) {
	send := func(conn *websocket.Conn, frame *compress.Frame) {
		if err := frame.WriteTo(conn); err != nil {
			panic(err)
		}
	}
	for i := range 2 {
		times := medians(*rounds, func() (took []time.Duration) {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn := must((&websocket.Upgrader{EnableCompression: true}).Upgrade(w, r, nil))
				for _, m := range messages {
					start := time.Now()
					frame := must(compress.NewFrame(websocket.TextMessage, m))
					send(conn, frame)
					if i == 1 {
						start = time.Now()
						send(conn, frame)
					}
					took = append(took, time.Since(start))
				}
			})
			h.ServeHTTP(hijacked{httptest.NewRecorder(), &wire{}}, upgrade())
			return took
		})
		if i == 0 {
			first = times
		} else {
			more = times
		}
	}
	return first, more
}

// upgrade is a request for a WebSocket that deflates.
func upgrade() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for _, line := range []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions: permessage-deflate"} {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func medians(rounds int, measure func() []time.Duration) (result []time.Duration) {
	var all [][]time.Duration
	for range rounds {
		all = append(all, measure())
	}
	for i := range all[0] {
		var one []time.Duration
		for _, times := range all {
			one = append(one, times[i])
		}
		result = append(result, median(one))
	}
	return result
}

func median(d []time.Duration) time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }

func mean(d []time.Duration) (m time.Duration) {
	for _, one := range d {
		m += one
	}
	return m / time.Duration(len(d))
}

// TestStream prints what becomes of 1500 messages, as the bytes on the wire.
func TestStream(t *testing.T) {
	for _, mix := range []struct {
		name    string
		weights [5]int
		want    float64 // per cent saved
	}{{"mixed", [5]int{55, 16, 18, 7, 4}, 98}, {"no lobby", [5]int{65, 18, 13, 0, 4}, 95}, {"small only", [5]int{80, 20, 0, 0, 0}, 90}} {
		all := events(1500, mix.weights, 3)
		var naive, gorilla, projected int
		var d deflater
		start := time.Now()
		var whole [][]byte
		for _, e := range all {
			data := e.data
			if e.list > 0 {
				data = map[string]any{"cards": e.rows, "total": len(e.rows)}
			}
			whole = append(whole, must(json.Marshal(map[string]any{"type": e.kind, "data": data})))
		}
		marshal := time.Since(start)
		for _, m := range whole {
			naive += frame(len(m))
			gorilla += frame(d.size(m, 1))
		}
		var seen [][]byte
		messages, encoding := encode(all)
		enc := newEncoder("isOnline", "isInQueue")
		for _, e := range all {
			if m := enc.message(nil, e); m != nil {
				seen = append(seen, m)
			}
		}
		for _, m := range messages {
			projected += frame(len(m))
		}
		saved := func(n int) float64 { return 100 - 100*float64(n)/float64(naive) }
		var table strings.Builder
		line := func(name string, n int, note string) {
			fmt.Fprintf(&table, "%-40s %8d B, %5.2f %% saved%s\n", name, n, saved(n), note)
		}
		each := func(d time.Duration) float64 { return micros(d) / float64(len(all)) }
		line("naive JSON", naive, fmt.Sprintf(", %.1f us a message to encode", each(marshal)))
		line("gorilla's deflate", gorilla, "")
		line("projection and delta", projected, fmt.Sprintf(", %.1f us a message", micros(mean(encoding))))
		line("the same in Frames", inFrames(messages), "")
		line("the same, batches of 8", inFrames(batches(messages, 8)), "")
		wire, deflating, memory := takeovers(messages)
		line("under Takeover", wire, fmt.Sprintf(", %.1f us a message to deflate", micros(mean(deflating))))
		alone, best := wire, wire
		for _, n := range []int{8, 16} {
			wire, _, _ = takeover(batches(messages, n))
			line(fmt.Sprintf("under it, batches of %d", n), wire, "")
			best = min(best, wire)
		}
		lossy, _, _ := takeover(seen)
		line("under it, without lastActiveAt", lossy, "")
		wire, _, _ = takeover(batches(seen, 8))
		line("both, batches of 8", wire, "")
		fmt.Fprintf(&table, "saved without loss >= %.0f %%: %.2f %s, of lone messages %.2f %s; a connection: %d B\n", mix.want, saved(best), verdict(saved(best) >= mix.want), saved(alone), verdict(saved(alone) >= mix.want), memory)
		const viewers = 100
		first, more := broadcasts(messages)
		fmt.Fprintf(&table, "struct to wire, us           encode  Takeover     both    Frame  a further viewer (means)\n")
		for _, kind := range []string{"presence:update", "rtc:ice", "queue:update", "lobby:update", "rtc:offer", ""} {
			var a, b, c, d []time.Duration
			for i, e := range all {
				if kind == "" || e.kind == kind {
					a, b, c, d = append(a, encoding[i]), append(b, deflating[i]), append(c, first[i]), append(d, more[i])
				}
			}
			if len(a) > 0 {
				fmt.Fprintf(&table, "%-16s %6d x  %8.2f  %8.2f %8.2f %8.2f %8.2f\n", cmp.Or(kind, "all"), len(a), micros(mean(a)), micros(mean(b)), micros(mean(a)+mean(b)), micros(mean(c)), micros(mean(d)))
			}
		}
		once := mean(encoding) + mean(first)
		broadcast := (once + (viewers-1)*mean(more)) / viewers
		for i, d := range deflating {
			encoding[i] += d
		}
		goalLine := func(what string, d time.Duration) {
			fmt.Fprintf(&table, "%-58s <= 4 us: %5.2f %s\n", what, micros(d), verdict(d <= 4*time.Microsecond))
		}
		goalLine("struct to wire, for one viewer under Takeover, median", median(encoding))
		goalLine("the same, mean", mean(encoding))
		goalLine("encoded and deflated once for a broadcast, mean", once)
		goalLine(fmt.Sprintf("the same with the writes, for each of %d viewers", viewers), broadcast)
		t.Logf("%s: %d messages\n%s", mix.name, len(all), table.String())
		if saved(best) < mix.want {
			t.Errorf("%s: %.2f %% saved, want %.0f", mix.name, saved(best), mix.want)
		}
	}
}
