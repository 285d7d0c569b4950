// Package prom writes figures in the text format that Prometheus reads,
// version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). It keeps
// nothing: whoever is asked for the figures writes all of them.
package prom

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Writer collects samples and writes them family by family. The zero Writer is
// ready. It is for one goroutine.
type Writer struct {
	order    []string
	families map[string]*family
}

type family struct {
	kind, help string
	lines      bytes.Buffer
}

// Gauge adds a value that goes up and down. labels are names and values in
// turn.
func (w *Writer) Gauge(name, help string, value float64, labels ...string) {
	w.sample("gauge", name, help, value, labels)
}

// Counter adds a value that only rises; its name ends in _total.
func (w *Writer) Counter(name, help string, value float64, labels ...string) {
	w.sample("counter", name, help, value, labels)
}

// Bool adds a gauge that is 1 or 0.
func (w *Writer) Bool(name, help string, value bool, labels ...string) {
	n := 0.0
	if value {
		n = 1
	}
	w.Gauge(name, help, n, labels...)
}

func (w *Writer) sample(kind, name, help string, value float64, labels []string) {
	f := w.families[name]
	if f == nil {
		f = &family{kind: kind, help: help}
		if w.families == nil {
			w.families = map[string]*family{}
		}
		w.families[name] = f
		w.order = append(w.order, name)
	}
	f.lines.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		mark := byte(',')
		if i == 0 {
			mark = '{'
		}
		f.lines.WriteByte(mark)
		fmt.Fprintf(&f.lines, `%s="%s"`, labels[i], escapeLabel.Replace(labels[i+1]))
	}
	if len(labels) > 1 {
		f.lines.WriteByte('}')
	}
	f.lines.WriteByte(' ')
	f.lines.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	f.lines.WriteByte('\n')
}

var (
	escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// WriteTo writes all families in the order in which they were begun.
func (w *Writer) WriteTo(out io.Writer) (int64, error) {
	var all bytes.Buffer
	for _, name := range w.order {
		f := w.families[name]
		fmt.Fprintf(&all, "# HELP %s %s\n# TYPE %s %s\n", name, escapeHelp.Replace(f.help), name, f.kind)
		all.Write(f.lines.Bytes())
	}
	return all.WriteTo(out)
}
