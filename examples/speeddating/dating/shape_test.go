package dating_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// A client need not ask whether a field is there: what is empty is an empty
// string or list, not left out and not null.
func TestEmptyFieldsAreThere(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		s := w.nodes[0]
		shape := func(v any) map[string]any {
			t.Helper()
			b, err := json.Marshal(v)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(b, &m))
			return m
		}
		ann := s.free("Ann")
		me, err := s.Profile(ctx, ann.id)
		require.NoError(t, err)
		m := shape(me)
		require.Equal(t, "", m["selfieUrl"])
		require.Equal(t, map[string]any{}, m["socials"])
		require.Equal(t, []any{}, m["metrics"].(map[string]any)["recent"])

		time.Sleep(time.Second) // until Ann has her snapshot
		bob := s.free("Bob")
		time.Sleep(time.Second)
		u := shape(last[*dating.QueueUpdate](ann, dating.QueueUpdateKind))
		require.Equal(t, []any{}, u["removed"])
		require.Equal(t, "", u["added"].([]any)[0].(map[string]any)["selfieUrl"])
		require.NoError(t, s.LeaveQueue(ctx, bob.id, bob.tab))
		time.Sleep(time.Second)
		u = shape(last[*dating.QueueUpdate](ann, dating.QueueUpdateKind))
		require.Equal(t, []any{}, u["added"])
		require.Equal(t, []any{string(bob.id)}, u["removed"])
		q, err := s.QueueWindow(ctx, ann.id, "")
		require.NoError(t, err)
		require.Equal(t, []any{}, shape(q)["cards"])

		bob.queue()
		start := ann.call(bob, 60)
		view, _, err := s.Current(ctx, ann.id)
		require.NoError(t, err)
		require.Equal(t, []any{}, shape(view)["chat"])
		time.Sleep(10 * time.Second)
		require.NoError(t, s.EndCall(ctx, ann.id, start.RoomID))
		require.Equal(t, map[string]any{"talkSeconds": 10.0, "calls": 1.0}, shape(last[*dating.Metrics](ann, dating.MetricsUpdateKind)))
		h, err := s.History(ctx, ann.id, "")
		require.NoError(t, err)
		me, err = s.Profile(ctx, ann.id)
		require.NoError(t, err)
		for _, list := range [][]dating.HistoryEntry{h.Calls, me.Metrics.Recent} {
			require.Equal(t, []any{}, shape(list[0])["chat"])
			require.Equal(t, []any{}, shape(list[0])["socials"])
		}
		none, err := s.History(ctx, s.guest("Cat").id, "")
		require.NoError(t, err)
		require.Equal(t, []any{}, shape(none)["calls"])
	})
}
