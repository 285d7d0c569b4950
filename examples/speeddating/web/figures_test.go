package web

import (
	"encoding/json"
	"reflect"
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
}
