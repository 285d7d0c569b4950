package compress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type card struct {
	UserID        string     `json:"userId" delta:"key"`
	Name          string     `json:"name"`
	Gender        string     `json:"gender"`
	SelfieURL     string     `json:"selfieUrl" delta:"prefix=https://media.example.com/selfies/,suffix=.webp"`
	CooldownUntil *time.Time `json:"cooldownUntil,omitempty"`
	IntroducedBy  string     `json:"introducedBy,omitempty"`
	LastActiveAt  string     `json:"lastActiveAt"`
	Score         float64    `json:"score"`
	Tags          []string   `json:"tags"`
	Age           int        `json:"age,omitempty"`
	Online        bool       `json:"online"`
	Secret        string     `json:"secret" delta:"-"`
}

type queueState struct {
	rows  []card
	extra any
}

// windows is a random walk of lists: every kind of change, odd texts.
func windows(seed uint64, steps int) []queueState {
	r := rand.New(rand.NewPCG(seed, 11))
	texts := []string{"", "Ana", "https://media.example.com/selfies/00ff.webp", "https://media.example.com/selfies/.webp",
		"\"\\\n\x01", "日本語 text that is long", "2026-11-23T04:01:02.000Z", "2026-11-23T04:59:02.000Z", "a\xffb", "</script>", "__proto__", "2026-11-23T04:日本"}
	text := func() string { return texts[r.IntN(len(texts))] }
	fresh := func() card {
		c := card{UserID: fmt.Sprintf("%x", r.Uint64N(1000)), Name: text(), Gender: text(), SelfieURL: text(), LastActiveAt: text(), IntroducedBy: text(), Score: float64(r.IntN(9)) / 4, Age: r.IntN(3), Online: r.IntN(2) == 0}
		if r.IntN(3) == 0 {
			at := time.Unix(int64(r.IntN(1e9)), 0).UTC()
			c.CooldownUntil = &at
		}
		for range r.IntN(3) {
			c.Tags = append(c.Tags, text())
		}
		return c
	}
	var rows []card
	var out []queueState
	for range steps {
		rows = slices.Clone(rows)
		for range r.IntN(4) {
			n := len(rows)
			switch k := r.IntN(8); {
			case k < 3 || n == 0:
				rows = slices.Insert(rows, r.IntN(n+1), fresh())
			case k == 3:
				i := r.IntN(n)
				rows = slices.Delete(rows, i, i+1)
			case k == 4:
				i, j := r.IntN(n), r.IntN(n)
				rows[i], rows[j] = rows[j], rows[i]
			case k == 5:
				c := fresh()
				i := r.IntN(n)
				c.UserID = rows[i].UserID
				rows[i] = c
			case k == 6:
				rows[r.IntN(n)].LastActiveAt = text()
			case r.IntN(20) == 0:
				rows = nil
			}
		}
		out = append(out, queueState{rows, map[string]any{"total": r.IntN(5)}})
	}
	return out
}

func canonicalJSON(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	var out any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	require.NoError(t, dec.Decode(&out))
	b, err = json.Marshal(out)
	require.NoError(t, err)
	return string(b)
}

// naive is what the rows are as ordinary JSON, without what is not sent.
func naive(t testing.TB, rows []card) string {
	list := []any{}
	for _, r := range rows {
		b, err := json.Marshal(r)
		require.NoError(t, err)
		var o map[string]any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&o))
		delete(o, "secret")
		list = append(list, o)
	}
	return canonicalJSON(t, list)
}

func TestDeltaRoundTrip(t *testing.T) {
	for seed := range uint64(6) {
		d, err := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20})
		require.NoError(t, err)
		var early, late Replica
		require.NoError(t, early.Apply(d.Snapshot()))
		for i, w := range windows(seed, 60) {
			frame, err := d.Update(w.rows, w.extra)
			require.NoError(t, err)
			if frame != nil {
				require.NoError(t, early.Apply(frame), "%s", frame)
			}
			if i == 30 {
				require.NoError(t, late.Apply(d.Snapshot()))
			} else if i > 30 && frame != nil {
				require.NoError(t, late.Apply(frame))
				require.Equal(t, early, late)
			}
			require.Equal(t, naive(t, w.rows), canonicalJSON(t, early.Value))
			require.Equal(t, canonicalJSON(t, w.extra), canonicalJSON(t, early.Extra))
		}
		again, err := d.Update(windows(seed, 60)[59].rows, windows(seed, 60)[59].extra)
		require.NoError(t, err)
		require.Nil(t, again, "nothing changed")
	}
}

// TestDeltaSet takes steps of single rows and of whole lists, and compares
// with a list.
// TestDeltaFlat is for structs of which a Delta keeps what it has encoded: all
// that changed in any way must be seen, also by Set and when strings are the
// same in other memory.
func TestDeltaFlat(t *testing.T) {
	type place struct {
		City string  `json:"city"`
		Lat  float64 `json:"lat"`
	}
	type person struct {
		ID     string    `json:"id"`
		Name   string    `json:"name" delta:"prefix=Mx ,suffix=."`
		Since  time.Time `json:"since"`
		Place  place     `json:"place"`
		Marks  [2]int16  `json:"marks"`
		Age    int       `json:"age,omitempty"`
		Online bool      `json:"online"`
		Secret int       `json:"secret" delta:"-"`
	}
	for seed := range uint64(4) {
		a := &testAccount{limit: 1 << 20}
		d, err := NewDelta[person](DeltaOptions{MaxBytes: 1 << 20, Account: a})
		require.NoError(t, err)
		require.True(t, d.schema.flat)
		r := rand.New(rand.NewPCG(seed, 1))
		text := func() string {
			return strings.Clone([]string{"Mx Ana.", "Ben", "\"\n", "n", "\n", `\n`, ""}[r.IntN(7)])
		}
		fresh := func() person { return person{ID: fmt.Sprint(r.IntN(500)), Name: text(), Age: r.IntN(3)} }
		var rows []person
		var seen Replica
		require.NoError(t, seen.Apply(d.Snapshot()))
		for range 400 {
			var frame []byte
			n := len(rows)
			if n > 0 && r.IntN(3) == 0 && !slices.ContainsFunc(rows[1:], func(p person) bool { return p.ID == rows[0].ID }) {
				rows[0].Name, rows[0].Online = text(), !rows[0].Online
				frame, err = d.Set(&rows[0])
			} else {
				switch k := r.IntN(12); {
				case k < 4 || n == 0:
					rows = slices.Insert(rows, r.IntN(n+1), fresh())
				case k == 4:
					rows = slices.Delete(rows, r.IntN(n), n)
				case k == 5:
					r.Shuffle(n, func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				case k == 6:
					rows[r.IntN(n)].Since = time.Unix(r.Int64N(3), 0).UTC()
				case k == 7:
					rows[r.IntN(n)].Place = place{text(), float64(r.IntN(3)) / 2}
				case k == 8:
					rows[r.IntN(n)].Marks[1]++
				case k == 9:
					rows[r.IntN(n)].Secret++
				case k == 10:
					p := &rows[r.IntN(n)]
					p.ID, p.Name = strings.Clone(p.ID), strings.Clone(p.Name)
				default:
					rows[r.IntN(n)].Name = text()
				}
				frame, err = d.Update(rows, nil)
			}
			require.NoError(t, err)
			if frame != nil {
				require.NoError(t, seen.Apply(frame))
			}
			want := []any{}
			for _, p := range rows {
				want = append(want, map[string]any{"id": p.ID, "name": p.Name, "since": p.Since, "place": p.Place, "marks": p.Marks, "online": p.Online})
				if p.Age != 0 {
					want[len(want)-1].(map[string]any)["age"] = p.Age
				}
			}
			require.Equal(t, canonicalJSON(t, want), canonicalJSON(t, seen.Value))
		}
		d.Close()
		require.Zero(t, a.used.Load())
	}
	type odd struct {
		ID string `json:"id"`
		P  *int   `json:"-"`
	}
	d, err := NewDelta[odd](DeltaOptions{MaxBytes: 1})
	require.NoError(t, err)
	require.False(t, d.schema.flat, "would keep what p points to")
}

func TestDeltaSet(t *testing.T) {
	for seed := range uint64(4) {
		d, err := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20, Ordered: seed%2 == 1})
		require.NoError(t, err)
		var follower, late Replica
		require.NoError(t, follower.Apply(d.Snapshot()))
		var rows []card
		r := rand.New(rand.NewPCG(seed, 2))
		for _, w := range windows(seed, 70) {
			if r.IntN(10) == 0 {
				rows = nil
				for _, c := range w.rows { // keys are not always unique there
					if !slices.ContainsFunc(rows, func(o card) bool { return o.UserID == c.UserID }) {
						rows = append(rows, c)
					}
				}
				frame, err := d.Update(rows, nil)
				require.NoError(t, err)
				if frame != nil {
					require.NoError(t, follower.Apply(frame))
				}
			}
			for _, c := range w.rows[:min(len(w.rows), 3)] {
				c.Age = r.IntN(3)
				was := slices.IndexFunc(rows, func(o card) bool { return o.UserID == c.UserID })
				same := was >= 0 && naive(t, rows[was:was+1]) == naive(t, []card{c})
				if was < 0 {
					rows = append(rows, c)
				} else {
					rows[was] = c
				}
				frame, err := d.Set(&c)
				require.NoError(t, err)
				require.Equal(t, same, frame == nil, "%s", frame)
				if frame != nil {
					require.NoError(t, follower.Apply(frame), "%s", frame)
				}
			}
			require.Equal(t, naive(t, rows), canonicalJSON(t, follower.Value))
			require.NoError(t, late.Apply(d.Snapshot()))
			require.Equal(t, late.Value, follower.Value)
		}
	}
}

func TestDeltaSetBounds(t *testing.T) {
	a := &testAccount{limit: 3000}
	d, err := NewDelta[card](DeltaOptions{MaxBytes: 2000, Account: a})
	require.NoError(t, err)
	var failed error
	var follower Replica
	require.NoError(t, follower.Apply(d.Snapshot()))
	for i := range 100 {
		frame, err := d.Set(&card{UserID: fmt.Sprint(i), Name: strings.Repeat("x", i)})
		if err != nil {
			failed = err
			continue
		}
		require.NoError(t, follower.Apply(frame))
	}
	require.ErrorIs(t, failed, ErrStateTooLarge)
	_, err = d.Set(&card{UserID: "0", Name: strings.Repeat("y", 2000)})
	require.ErrorIs(t, err, ErrStateTooLarge)
	frame, err := d.Set(&card{UserID: "0", Name: "z"})
	require.NoError(t, err)
	require.NoError(t, follower.Apply(frame))
	var late Replica
	require.NoError(t, late.Apply(d.Snapshot()))
	require.Equal(t, late.Value, follower.Value)
	require.LessOrEqual(t, a.peak.Load(), int64(3000))
	d.Close()
	require.Zero(t, a.used.Load())
}

func TestDeltaGap(t *testing.T) {
	d, err := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20})
	require.NoError(t, err)
	var r Replica
	require.NoError(t, r.Apply(d.Snapshot()))
	d.Update([]card{{UserID: "a"}}, nil)
	second, _ := d.Update([]card{{UserID: "b"}}, nil)
	require.ErrorIs(t, r.Apply(second), ErrGap)
	require.Equal(t, []any{}, r.Value, "as it was")
	require.NoError(t, r.Apply(d.Snapshot()))
	third, _ := d.Update([]card{{UserID: "c"}}, nil)
	require.NoError(t, r.Apply(third))
	require.Equal(t, "c", r.Value.([]any)[0].(map[string]any)["userId"])
}

func TestDeltaProjection(t *testing.T) {
	d, err := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20, Fields: []string{"name"}})
	require.NoError(t, err)
	d.Update([]card{{UserID: "a", Name: "Ana", Gender: "female"}}, 7)
	require.Equal(t, `["S",1,[["userId","",""],["name","",""]],[["a","Ana"]],7]`, string(d.Snapshot()))
}

func TestDeltaBounds(t *testing.T) {
	a := &testAccount{limit: 4000}
	d, err := NewDelta[card](DeltaOptions{MaxBytes: 1000, Account: a})
	require.NoError(t, err)
	_, err = d.Update([]card{{UserID: strings.Repeat("x", 2000)}}, nil)
	require.ErrorIs(t, err, ErrStateTooLarge)
	_, err = d.Update([]card{{UserID: "x"}}, nil)
	require.NoError(t, err)
	a.limit = 0
	_, err = d.Update(make([]card, 10), nil)
	require.ErrorIs(t, err, ErrStateTooLarge)
	d.Close()
	require.Zero(t, a.used.Load())

	_, err = NewDelta[struct {
		A int    `json:"a" delta:"what"`
		B string `json:"b,string"`
	}](DeltaOptions{Fields: []string{"zz"}})
	for _, part := range []string{"what", "string", "zz", "MaxBytes"} {
		require.ErrorContains(t, err, part)
	}
	_, err = NewDelta[int](DeltaOptions{MaxBytes: 1})
	require.Error(t, err)
}

// documents is a random walk of JSON values.
func documents(seed uint64, steps int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 12))
	var value func(depth int) any
	value = func(depth int) any {
		switch k := r.IntN(9); {
		case k == 0:
			return nil
		case k == 1:
			return r.IntN(2) == 0
		case k < 4 || depth > 3:
			return r.IntN(20)
		case k == 4:
			return strings.Repeat("té\"x", r.IntN(3))
		case k < 7:
			list := []any{}
			for range r.IntN(5) {
				if r.IntN(2) == 0 {
					list = append(list, map[string]any{"id": r.IntN(6), "v": value(depth + 1)})
				} else {
					list = append(list, value(depth+1))
				}
			}
			return list
		}
		o := map[string]any{}
		for range r.IntN(5) {
			o[[]string{"a", "b", "id", "__proto__", "length", "map", "0"}[r.IntN(7)]] = value(depth + 1)
		}
		return o
	}
	var mutate func(v any, depth int) any
	mutate = func(v any, depth int) any {
		if r.IntN(6) == 0 {
			return value(depth)
		}
		switch v := v.(type) {
		case []any:
			out := slices.Clone(v)
			for i := range out {
				if r.IntN(3) == 0 {
					out[i] = mutate(out[i], depth+1)
				}
			}
			if n := len(out); n > 1 && r.IntN(2) == 0 {
				i, j := r.IntN(n), r.IntN(n)
				out[i], out[j] = out[j], out[i]
			}
			if r.IntN(3) == 0 {
				out = slices.Insert(out, r.IntN(len(out)+1), value(depth+1))
			}
			return out
		case map[string]any:
			out := map[string]any{}
			for k, e := range v {
				switch r.IntN(5) {
				case 0:
				case 1:
					out[k] = mutate(e, depth+1)
				default:
					out[k] = e
				}
			}
			return out
		}
		return v
	}
	var v any = map[string]any{"cards": []any{}, "n": 1}
	var docs [][]byte
	for range steps {
		b, _ := json.Marshal(v)
		docs = append(docs, b)
		v = mutate(v, 0)
	}
	return docs
}

func TestJSONDeltaRoundTrip(t *testing.T) {
	for seed := range uint64(50) {
		d, err := NewJSONDelta(DeltaOptions{MaxBytes: 1 << 20})
		require.NoError(t, err)
		var r Replica
		require.NoError(t, r.Apply(d.Snapshot()))
		for _, doc := range documents(seed, 30) {
			frame, err := d.Update(doc)
			require.NoError(t, err)
			if frame != nil {
				require.NoError(t, r.Apply(frame), "%s", frame)
			}
			require.Equal(t, canonicalJSON(t, json.RawMessage(doc)), canonicalJSON(t, r.Value), "%s", frame)
		}
	}
}

func TestJSONDeltaErrors(t *testing.T) {
	a := &testAccount{limit: 1 << 20}
	d, err := NewJSONDelta(DeltaOptions{MaxBytes: 500, Account: a})
	require.NoError(t, err)
	for _, bad := range []string{"", "{", `{"a":1}x`, "\"\xff\"", strings.Repeat("[", 250) + strings.Repeat("]", 250)} {
		_, err := d.Update([]byte(bad))
		require.Error(t, err, bad)
	}
	_, err = d.Update(bytes.Repeat([]byte("1"), 501))
	require.ErrorIs(t, err, ErrStateTooLarge)
	_, err = d.Update([]byte(`{"\u0061":1,"b":2,"a":3}`))
	require.NoError(t, err)
	frame, err := d.Update([]byte(`{"a":3, "b":2}`))
	require.NoError(t, err)
	var r Replica
	require.NoError(t, r.Apply(d.Snapshot()))
	require.Equal(t, map[string]any{"a": json.Number("3"), "b": json.Number("2")}, r.Value, "%s", frame)
	d.Close()
	require.Zero(t, a.used.Load())
}

func TestReplicaErrors(t *testing.T) {
	var r Replica
	for _, bad := range []string{"", "[]", "{}", `["S",0,[],[]]`, `["X",1,2]`, `["S",-1,[],[],0]`, `["S",0,["a"],[[1,2]],0]`, `["S",0,[1],[],0]`, `["J",1.5,[1]]`} {
		require.ErrorIs(t, r.Apply([]byte(bad)), ErrFrame, bad)
	}
	require.ErrorIs(t, r.Apply([]byte(`["D",1,0,0]`)), ErrGap)
	for _, bad := range []string{`["D",1,[0,2],0]`, `["D",1,[0],0]`, `["D",1,[5,1],0]`, `["D",1,0,[0,9,1]]`, `["D",1,0,[9,0,1]]`, `["D",1,0,[0,0]]`, `["D",1,0,[0,0,[99,"x"]]]`, `["D",1,[[1,2]],0]`, `["D",1,"x",0]`} {
		require.NoError(t, r.Apply([]byte(`["S",0,[["a","p","s"]],[["x"]],null]`)))
		require.ErrorIs(t, r.Apply([]byte(bad)), ErrFrame, bad)
		require.ErrorIs(t, r.Apply([]byte(`["D",1,0,0]`)), ErrGap, "waits for a snapshot")
	}
}

func FuzzReplica(f *testing.F) {
	f.Add([]byte(`["D",1,[0,1,["y"]],[0,0,[1,"z"]]]`), []byte(`["D",2,0,0,7]`))
	f.Add([]byte(`["J",1,[{"a":[1]}]]`), []byte(`["J",2,{"a":[[0,1,[2]],{"0":[3]}]}]`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var r Replica
		r.Apply([]byte(`["S",0,[["a?","p","s"],"b"],[["x",1]],null]`))
		for _, frame := range [][]byte{one, two} {
			if err := r.Apply(frame); err != nil && !errors.Is(err, ErrGap) && !errors.Is(err, ErrFrame) {
				t.Fatal(err)
			}
		}
	})
}

func FuzzJSONDelta(f *testing.F) {
	f.Add([]byte(`{"a":[{"id":1,"v":2},{"id":2}]}`), []byte(`{"a":[{"id":2},{"id":1,"v":3}],"b":null}`))
	f.Add([]byte(`[1,1,2]`), []byte(`[2,1,1,{}]`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		d, _ := NewJSONDelta(DeltaOptions{MaxBytes: 1 << 20})
		var r Replica
		for _, doc := range [][]byte{one, two} {
			if bytes.Contains(doc, []byte(`\ud`)) || bytes.Contains(doc, []byte(`\uD`)) {
				return // lone surrogates are one character in Go
			}
			frame, err := d.Update(doc)
			if err != nil {
				return
			}
			if r.Version == 0 && r.ready == 0 {
				require.NoError(t, r.Apply(d.Snapshot()))
			} else if frame != nil {
				require.NoError(t, r.Apply(frame), "%s", frame)
			}
			require.Equal(t, canonicalJSON(t, json.RawMessage(doc)), canonicalJSON(t, r.Value), "%s", frame)
		}
	})
}

// TestDeltaJS has the browser's half decode what this half encodes.
func TestDeltaJS(t *testing.T) {
	require.LessOrEqual(t, len(DeltaJS), 2048)
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is missing")
		}
		t.Skip("SKIPPED: node is not installed, delta.js is not tested")
	}
	type step struct {
		Fresh bool            `json:"fresh"`
		Frame json.RawMessage `json:"frame"`
		Value json.RawMessage `json:"value"`
		Extra any             `json:"extra,omitempty"`
	}
	var steps []step
	for seed := range uint64(4) {
		d, err := NewDelta[card](DeltaOptions{MaxBytes: 1 << 20})
		require.NoError(t, err)
		steps = append(steps, step{Fresh: true, Frame: d.Snapshot(), Value: []byte("[]")})
		for _, w := range windows(seed, 60) {
			if frame, _ := d.Update(w.rows, w.extra); frame != nil {
				steps = append(steps, step{Frame: frame, Value: []byte(naive(t, w.rows)), Extra: w.extra})
			}
		}
		j, err := NewJSONDelta(DeltaOptions{MaxBytes: 1 << 20})
		require.NoError(t, err)
		steps = append(steps, step{Fresh: true, Frame: j.Snapshot(), Value: []byte("null")})
		for _, doc := range documents(seed, 60) {
			if frame, _ := j.Update(doc); frame != nil {
				steps = append(steps, step{Frame: frame, Value: doc})
			}
		}
	}
	dir := t.TempDir()
	all, err := json.Marshal(steps)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "delta.mjs"), DeltaJS, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "steps.json"), all, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "test.mjs"), []byte(`
import { Delta } from './delta.mjs'
import { readFileSync } from 'node:fs'
import assert from 'node:assert'
let d, last
for (const s of JSON.parse(readFileSync('steps.json'))) {
  if (s.fresh) d = new Delta()
  const before = JSON.stringify(d.value), old = d.value
  assert.strictEqual(d.apply(s.frame), true)
  assert.deepStrictEqual(d.value, s.value)
  if (s.extra) assert.deepStrictEqual(d.extra, s.extra)
  assert.strictEqual(JSON.stringify(old), before, 'old values stay as they were')
  last = s.frame
}
const gap = new Delta()
assert.strictEqual(gap.apply(['D', 1, 0, 0]), false)
assert.strictEqual(gap.apply(['S', 4, ['a'], [[1]], null]), true)
assert.strictEqual(gap.apply(['D', 6, 0, [0, 0, 2]]), false)
assert.deepStrictEqual(gap.value, [{ a: 1 }])
assert.strictEqual({}.polluted, undefined)
console.log('ok')
`), 0o600))
	cmd := exec.Command(node, "test.mjs")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
