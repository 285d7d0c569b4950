package compress

import (
	"bytes"
	"io"
	"math/bits"
	"sync"
	"unsafe"

	"github.com/andybalholm/brotli"
)

// A wordIndex finds words in the dictionary that every brotli decoder has, RFC
// 7932, appendix A: those of small letters only, which are most of what a text
// in English, JSON or HTML has of them.
type wordIndex struct {
	text []byte                // all words, by length, and eight bytes more
	refs [1 << wordBits]uint16 // length<<11 | number, or 0
}

const (
	wordBits = 15
	minWord  = 4
)

// For each length of words, how many bits their numbers have, and where in the
// text they begin.
var (
	wordNumberBits = [32]uint8{minWord: 10, 10, 11, 11, 10, 10, 10, 10, 10, 9, 9, 8, 7, 7, 8, 7, 7, 6, 6, 5, 5}
	wordsStart     = func() (start [32]int) {
		for n := minWord + 1; n < len(start); n++ {
			start[n] = start[n-1] + (n-1)<<wordNumberBits[n-1]
		}
		return start
	}()
)

// words has the dictionary told by the decoder: it encodes a copy of each word.
var words = sync.OnceValue(func() *wordIndex {
	var e blockEncoder
	var st brotliState
	var w bitWriter
	st.header(&w, 24)
	pos := 0
	for n := minWord; wordNumberBits[n] > 0; n++ {
		e.commands = e.commands[:0]
		for number := range 1 << wordNumberBits[n] {
			e.commands = append(e.commands, command{0, uint32(n), wordDistance(pos, n, number, 0)})
			pos += n
		}
		e.brotliBlock(&w, &st, make([]byte, pos), pos-n<<wordNumberBits[n], pos, false)
	}
	finish(&w)
	text, err := io.ReadAll(brotli.NewReader(bytes.NewReader(w.out)))
	if err != nil {
		panic("compress: brotli's dictionary: " + err.Error())
	}
	d := &wordIndex{text: append(text, make([]byte, 8)...)}
	base := unsafe.Pointer(unsafe.SliceData(d.text))
	for n := minWord; wordNumberBits[n] > 0; n++ {
		for number := range 1 << wordNumberBits[n] {
			at := wordsStart[n] + n*number
			ref := &d.refs[wordHash(load64(base, at), n)]
			if *ref == 0 && !bytes.ContainsFunc(text[at:at+n], func(r rune) bool { return r < 'a' || r > 'z' }) {
				*ref = uint16(n<<11 | number)
			}
		}
	}
	return d
})

// wordDistance is the distance of a command that copies a word of n bytes to
// pos: beyond the beginning. Above wordShift is n, as the command's own length
// is what the word becomes by a transform.
func wordDistance(pos, n, number, transform int) uint32 {
	return uint32(n<<wordShift | (pos + 1 + number + transform<<wordNumberBits[n&31]))
}

const wordShift = 25

// wordHash is for a word of n bytes of which the first are v.
func wordHash(v uint64, n int) uint64 {
	v &= 1<<(8*min(uint(n), 7)) - 1
	return (v + uint64(n)) * 0x9e3779b185ebca87 >> (64 - wordBits)
}

// find returns the number of the word of n letters at base+i, of which the
// first eight bytes are v.
func (d *wordIndex) find(base unsafe.Pointer, i, n int, v uint64) (number int, ok bool) {
	ref := int(d.refs[wordHash(v, n)])
	number = ref & (1<<11 - 1)
	if ref>>11 != n {
		return 0, false
	}
	text, at := unsafe.Pointer(unsafe.SliceData(d.text)), wordsStart[n&31]+n*number
	different := load64(text, at) ^ v
	if n < 8 {
		different <<= 64 - 8*uint(n)
	} else {
		different |= load64(text, at+n-8) ^ load64(base, i+n-8)
	}
	return number, different == 0
}

// wordSpace is the transform that adds a space, RFC 7932, appendix B.
const wordSpace = 1

// wordAt is word for a place s that may be anything.
func (m *matchFinder) wordAt(best match, s, end int) match {
	v := load64(unsafe.Pointer(unsafe.SliceData(m.buf)), s)
	letters := smallLetters(v)
	if letters < minWord || m.buf[s-1]-'a' < 26 {
		return best
	}
	return m.word(best, s, v, letters, end)
}

// word returns best, or a word of the dictionary whose letters begin at s, if
// that saves more. A space behind it is copied along; other marks are so rare
// there that their distances take more than they save. The first eight bytes at
// s are v, the first letters of them small.
func (m *matchFinder) word(best match, s int, v uint64, letters, end int) match {
	base := unsafe.Pointer(unsafe.SliceData(m.buf))
	if letters == 8 && s+24 < end {
		letters += smallLetters(load64(base, s+8))
	}
	if s+letters >= end {
		return best
	}
	number, ok := m.words.find(base, s, letters, v)
	if !ok {
		return best
	}
	f, transform := match{at: s, length: letters}, 0
	if m.buf[s+letters] == ' ' {
		f.length, transform = letters+1, wordSpace
	}
	f.distance = int(wordDistance(f.at, letters, number, transform))
	f.score = f.length*byteScore - m.price.copy - 8*(bits.Len(uint(f.distance&(1<<wordShift-1)))+2)
	if f.score > best.score {
		return f
	}
	return best
}

// smallLetters returns how many of them the eight bytes of v begin with.
func smallLetters(v uint64) int {
	const each = 0x0101010101010101
	low := v &^ (0x80 * each)
	small := (low + (0x80-'a')*each) &^ (low + (0x7f-'z')*each) &^ v
	return bits.TrailingZeros64(^small&(0x80*each)) >> 3
}
