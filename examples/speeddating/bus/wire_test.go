package bus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() letter {
	return letter{from: "n1.abc", acked: 7, urgent: true, again: true, first: 300, parcels: []parcel{
		{kind: toUser, id: "ann", body: []byte("hello")}, {kind: asking, number: 1 << 40, body: []byte{}}, {kind: here, id: "bob", body: []byte{}},
	}}
}

func TestLetter(t *testing.T) {
	got, err := unpack(string(sample().pack()))
	require.NoError(t, err)
	require.Equal(t, sample(), got)
	whole := sample().pack()
	for n := range whole {
		_, err := unpack(string(whole[:n]))
		require.Error(t, err)
	}
}

func FuzzLetter(f *testing.F) {
	f.Add(string(sample().pack()))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := unpack(s)
		if err != nil {
			return
		}
		again, err := unpack(string(l.pack()))
		require.NoError(t, err)
		require.Equal(t, l, again)
		now := newLink()
		now.take(l, now.progress)
		require.LessOrEqual(t, now.sent, len(now.queue))
	})
}
