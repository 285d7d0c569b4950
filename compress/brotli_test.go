package compress

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"
)

// cards is a list such as the queue: ids and object keys are random, the
// rest repeats. n of them are about 296 n bytes.
func cards(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	names := strings.Fields("Ana Ben Cleo Dan Eva Finn Gia Hugo Ida Jan Kim Leo Mia Noa Ole Pia Quinn Rosa Sam Tea")
	genders := []string{"female", "male", "nonbinary", "unspecified"}
	var b bytes.Buffer
	b.WriteString(`{"cards":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"userId":"%08x-%04x-4%03x-a%03x-%012x","name":"%s","gender":"%s","selfieUrl":"https://media.example.com/selfies/%016x.webp","videoUrl":"https://media.example.com/videos/%016x.mp4","hasCooldown":%t,"cooldownUntil":null,"lastActiveAt":"2026-11-23T04:%02d:%02d.000Z"}`,
			r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64N(1<<48), names[r.IntN(len(names))], genders[r.IntN(4)],
			r.Uint64(), r.Uint64(), r.IntN(9) == 0, r.IntN(60), r.IntN(60))
	}
	fmt.Fprintf(&b, `],"total":%d}`, n)
	return b.Bytes()
}

// prose is words, some of them frequent: many short repetitions.
func prose(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var words []string
	for range 700 {
		w := []byte("aeiounrstlchdm")
		r.Shuffle(len(w), func(i, j int) { w[i], w[j] = w[j], w[i] })
		words = append(words, string(w[:1+r.IntN(9)]))
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(1+r.IntN(len(words)))])
		b.WriteByte(' ')
	}
	return b.Bytes()[:n]
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func unbrotli(t testing.TB, b []byte) []byte {
	out, err := io.ReadAll(brotli.NewReader(bytes.NewReader(b)))
	require.NoError(t, err)
	return out
}

func bodies() map[string][]byte {
	all := map[string][]byte{
		"one":    []byte("x"),
		"two":    []byte("xy"),
		"runs":   bytes.Repeat([]byte("a"), 100000),
		"pair":   bytes.Repeat([]byte("ab"), 3000),
		"cards":  cards(50, 1),
		"large":  cards(500, 2),
		"noise":  noise(70000),
		"noise5": noise(5),
		"prose":  prose(150000),
		"both":   append(cards(60, 4), prose(90000)...),
		"mixed":  append(append(cards(20, 3), noise(30000)...), cards(20, 3)...),
	}
	for i, text := range texts(10) {
		all[fmt.Sprint("words", i)] = text
	}
	return all
}

func TestBrotliWhole(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	for name, body := range bodies() {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				s := stream{coding: brCoding, pad: len(name) * 90}
				require.Equal(t, body, unbrotli(t, e.whole(nil, &s, body)))
			}
		})
	}
}

// TestBrotliContexts has each byte after each two others, so that a decoder
// which takes another context for any of them decodes something else.
func TestBrotliContexts(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	var body []byte
	for one := range 256 {
		for two := range 256 {
			body = append(body, byte(two), byte(one), byte(r.IntN(256)))
		}
	}
	e := new(blockEncoder)
	var st brotliState
	var w bitWriter
	st.header(&w, window(len(body)))
	e.find.words, e.find.short = words(), true
	for start := 0; start < len(body); start += maxContextLiterals {
		end := min(start+maxContextLiterals, len(body))
		e.commands = append(e.commands[:0], command{insert: uint32(end - start)})
		require.True(t, e.inContext())
		e.brotliBlock(&w, &st, body, start, end, end == len(body))
	}
	w.align()
	require.True(t, bytes.Equal(body, unbrotli(t, w.out)))
}
