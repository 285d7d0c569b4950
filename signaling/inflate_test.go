package signaling

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The ways in which a client may deflate a part of a message. Each of them ends
// at a byte's end.

// stored is a block without compression.
func stored(p []byte, final bool) []byte {
	first := byte(0)
	if final {
		first = 1
	}
	b := binary.LittleEndian.AppendUint16([]byte{first}, uint16(len(p)))
	return append(binary.LittleEndian.AppendUint16(b, ^uint16(len(p))), p...)
}

// fixed is a block of ASCII with the code that is fixed, padded with zeros.
func fixed(p []byte, final bool) (b []byte) {
	n := 0
	put := func(v, bits int) { // the highest first, as codes are
		for i := bits - 1; i >= 0; i-- {
			if n%8 == 0 {
				b = append(b, 0)
			}
			b[len(b)-1] |= byte(v>>i&1) << (n % 8)
			n++
		}
	}
	put(2, 3)
	if final {
		b[0]++
	}
	for _, c := range p {
		put(0x30+int(c), 8)
	}
	put(0, 7)
	return b
}

// flushed is what zlib's sync flush makes of p, its last four bytes included;
// it may refer to what came before.
func flushed(p, before []byte) []byte { return written(p, before, (*flate.Writer).Flush) }

// finished is the same as zlib's finish makes it, with the last block final.
func finished(p, before []byte) []byte { return written(p, before, (*flate.Writer).Close) }

func written(p, before []byte, end func(*flate.Writer) error) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriterDict(&b, 9, before)
	w.Write(p)
	end(w)
	return b.Bytes()
}

// less takes the last four bytes off, as the end of a message has it.
func less(p []byte) []byte { return bytes.TrimSuffix(p, []byte{0, 0, 0xff, 0xff}) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

const (
	said1 = `{"type":"echo","id":1,`
	said2 = `"data":"tell, tell, tell"}`
	said  = said1 + said2
)

// deflatedMessages are all shapes of RFC 7692, 7.2.3, and some more, of one
// message.
func deflatedMessages() map[string][]byte {
	one, two, all := []byte(said1), []byte(said2), []byte(said)
	empty := []byte{0, 0, 0, 0xff, 0xff} // after a byte's end
	return map[string][]byte{
		"one block":                     less(flushed(all, nil)),
		"one block, fixed code":         fixed(all, false),
		"no compression":                join(stored(all, false), []byte{0}),
		"final":                         join(fixed(all, true), []byte{0}),
		"final, no octet after it":      fixed(all, true),
		"final, no compression":         join(stored(all, true), []byte{0}),
		"final as zlib ends":            finished(all, nil),
		"two blocks":                    join(flushed(one, nil), less(flushed(two, one))),
		"two blocks, one final":         join(fixed(one, true), less(flushed(two, nil))),
		"two blocks, both final":        join(fixed(one, true), fixed(two, true), []byte{0}),
		"final, then copies from it":    join(finished(one, nil), less(flushed(two, one))),
		"final, then an empty block":    join(fixed(all, true), empty, []byte{0}),
		"final, then many empty blocks": join(fixed(all, true), bytes.Repeat(empty, 3000), []byte{0}),
		"a few final":                   join(bytes.Repeat(stored(nil, true), 5), fixed(all, true), []byte{0}),
	}
}

// framed puts a deflated message into frames that end at the given places.
func framed(p []byte, cuts ...int) (b []byte) {
	first, at := byte(rsv1Bit|opText), 0
	for _, cut := range cuts {
		b = append(b, masked(first, string(p[at:cut]))...)
		first, at = 0, cut
	}
	return append(b, masked(finBit|first, string(p[at:]))...)
}

// TestExamplesOfRFC7692 inflates the examples of its section 7.2.3 as they stand
// there.
func TestExamplesOfRFC7692(t *testing.T) {
	h := &Hub{opt: Options{MaxMessageBytes: 10}}
	for name, test := range map[string]struct {
		message, want string
		err           error
	}{
		"7.2.3.1":                   {"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", nil},
		"7.2.3.2, without takeover": {"\xf2\x00\x11\x00\x00", "H", errDeflate}, // which is not given out
		"7.2.3.3":                   {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello", nil},
		"7.2.3.4":                   {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello", nil},
		"7.2.3.5":                   {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello", nil},
		"7.2.3.6, empty":            {"\x00", "", nil},
		"7.2.3.4 and then 7.2.3.2":  {"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", "HelloHello", nil},
	} {
		c := contents.Get().(*content)
		require.Equal(t, test.err, c.inflate(h, []byte(test.message)), name)
		require.Equal(t, test.want, string(c.b), name)
		c.free(h)
	}
}

// TestDeflatedMessages has each shape arrive as a whole, in frames and with
// pauses, between two messages.
func TestDeflatedMessages(t *testing.T) {
	before, after := masked(finBit|opText, `{"type":"echo","id":0}`), masked(finBit|opText, `{"type":"echo","id":2}`)
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.Compress = portable, true })
		for name, message := range deflatedMessages() {
			t.Run(name, func(t *testing.T) {
				s := &server{t: t, hub: s.hub, url: s.url}
				c := s.dial("ann", "")
				write := func(parts ...[]byte) {
					t.Helper()
					for _, p := range parts {
						_, err := c.ws.NetConn().Write(p)
						require.NoError(t, err)
						if len(parts) > 1 {
							time.Sleep(2 * time.Millisecond)
						}
					}
				}
				arrives := func() {
					t.Helper()
					for _, id := range []string{"0", "1", "2"} {
						m := c.next()
						require.Equal(t, id, string(m.ID))
						if id == "1" {
							require.Equal(t, `"tell, tell, tell"`, string(m.Data))
						}
					}
				}
				write(join(before, framed(message), after))
				arrives()
				for _, cut := range []int{0, 1, len(message) / 2, len(message) - 1, len(message)} {
					b := framed(message, cut)
					write(join(before, b, after))
					arrives()
					if cut > 0 { // with a pause at the end of the first frame
						n := len(masked(0, string(message[:cut])))
						write(before, b[:n], join(b[n:], after))
						arrives()
					}
				}
				b := framed(message)
				write(before, b[:len(b)-1], b[len(b)-1:], after)
				arrives()
				b = nil // every byte in a frame of its own, with pings between
				for i := range min(len(message), 200) {
					first := byte(0)
					if i == 0 {
						first = rsv1Bit | opText
					}
					b = append(b, masked(first, string(message[i:i+1]))...)
					b = append(b, masked(finBit|opPing, string(rune(i)))...)
				}
				b = append(b, masked(finBit, string(message[min(len(message), 200):]))...)
				write(join(before, b, after))
				arrives()
			})
		}
	})
}

// TestBadDeflate: what does not inflate closes with 1007, and what was said
// before has arrived.
func TestBadDeflate(t *testing.T) {
	all := []byte(said)
	tests := map[string]struct {
		message []byte
		code    int
	}{
		"garbage after the final block":        {join(fixed(all, true), []byte{0xff, 0xff}), 1007},
		"more garbage after it":                {join(fixed(all, true), bytes.Repeat([]byte{0xff}, 9000)), 1007},
		"text after it":                        {join(fixed(all, true), all), 1007},
		"message after it":                     {join(fixed(all, true), fixed(all, true)), 1007}, // is no JSON
		"half a block after it":                {join(fixed(all, true), stored(all, true)[:9]), 1007},
		"half a block":                         {stored(all, false)[:9], 1007},
		"copy from before the message":         {less(flushed([]byte(said2), []byte(said))), 1007},
		"reserved type of block":               {[]byte{6}, 1007},
		"nothing":                              {nil, 1007}, // inflates to nothing, which is no JSON
		"too large behind the final block":     {join(finished(spaces(40<<10), nil), finished(spaces(40<<10), nil)), 1009},
		"more final blocks than anybody sends": {bytes.Repeat([]byte{3, 0}, 30<<10), 1007},
	}
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, func(o *Options) { o.Portable, o.Compress, o.ResumeFor = portable, true, -1 })
		got := s.got
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				for _, cut := range []int{len(test.message), len(test.message) / 2, len(test.message) - len(test.message)/3} {
					s := &server{t: t, hub: s.hub, url: s.url}
					c := s.dial("ann", "")
					_, err := c.ws.NetConn().Write(join(masked(finBit|opText, `{"type":"echo","id":0}`), framed(test.message, cut)))
					require.NoError(t, err)
					require.Equal(t, test.code, c.closed())
					require.Equal(t, "0", string((<-got).ID))
				}
			})
		}
	})
}

func spaces(n int) []byte { return bytes.Repeat([]byte(" "), n) }

// TestLimitOfInflated: to the byte, however many final blocks there are.
func TestLimitOfInflated(t *testing.T) {
	s := serve(t, func(o *Options) { o.Compress, o.MaxMessageBytes, o.ResumeFor = true, 10000, -1 })
	for _, n := range []int{10000, 10001} {
		c := s.dial("ann", "")
		pad := spaces(n - len(said))
		_, err := c.ws.NetConn().Write(framed(join(finished([]byte(said), nil), finished(pad[:4000], nil), less(flushed(pad[4000:], nil)))))
		require.NoError(t, err)
		if n == 10000 {
			require.Equal(t, "1", string(c.next().ID))
			c.ws.Close()
		} else {
			require.Equal(t, 1009, c.closed())
		}
	}
}

// TestRandomDeflate has messages in pieces of all shapes, in frames of all
// sizes, arrive whole.
func TestRandomDeflate(t *testing.T) {
	s := serve(t, func(o *Options) { o.Compress = true })
	c := s.dial("ann", "")
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		data := strings.Repeat(fmt.Sprint("word", r.IntN(3), " "), r.IntN(400))
		plain := fmt.Appendf(nil, `{"type":"echo","id":%d,"data":%q}`, i, data)
		var message []byte
		for at := 0; at < len(plain); {
			next := at + 1 + r.IntN(len(plain)-at)
			if r.IntN(3) == 0 {
				next = len(plain)
			}
			p := plain[at:next]
			message = append(message, [...]func() []byte{
				func() []byte { return stored(p, false) },
				func() []byte { return stored(p, true) },
				func() []byte { return fixed(p, true) },
				func() []byte { return flushed(p, plain[:at]) },
				func() []byte { return finished(p, plain[:at]) },
			}[r.IntN(5)]()...)
			at = next
		}
		message = append(message, 0)
		var cuts []int
		for at := r.IntN(3000); at < len(message) && len(cuts) < 50; at += r.IntN(3000) {
			cuts = append(cuts, at)
		}
		b := framed(message, cuts...)
		for len(b) > 0 {
			n := 1 + r.IntN(len(b))
			_, err := c.ws.NetConn().Write(b[:n])
			require.NoError(t, err)
			b = b[n:]
		}
		m := c.next()
		require.Equal(t, fmt.Sprint(i), string(m.ID))
		require.Equal(t, fmt.Sprintf("%q", data), string(m.Data))
	}
}

// TestInflatersAreFew: while as many messages inflate as there are processors,
// another one waits, and what is not deflated does not.
func TestInflatersAreFew(t *testing.T) {
	s := serve(t, func(o *Options) { o.Compress = true })
	for range cap(inflating) {
		inflating <- struct{}{}
	}
	waiting, plain := s.dial("ann", ""), s.dial("bob", "")
	_, err := waiting.ws.NetConn().Write(framed(less(flushed([]byte(said), nil))))
	require.NoError(t, err)
	_, err = plain.ws.NetConn().Write(masked(finBit|opText, said))
	require.NoError(t, err)
	require.Equal(t, "1", string(plain.next().ID))
	require.EqualValues(t, 1, s.hub.Stats().MessagesIn)
	for range cap(inflating) {
		<-inflating
	}
	require.Equal(t, "1", string(waiting.next().ID))
}
