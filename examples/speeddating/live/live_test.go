package live

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/memmgr"
)

var begin = time.UnixMilli(1_700_000_000_000)

func reading(used int64, level memmgr.Level) Reading {
	return Reading{Memory: memmgr.Stats{Level: level, Source: "ledger", Accounts: []memmgr.AccountStats{{Name: "a", Used: used}}}}
}

// What is kept is bounded, however long it goes on, and a step of ten seconds
// holds the most of its seconds.
func TestRings(t *testing.T) {
	r := reading(0, memmgr.Normal)
	b, err := New(Options{Read: func() Reading { return r }, Figures: func() any { return nil }})
	require.NoError(t, err)
	defer b.Shutdown(t.Context())
	for i := range 5000 {
		r = reading(int64(i%10), memmgr.Level(i%10/8))
		r.Sent = uint64(i) * 10
		b.look(begin.Add(time.Duration(i) * time.Second))
	}
	hour, recent := b.hour.all(), b.recent.all()
	require.Len(t, hour, 360)
	require.Len(t, recent, 120)
	for i, p := range hour {
		require.EqualValues(t, 9, p.Used[0])
		require.Equal(t, 1, p.Level)
		require.EqualValues(t, 100, p.Sent)
		require.Equal(t, begin.Add(time.Duration(5000-3600+10*i)*time.Second).UnixMilli(), p.At)
	}
	require.Equal(t, begin.Add(4999*time.Second).UnixMilli(), recent[119].At)
}

func TestEvents(t *testing.T) {
	var r Reading
	b, err := New(Options{Read: func() Reading { return r }, Figures: func() any { return nil }})
	require.NoError(t, err)
	defer b.Shutdown(t.Context())
	at := begin
	next := func(change func(*Reading)) []Event {
		r.Memory.Accounts = append([]memmgr.AccountStats{}, r.Memory.Accounts...)
		r.Memory.Reclaim = append([]memmgr.ReclaimerStats{}, r.Memory.Reclaim...)
		r.Memory.Sweeps = append([]memmgr.SweepStats{}, r.Memory.Sweeps...)
		change(&r)
		at = at.Add(time.Second)
		return b.look(at).Events
	}
	require.Empty(t, next(func(r *Reading) {
		*r = reading(1, memmgr.Normal)
		r.Memory.Reclaim = []memmgr.ReclaimerStats{{Name: "caches"}}
		r.Memory.Sweeps = []memmgr.SweepStats{{Name: "sessions"}}
	}))
	require.Empty(t, next(func(*Reading) {}))
	events := next(func(r *Reading) {
		r.Memory.Level, r.Memory.Changes, r.Memory.Refused = memmgr.High, 2, 3
		r.Memory.Reclaim[0].Calls, r.Memory.Reclaim[0].Freed = 1, 1000
		r.Memory.Accounts[0].RefusedMax = 4
		r.Memory.Sweeps[0].Runs++ // which found nothing: not worth a word
	})
	require.Equal(t, []Event{
		{At: at.UnixMilli(), Kind: "level", Name: "high", Count: 2, Why: "ledger"},
		{At: at.UnixMilli(), Kind: "reclaim", Name: "caches", Bytes: 1000},
		{At: at.UnixMilli(), Kind: "refused", Name: "new work", Count: 3},
		{At: at.UnixMilli(), Kind: "refused", Name: "a", Count: 4},
	}, events)
	events = next(func(r *Reading) {
		r.Memory.Refused = 10 // goes on: the same event
		r.Memory.Sweeps[0].Runs++
		r.Memory.Sweeps[0].Total.Deleted = 7
	})
	require.Len(t, events, 5)
	require.EqualValues(t, 10, events[2].Count)
	require.Equal(t, Event{At: at.UnixMilli(), Kind: "sweep", Name: "sessions", Count: 7}, events[4])
	for range 2 * maxEvents {
		next(func(r *Reading) { r.Memory.Changes++ })
	}
	require.Len(t, b.events, maxEvents)
}

// A viewer is told the past first and then each second; the ninth is refused,
// and one that does not read costs no more than a queue.
func TestViewers(t *testing.T) {
	b, err := New(Options{Read: func() Reading { return reading(5, memmgr.Normal) }, Figures: func() any { return map[string]int{"x": 1} }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = b.Accept(w, r) }))
	defer server.Close()
	url := strings.Replace(server.URL, "http", "ws", 1)
	for i := range MaxViewers + 1 {
		c, res, err := websocket.DefaultDialer.Dial(url, nil)
		if i == MaxViewers {
			require.Error(t, err)
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
			break
		}
		require.NoError(t, err)
		defer c.Close()
		if i > 0 {
			continue
		}
		var seen []string
		for len(seen) < 4 {
			_, raw, err := c.ReadMessage()
			require.NoError(t, err)
			if raw[0] != '[' {
				raw = append(append([]byte{'['}, raw...), ']')
			}
			var batch []struct {
				Type string `json:"type"`
				Data struct {
					Figures map[string]int
					Recent  []Point
					Point   Point
				} `json:"data"`
			}
			require.NoError(t, json.Unmarshal(raw, &batch))
			for _, m := range batch {
				seen = append(seen, m.Type)
				if m.Type != "hello" {
					require.Equal(t, 1, m.Data.Figures["x"])
					require.EqualValues(t, 5, append(m.Data.Recent, m.Data.Point)[0].Used[0])
				}
			}
		}
		require.Equal(t, []string{"hello", "live:history", "live:now", "live:now"}, seen)
	}
	cancel()
	require.ErrorIs(t, <-ran, context.Canceled)
	require.NoError(t, b.Shutdown(t.Context()))
}
