package compress

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestWords looks for each word of the dictionary and finds most of those that
// consist of small letters, and no other.
func TestWords(t *testing.T) {
	d := words()
	require.Len(t, d.text, 122784+8)
	base := unsafe.Pointer(unsafe.SliceData(d.text))
	small, found := 0, 0
	for n := minWord; wordNumberBits[n] > 0; n++ {
		for number := range 1 << wordNumberBits[n] {
			at := wordsStart[n] + n*number
			word := string(d.text[at : at+n])
			if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == "" {
				small++
			}
			if got, ok := d.find(base, at, n, load64(base, at)); ok {
				require.Equal(t, word, string(d.text[wordsStart[n]+n*got:][:n]))
				found++
			}
		}
	}
	t.Logf("%d of %d", found, small)
	require.Greater(t, found, small*4/5)
	require.LessOrEqual(t, found, small)
}

// texts are short bodies of words of the dictionary, as well as of others, with
// all that may be around them.
func texts(n int) (texts [][]byte) {
	r, d := rand.New(rand.NewPCG(5, 6)), words()
	for range n {
		var b bytes.Buffer
		for most := 1 + r.IntN(briefBytes); b.Len() < most; {
			length := minWord + r.IntN(21)
			at := wordsStart[length] + length*r.IntN(1<<wordNumberBits[length])
			b.Write(d.text[at:][:length-max(0, r.IntN(8)-4)])
			b.WriteString([]string{"", " ", "  ", `"`, ".", ",", ", ", `":"`, "s ", "\x80", "\xff"}[r.IntN(11)])
		}
		texts = append(texts, b.Bytes())
	}
	return texts
}

func TestBrotliWords(t *testing.T) {
	e := engine{blocks: new(blockEncoder)}
	plain, encoded := 0, 0
	for _, text := range texts(2000) {
		s := stream{coding: brCoding}
		out := e.whole(nil, &s, text)
		require.Equal(t, text, unbrotli(t, out))
		plain += len(text)
		encoded += len(out)
	}
	t.Logf("%d bytes from %d", encoded, plain)
}

func TestSmallLetters(t *testing.T) {
	for _, s := range []string{"", "a", "z", "abcdefg", "azazazaz", "abcD", "abc\xe1defg", "ab`cdefg", "ab{cdefg", "abc efgh", "\x80aaaaaaa"} {
		b := []byte(s + "        ")
		want := len(s) - len(strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz"))
		require.Equal(t, want, smallLetters(load64(unsafe.Pointer(unsafe.SliceData(b)), 0)), "%q", s)
	}
}
