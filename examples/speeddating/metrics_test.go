package main

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What /metrics says follows the conventions that Prometheus documents for
// names, units and types, and its labels take a bounded number of values.
func TestMetrics(t *testing.T) {
	a := startApp(t)
	ada, ben := signUp(t, a.URL(), "Ada").open(), signUp(t, a.URL(), "Ben").open()
	ada.must("queue:join", nil)
	ben.must("queue:join", nil)
	res, err := http.Get(a.URL() + "/health") // which is large enough to be encoded
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	var out bytes.Buffer
	require.NoError(t, a.metrics(&out))

	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	line := regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (\S+)$`)
	kinds, helps, samples, seen := map[string]string{}, map[string]bool{}, map[string]int{}, map[string]bool{}
	for l := range strings.Lines(out.String()) {
		l = strings.TrimSuffix(l, "\n")
		if f := strings.Fields(l); f[0] == "#" {
			if f[1] == "HELP" {
				require.Greater(t, len(f), 3, l)
				helps[f[2]] = true
			} else {
				require.Empty(t, kinds[f[2]], "%s is one family", f[2])
				kinds[f[2]] = f[3]
			}
			continue
		}
		m := line.FindStringSubmatch(l)
		require.NotNil(t, m, l)
		require.Regexp(t, name, m[1])
		require.True(t, helps[m[1]], l)
		require.Equal(t, kinds[m[1]] == "counter", strings.HasSuffix(m[1], "_total"), l)
		value, err := strconv.ParseFloat(m[4], 64)
		require.NoError(t, err, l)
		require.GreaterOrEqual(t, value, 0.0, "nothing here is negative: %s", l)
		require.False(t, seen[m[1]+m[2]], "twice: %s", l)
		seen[m[1]+m[2]] = true
		samples[m[1]]++
	}
	require.Greater(t, len(kinds), 80)
	for family, n := range samples {
		require.LessOrEqual(t, n, 40, family)
		for _, unit := range []string{"_ms", "_millis", "_kb", "_mb", "_mib", "_percent", "_minutes"} {
			require.NotContains(t, family+"_", unit+"_", "base units")
		}
	}
	for _, file := range []string{"../../docs/monitoring/grafana.json", "../../docs/monitoring/alerts.yml", "../../docs/monitoring.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		used := regexp.MustCompile(`\b(plimsoll|speeddating|go|process)_[a-z_]+[a-z]\b`).FindAllString(string(text), -1)
		require.NotEmpty(t, used, file)
		for _, metric := range used {
			require.Contains(t, kinds, metric, file)
		}
	}
}
