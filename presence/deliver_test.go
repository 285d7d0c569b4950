package presence_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/presence"
)

// What many watch reaches them bit by bit over half a Tick, each once and in
// order; one who asks for the whole window gets nothing older after it.
func TestManyAreToldBitByBit(t *testing.T) {
	bubble(t, func(t *testing.T, wait func(time.Duration)) {
		const n = 2000
		tr, err := presence.New(presence.Options{
			MaxUsers: 10, MaxSockets: 10, MaxTopics: 1, MaxWatchers: n, MaxMeta: 16, Tick: time.Second,
		})
		require.NoError(t, err)
		defer tr.Shutdown(t.Context())
		at := make(map[time.Duration]int) // how many were told when, since the join
		var joined time.Time
		told := make([][]string, n)
		watchers := make([]*presence.Watcher, n)
		for i := range n {
			watchers[i], err = tr.Watch("queue", presence.WatchOptions{Deliver: func(d *presence.Diff) {
				if d.Resync {
					told[i] = []string{"window"}
				}
				for _, m := range d.Added {
					told[i] = append(told[i], m.User)
				}
				if !d.Resync {
					at[time.Since(joined)]++
				}
			}})
			require.NoError(t, err)
		}
		wait(2 * time.Second)
		join := func(id string) {
			require.NoError(t, tr.Connect(id, id, nil))
			require.NoError(t, tr.Join("queue", id, nil))
		}
		joined = time.Now()
		join("ann")
		wait(100 * time.Millisecond)
		require.Greater(t, len(at), 5)
		require.Equal(t, []string{"window"}, told[n-1], "it has heard nothing yet")
		require.NoError(t, watchers[n-1].Exclude([]string{"nobody"}))
		wait(850 * time.Millisecond)
		require.Equal(t, []string{"window", "ann"}, told[n-1])
		sum := 0
		for when, some := range at {
			sum += some
			require.LessOrEqual(t, some, 64)
			require.LessOrEqual(t, when, 510*time.Millisecond)
		}
		require.Equal(t, n-1, sum)
		join("bob")
		join("cleo")
		wait(2 * time.Second)
		for i := range n {
			require.Equal(t, []string{"window", "ann", "bob", "cleo"}, told[i], fmt.Sprint(i))
		}
	})
}
