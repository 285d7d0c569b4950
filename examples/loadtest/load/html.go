package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Parse(reportHTML))

// WriteHTML writes the report as one page that needs nothing beside it: no
// script, no font, no picture.
func (r *Report) WriteHTML(out io.Writer, when time.Time) error {
	type figure struct{ Name, Value, Note string }
	type chart struct {
		Title string
		Keys  []curve
		SVG   template.HTML
	}
	type bar struct {
		Name, Before, After, Less string
		Part                      float64
	}
	page := struct {
		OK        bool
		When      string
		Users     int
		Verdict   string
		Figures   []figure
		Charts    []chart
		Latencies []figureRow
		Kinds     []figureRow
		Layers    []bar
		Errors    []figureRow
	}{OK: r.OK(), When: when.UTC().Format("2 January 2006, 15:04 UTC"), Users: r.Users}

	page.Verdict = "Everybody was connected, nothing was lost, doubled or reordered, nothing failed."
	if !page.OK {
		page.Verdict = fmt.Sprintf("%d of %d were connected at the end, and %d things went wrong.", r.Connected, r.Users, r.faults())
	}
	add := func(name, value, note string) { page.Figures = append(page.Figures, figure{name, value, note}) }
	add("connected", fmt.Sprintf("%d of %d", r.Connected, r.Users), "at the end of a window of "+r.Window.Round(time.Second).String())
	add("calls", fmt.Sprintf("%.0f a minute", r.CallsPerMinute), fmt.Sprintf("%d completed", r.CallsCompleted))
	add("invite → notify", millis(r.Notify.P99), "p99; p50 "+millis(r.Notify.P50))
	add("numbered messages", fmt.Sprint(r.Checked), fmt.Sprintf("%d lost, %d doubled, %d reordered", r.Lost, r.Doubled, r.Reordered))
	if s := r.Server; s != nil {
		add("server memory", fmt.Sprintf("%.1f MiB", mib(s.RSSPeak)), fmt.Sprintf("resident at its peak; mean %.1f MiB", mib(s.RSSMean)))
		add("server CPU", fmt.Sprintf("%.2f cores", s.Cores), "in the window")
	}
	traffic := r.WebSocketIn + r.WebSocketOut + r.HTTPIn + r.HTTPOut
	add("traffic", fmt.Sprintf("%.1f MB a minute", traffic/1e6), fmt.Sprintf("sockets %.1f, HTTP %.1f", (r.WebSocketIn+r.WebSocketOut)/1e6, (r.HTTPIn+r.HTTPOut)/1e6))
	if h := r.Health; h != nil {
		add("database", fmt.Sprintf("%.0f statements a minute", h.StatementsPerMinute), fmt.Sprintf("hit rates: users %.1f %%, sessions %.1f %%", 100*h.UsersHitRate, 100*h.SessionsHitRate))
	}

	plot := func(title, unit string, curves ...curve) {
		svg := draw(r.Steps, unit, curves)
		if svg != "" {
			page.Charts = append(page.Charts, chart{title, curves, svg})
		}
	}
	const a, b, c = "#35608f", "#bd6a45", "#2f7f79"
	plot("People", "", curve{"connected", a, func(s *Step) float64 { return float64(s.Connected) }},
		curve{"in calls", b, func(s *Step) float64 { return float64(s.InCalls) }})
	latency := func(title string, of func(*Step) Latency) {
		ms := func(q func(Latency) time.Duration) func(*Step) float64 {
			return func(s *Step) float64 {
				l := of(s)
				if l.Count == 0 {
					return math.NaN()
				}
				return float64(q(l)) / 1e6
			}
		}
		plot(title, "ms", curve{"p50", a, ms(func(l Latency) time.Duration { return l.P50 })},
			curve{"p95", c, ms(func(l Latency) time.Duration { return l.P95 })},
			curve{"p99", b, ms(func(l Latency) time.Duration { return l.P99 })})
	}
	latency("Invite → notify", func(s *Step) Latency { return s.Notify })
	latency("Chat, one way", func(s *Step) Latency { return s.Chat })
	latency("GET /room/queue", func(s *Step) Latency { return s.QueueRead })
	plot("Server memory, resident", "MiB", curve{"RSS", a, func(s *Step) float64 { return orNaN(mib(s.RSS)) }})
	plot("Server CPU", "cores", curve{"cores", a, func(s *Step) float64 { return orNaN(s.Cores) }})
	plot("Messages to clients", "/s", curve{"messages", a, func(s *Step) float64 { return s.MessagesPerSec }})
	plot("Bytes to clients", "kB/s", curve{"sockets", a, func(s *Step) float64 { return s.WebSocketPerSec / 1e3 }},
		curve{"HTTP", b, func(s *Step) float64 { return s.HTTPPerSec / 1e3 }})

	for _, l := range r.latencies() {
		page.Latencies = append(page.Latencies, figureRow{l.name, []string{millis(l.P50), millis(l.P95), millis(l.P99), millis(l.Max), fmt.Sprint(l.Count)}})
	}
	minutes := r.Window.Minutes()
	for _, kind := range slices.SortedFunc(maps.Keys(r.Kinds), func(a, b string) int {
		return int(r.Kinds[b].Bytes - r.Kinds[a].Bytes)
	}) {
		k := r.Kinds[kind]
		page.Kinds = append(page.Kinds, figureRow{kind, []string{fmt.Sprintf("%.0f", float64(k.Messages)/minutes), fmt.Sprintf("%.3f", float64(k.Bytes)/minutes/1e6)}})
	}
	if h := r.Health; h != nil {
		for _, name := range slices.Sorted(maps.Keys(h.Layers)) {
			l := h.Layers[name]
			row := bar{Name: name, Part: 100 * l.After / l.Before, Less: fmt.Sprintf("%.1f %% less", 100*(1-l.After/l.Before))}
			row.Before, row.After = fmt.Sprintf("%.2f MB", l.Before/1e6), fmt.Sprintf("%.2f MB", l.After/1e6)
			if name == "batch" {
				row.Before, row.After = fmt.Sprintf("%.0f messages", l.Before), fmt.Sprintf("%.0f writes", l.After)
			}
			page.Layers = append(page.Layers, row)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Errors)) {
		page.Errors = append(page.Errors, figureRow{reason, []string{fmt.Sprint(r.Errors[reason])}})
	}
	return reportPage.Execute(out, page)
}

type figureRow struct {
	Name  string
	Cells []string
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

func orNaN(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// curve is one line of a chart. A NaN is a gap.
type curve struct {
	Name, Color string
	at          func(*Step) float64
}

const (
	chartWidth, chartHeight = 520, 170
	chartLeft, chartBottom  = 46, 20
)

// draw plots the curves over the steps, with the window that was measured in a
// lighter ground; "" if there is nothing to plot.
func draw(steps []Step, unit string, curves []curve) template.HTML {
	most := 0.0
	for i := range steps {
		for _, c := range curves {
			if v := c.at(&steps[i]); v > most {
				most = v
			}
		}
	}
	if most == 0 || len(steps) < 2 {
		return ""
	}
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*power >= most {
			most = f * power
			break
		}
	}
	end := steps[len(steps)-1].At
	x := func(at float64) float64 { return chartLeft + at/end*(chartWidth-chartLeft-4) }
	y := func(v float64) float64 { return 6 + (chartHeight-chartBottom-6)*(1-v/most) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img">`, chartWidth, chartHeight)
	from, to := -1.0, 0.0
	for _, s := range steps {
		if s.Window {
			if from < 0 {
				from = s.At
			}
			to = s.At
		}
	}
	if from >= 0 {
		fmt.Fprintf(&b, `<rect class="window" x="%.1f" y="6" width="%.1f" height="%d"/>`, x(from), x(to)-x(from), chartHeight-chartBottom-6)
	}
	for i := range 3 {
		v := most * float64(i) / 2
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`,
			chartLeft, chartWidth-4, y(v), y(v), chartLeft-5, y(v)+4, v)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0 s</text><text x="%d" y="%d" text-anchor="end">%.0f s</text><text x="%d" y="%d" text-anchor="middle">%s</text>`,
		chartLeft, chartHeight-4, chartWidth-4, chartHeight-4, end, (chartLeft+chartWidth)/2, chartHeight-4, template.HTMLEscapeString(unit))
	for _, c := range curves {
		var path strings.Builder
		pen := "M"
		for i := range steps {
			v := c.at(&steps[i])
			if math.IsNaN(v) {
				pen = "M"
				continue
			}
			fmt.Fprintf(&path, "%s%.1f,%.1f", pen, x(steps[i].At), y(v))
			pen = "L"
		}
		fmt.Fprintf(&b, `<path d="%s" stroke="%s"/>`, path.String(), c.Color)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // numbers, and words from this file
}
