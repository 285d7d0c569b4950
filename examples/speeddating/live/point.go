package live

import "time"

// Point is one step of the past: the most of what was seen in it, and the sum
// of what was refused and sent.
type Point struct {
	At       int64   `json:"at"` // Unix time in milliseconds, when it begins
	Level    int     `json:"level"`
	Pressure float64 `json:"pressure"` // the fullest source, 1 being full
	Used     []int64 `json:"used"`     // bytes by account
	Occupied int64   `json:"occupied"` // bytes of the process, garbage included
	Online   int     `json:"online"`
	Free     int     `json:"free"`
	Calls    int     `json:"calls"`
	Sockets  int     `json:"sockets"`
	Refused  uint64  `json:"refused"` // admissions, connections and reservations
	Sent     uint64  `json:"sent"`    // bytes to sockets
	Asked    uint64  `json:"asked"`   // statements of the database
}

func pointOf(at time.Time, last, r *Reading) Point {
	m := &r.Memory
	p := Point{
		At: at.UnixMilli(), Level: int(m.Level), Pressure: m.Pressure, Occupied: m.Sample.GoTotal + m.Sample.NotGo,
		Online: r.Online, Free: r.Free, Calls: r.Calls, Sockets: r.Sockets,
		Refused: m.Refused - last.Memory.Refused + r.Refused - last.Refused,
		Sent:    r.Sent - last.Sent, Asked: r.Statements - last.Statements,
	}
	for i, a := range m.Accounts {
		p.Used = append(p.Used, a.Used)
		if i < len(last.Memory.Accounts) {
			p.Refused += refusedBy(&a) - refusedBy(&last.Memory.Accounts[i])
		}
	}
	return p
}

// ring keeps the last points in steps, oldest first.
type ring struct {
	step   time.Duration
	max    int
	points []Point // next is the oldest once it is full
	next   int
}

// add puts p into the step that it falls in, or begins one.
func (g *ring) add(p Point) {
	if n := len(g.points); n > 0 {
		newest := &g.points[(g.next+n-1)%n]
		if since := p.At - newest.At; 0 <= since && since < g.step.Milliseconds() && g.step > time.Second {
			newest.merge(&p)
			return
		}
	}
	p.Used = append([]int64{}, p.Used...) // a merge changes it
	if len(g.points) < g.max {
		g.points = append(g.points, p)
		return
	}
	g.points[g.next] = p
	g.next = (g.next + 1) % g.max
}

func (g *ring) all() []Point {
	out := make([]Point, 0, len(g.points))
	for i := range g.points {
		p := g.points[(g.next+i)%len(g.points)]
		p.Used = append([]int64{}, p.Used...) // whoever reads this does so without a lock
		out = append(out, p)
	}
	return out
}

func (p *Point) merge(q *Point) {
	p.Level, p.Pressure, p.Occupied = max(p.Level, q.Level), max(p.Pressure, q.Pressure), max(p.Occupied, q.Occupied)
	p.Online, p.Free, p.Calls, p.Sockets = max(p.Online, q.Online), max(p.Free, q.Free), max(p.Calls, q.Calls), max(p.Sockets, q.Sockets)
	p.Refused, p.Sent, p.Asked = p.Refused+q.Refused, p.Sent+q.Sent, p.Asked+q.Asked
	for i := range min(len(p.Used), len(q.Used)) {
		p.Used[i] = max(p.Used[i], q.Used[i])
	}
}
