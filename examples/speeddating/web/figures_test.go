package web

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFigures(t *testing.T) {
	type row struct {
		Name string
		Used int64
	}
	v := struct {
		Since    time.Duration
		RTTBytes uint64
		Rows     []row
		ByKind   map[string]float64
		Off      bool
		hidden   int
	}{1500 * time.Millisecond, 7, []row{{"a", 1}, {"b", 2}}, map[string]float64{"x": .5}, true, 1}
	_ = v.hidden

	out, err := json.Marshal(document(reflect.ValueOf(v)))
	require.NoError(t, err)
	require.JSONEq(t, `{"sinceSeconds":1.5,"rttBytes":7,"rows":[{"name":"a","used":1},{"name":"b","used":2}],"byKind":{"x":0.5},"off":true}`, string(out))

	var b strings.Builder
	exposition(&b, v)
	require.Equal(t, `# TYPE plimsoll_since_seconds counter
plimsoll_since_seconds 1.5
# TYPE plimsoll_rtt_bytes_total counter
plimsoll_rtt_bytes_total 7
# TYPE plimsoll_rows_used gauge
plimsoll_rows_used{name="a"} 1
plimsoll_rows_used{name="b"} 2
# TYPE plimsoll_by_kind gauge
plimsoll_by_kind{name="x"} 0.5
# TYPE plimsoll_off gauge
plimsoll_off 1
`, b.String())
}
