package presence_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-go/plimsoll/presence"
	"github.com/stretchr/testify/require"
)

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// 200,000 sockets, with everything that belongs to them: ids, metadata, a
// membership each. The limit is 400 bytes.
func TestBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes sizes")
	}
	const n, limit = 200_000, 400
	for _, c := range []struct {
		name    string
		perUser int
	}{{"one socket a user, in a topic", 1}, {"two sockets a user, in a topic", 2}} {
		t.Run(c.name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			before := heap()
			tr, err := presence.New(presence.Options{MaxUsers: n, MaxSockets: n, MaxTopics: 10, MaxWatchers: 10, MaxMeta: 256})
			require.NoError(t, err)
			for i := range n {
				user := fmt.Sprintf("user-%010d", i/c.perUser)
				require.NoError(t, tr.Connect(user, fmt.Sprintf("sock-%010d", i), nil))
				if i%c.perUser == 0 {
					require.NoError(t, tr.Join("queue", user, []byte(`{"name":"`+user+`"}`)))
				}
			}
			per := float64(heap()-before) / n
			st := tr.Stats()
			t.Logf("%.0f bytes of heap a socket, limit %d; %.0f in the account", per, limit, float64(st.Bytes)/n)
			require.Equal(t, n, st.Sockets)
			require.LessOrEqual(t, per, float64(limit))
			require.GreaterOrEqual(t, float64(st.Bytes)/n, per, "the account must not ask for less than is used")
			require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1)
			require.NoError(t, tr.Shutdown(context.Background()))
		})
	}
}

// What a watcher costs: with the same view as the others, and with one of his own.
func TestWatcherBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes sizes")
	}
	const n = 20_000
	for _, own := range []bool{false, true} {
		before := heap()
		tr, err := presence.New(presence.Options{MaxUsers: n, MaxSockets: n, MaxTopics: 10, MaxWatchers: n, MaxMeta: 256, Tick: time.Millisecond})
		require.NoError(t, err)
		inTopic(t, tr, "queue", strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "")...)
		for range n {
			o := presence.WatchOptions{Deliver: func(*presence.Diff) {}}
			if own {
				o.Exclude = []string{"a"}
			}
			_, err := tr.Watch("queue", o)
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return tr.Stats().Delivered >= n }, 10*time.Second, time.Millisecond)
		per := float64(heap()-before) / n
		t.Logf("%.0f bytes of heap a watcher (own view: %v), %.0f in the account", per, own, float64(tr.Stats().Bytes)/n)
		require.LessOrEqual(t, per, 1700.)
		require.GreaterOrEqual(t, float64(tr.Stats().Bytes)/n, per)
		require.NoError(t, tr.Shutdown(context.Background()))
	}
}

// N people come within one second, and each watches the queue without himself.
func TestFanOut(t *testing.T) {
	var messages, bytes []float64
	sizes := []int{1000, 10000}
	if raceEnabled {
		sizes = []int{100, 1000}
	}
	for _, n := range sizes {
		bubble(t, func(t *testing.T, wait func(time.Duration)) {
			tr := open(t)
			var got, size, encoded, card int
			encode := func(d *presence.Diff) []byte {
				encoded++
				b := fmt.Appendf(nil, `{"type":"queue:update","data":{"total":%d,"cards":[`, d.Count)
				for _, m := range d.Added {
					b = append(append(b, m.Meta...), ',')
				}
				return append(b, "]}}"...)
			}
			for i := range n {
				user := fmt.Sprintf("user-%010d", i)
				meta := fmt.Sprintf(`{"userId":"%s","name":"Somebody","gender":"unspecified","selfieUrl":"/media/%s"}`, user, user)
				card = len(meta) + 40
				require.NoError(t, tr.Connect(user, "tab", nil))
				require.NoError(t, tr.Join("queue", user, []byte(meta)))
				_, err := tr.Watch("queue", presence.WatchOptions{Exclude: []string{user}, Deliver: func(d *presence.Diff) {
					got++
					size += len(d.Encode("json", encode))
				}})
				require.NoError(t, err)
				if i%(n/100) == 0 {
					wait(10 * time.Millisecond)
				}
			}
			wait(5 * time.Second)
			naive := n * (n - 1) / 2
			t.Logf("%d people: %d messages, %.1f MB, %d encodings; the naive broadcast: %d messages, %.1f MB",
				n, got, float64(size)/1e6, encoded, naive, float64(naive*card)/1e6)
			require.LessOrEqual(t, got, n*(6*4+1), "one diff for each watcher and tick")
			messages, bytes = append(messages, float64(got)), append(bytes, float64(size))
		})
	}
	require.Less(t, messages[1]/messages[0], 15., "ten times the people, not a hundred times the messages")
	require.Less(t, bytes[1]/bytes[0], 15.)
}
