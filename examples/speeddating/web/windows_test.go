package web

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// A reader follows one socket's messages as a client does.
type reader struct {
	replica compress.Replica
	cards   []dating.Card
	total   int
	cursor  string
}

func (r *reader) take(t *testing.T, text []byte) {
	var m struct {
		Type string
		Data json.RawMessage
	}
	require.NoError(t, json.Unmarshal(text, &m))
	switch m.Type {
	case "queue:snapshot":
		var w dating.Window
		require.NoError(t, json.Unmarshal(m.Data, &w))
		r.cards, r.total, r.cursor = w.Cards, w.Total, w.Cursor
	case "queue:update":
		var u dating.QueueUpdate
		require.NoError(t, json.Unmarshal(m.Data, &u))
		r.cards, r.total, r.cursor = u.Apply(r.cards), u.Total, u.Cursor
	case "queue:delta":
		require.NoError(t, r.replica.Apply(m.Data), "%s", m.Data)
		b, err := json.Marshal(r.replica.Value)
		require.NoError(t, err)
		old := r.cards
		r.cards = nil
		require.NoError(t, json.Unmarshal(b, &r.cards))
		beside := r.replica.Extra.([]any)
		n, err := beside[0].(json.Number).Int64()
		require.NoError(t, err)
		if r.total, r.cursor = int(n), ""; len(beside) > 1 {
			r.cursor = beside[1].(string)
		}
		for i, c := range r.cards { // a card that stays as it was keeps its marks
			for _, o := range old {
				if o.UserID == c.UserID && o.Name == c.Name && m.Data[2] == 'D' {
					r.cards[i] = o
				}
			}
		}
	case "queue:marks":
		var in struct{ Marks []mark }
		require.NoError(t, json.Unmarshal(m.Data, &in))
		for _, k := range in.Marks {
			i := slices.IndexFunc(r.cards, func(c dating.Card) bool { return c.UserID == k.UserID })
			require.GreaterOrEqual(t, i, 0)
			r.cards[i].CooldownUntil, r.cards[i].IntroducedBy = k.CooldownUntil, k.IntroducedBy
		}
	default:
		t.Fatal(m.Type)
	}
}

// TestWindows sends viewers of one changing queue what happens in it, under
// every choice of savings: each sees exactly its own window.
func TestWindows(t *testing.T) {
	for _, savings := range []Savings{{}, {Payload: true}, {Delta: true}, {Payload: true, Delta: true}} {
		t.Run(fmt.Sprintf("%+v", savings), func(t *testing.T) { walk(t, savings, 1<<20) })
	}
	t.Run("no memory", func(t *testing.T) { walk(t, Savings{Payload: true, Delta: true}, 12000) })
}

func walk(t *testing.T, savings Savings, memory int) {
	q, err := newWindows(savings, compress.DeltaOptions{MaxBytes: memory})
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(7, 8))
	until := time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)
	serial := 0
	fresh := func() dating.Card {
		serial++
		return dating.Card{UserID: dating.UserID(fmt.Sprint("u", serial)), Name: fmt.Sprint("Name ", serial), Gender: "female", SelfieURL: []string{"", "/media/x"}[serial%2]}
	}
	var queue []dating.Card
	type viewer struct {
		socket string
		marks  map[dating.UserID]bool
		sees   []dating.Card
		reader reader
	}
	viewers := make([]*viewer, 12)
	marked := func(v *viewer, cards []dating.Card) ([]dating.Card, bool) {
		out, any := slices.Clone(cards), false
		for i := range out {
			if v.marks[out[i].UserID] {
				out[i].CooldownUntil, out[i].IntroducedBy, any = &until, "Ida", true
			}
		}
		return out, any
	}
	for i := range viewers {
		viewers[i] = &viewer{socket: fmt.Sprint("s", i), marks: map[dating.UserID]bool{}}
		if i%3 != 2 {
			q.ask(viewers[i].socket)
		}
	}
	for range 300 {
		update := &dating.QueueUpdate{Removed: []dating.UserID{}, Added: []dating.Card{}}
		for range r.IntN(3) {
			if len(queue) > 15 || len(queue) > 0 && r.IntN(2) == 0 {
				at := r.IntN(len(queue))
				update.Removed = append(update.Removed, queue[at].UserID)
				queue = slices.Delete(slices.Clone(queue), at, at+1)
			} else {
				update.Added = append(update.Added, fresh())
			}
		}
		if len(queue) > 0 && r.IntN(4) == 0 { // a new name
			queue = slices.Clone(queue)
			c := &queue[r.IntN(len(queue))]
			c.Name += "!"
			update.Added = append(update.Added, *c)
		}
		queue = update.Apply(queue)
		update.Removed = slices.DeleteFunc(update.Removed, func(id dating.UserID) bool {
			return slices.ContainsFunc(update.Added, func(c dating.Card) bool { return c.UserID == id })
		})
		update.Total, update.Cursor = r.IntN(1000), []string{"", "k3"}[r.IntN(2)]
		window := &dating.Window{Cards: queue, Total: update.Total, Cursor: update.Cursor}
		shared, whole := new(dating.Shared), new(dating.Shared)
		for i, v := range viewers {
			for _, c := range update.Added {
				if i < 4 && r.IntN(3) == 0 {
					v.marks[c.UserID] = true
				}
			}
			e := dating.Event{Socket: v.socket, Kind: dating.QueueUpdateKind, Plain: update, Data: update, Shared: shared}
			own, any := marked(v, update.Added)
			if v.sees == nil || r.IntN(20) == 0 {
				e.Kind, e.Plain, e.Data, e.Shared = dating.QueueSnapshotKind, window, window, whole
				if own, any = marked(v, queue); any {
					e.Data = &dating.Window{Cards: own, Total: window.Total, Cursor: window.Cursor}
				}
			} else if any {
				e.Data = &dating.QueueUpdate{Added: own, Removed: update.Removed, Total: update.Total, Cursor: update.Cursor}
			}
			if i == 11 { // as for one who sees what nobody else does
				e.Shared = nil
			}
			v.sees, _ = marked(v, queue)
			frames, err := q.frames(e)
			require.NoError(t, err)
			for _, f := range frames {
				v.reader.take(t, f.JSON())
			}
			require.Equal(t, len(v.sees), len(v.reader.cards))
			for j := range v.sees {
				require.Equal(t, v.sees[j], v.reader.cards[j], "viewer %d", i)
			}
			require.Equal(t, update.Total, v.reader.total)
			require.Equal(t, update.Cursor, v.reader.cursor)
		}
	}
	s := q.Stats()
	t.Logf("%d messages, %d encoded, %d states of %d B, %d B as whole windows, %d B sent, %d refused", s.Messages, s.Encoded, s.States, s.StatesBytes, s.WholeBytes, s.SentBytes, s.Refused)
	if memory > 100_000 {
		require.Zero(t, s.Refused)
		require.Less(t, s.StatesBytes, int64(memory))
	} else {
		require.Positive(t, s.Refused)
	}
	for _, v := range viewers {
		q.forget(v.socket)
	}
	require.Empty(t, q.viewers)
	q.dropSteps()
	states, bytes := q.states.Stats()
	require.Zero(t, states)
	require.Zero(t, bytes)
}
