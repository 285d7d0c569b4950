package prom

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriter(t *testing.T) {
	var w Writer
	w.Counter("a_total", "How many\nthere were.", 3, "reason", `a "quote"`, "node", "n1")
	w.Gauge("b_bytes", `Held; \ is a backslash.`, 1.5e9)
	w.Counter("a_total", "", 4, "reason", "other\nline", "node", `n\2`)
	w.Bool("up", "Whether it is.", true)
	var b strings.Builder
	n, err := w.WriteTo(&b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	require.Equal(t, `# HELP a_total How many\nthere were.
# TYPE a_total counter
a_total{reason="a \"quote\"",node="n1"} 3
a_total{reason="other\nline",node="n\\2"} 4
# HELP b_bytes Held; \\ is a backslash.
# TYPE b_bytes gauge
b_bytes 1.5e+09
# HELP up Whether it is.
# TYPE up gauge
up 1
`, b.String())
}
