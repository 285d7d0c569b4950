package signaling

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBlocks(t *testing.T) {
	for n := range 4 * smallMessage {
		b := newBlock(n)
		require.Equal(t, n > minBlock-blockStep && n <= maxBlock, b != nil, n)
		if b != nil {
			require.GreaterOrEqual(t, len(b.bytes), n)
			require.Less(t, len(b.bytes), n+blockStep)
			b.free()
		}
	}
}

// TestForwardedBytesAreHeld ends a session while a message to it is being
// written. Until that is done its memory must not go to messages of others.
func TestForwardedBytesAreHeld(t *testing.T) {
	h, ann := idle(t, func(o *Options) { o.MaxRooms, o.QueueBytes = 2, 1<<20 })
	cid, err := h.add("cid")
	require.NoError(t, err)
	dan, err := h.add("dan")
	require.NoError(t, err)
	cid.state, dan.state = peerAway, peerAway
	conn, r, err := pipe(h, "bob")
	require.NoError(t, err)
	defer conn.Close()
	hello := make([]byte, 4)
	_, err = io.ReadFull(r, hello)
	require.NoError(t, err)
	_, err = r.Discard(int(hello[2])<<8 | int(hello[3]))
	require.NoError(t, err)
	bob := h.Peers("bob")[0]
	for id, members := range map[string][]*Peer{"ours": {ann, bob}, "theirs": {cid, dan}} {
		room, err := h.OpenRoom(id, RoomOptions{Members: []string{members[0].user, members[1].user}})
		require.NoError(t, err)
		require.NoError(t, room.Join(members[0]))
		require.NoError(t, room.Join(members[1]))
	}
	text := func(room, letter string) Message {
		return chat(`{"roomId":"` + room + `","text":"` + strings.Repeat(letter, 1000) + `"}`)
	}

	require.NoError(t, h.Forward(ann, text("ours", "a")))
	require.Eventually(t, func() bool { // it has begun, and nobody reads
		bob.mu.Lock()
		defer bob.mu.Unlock()
		return bob.sock.writing && bob.out.flying == 1
	}, 10*time.Second, time.Millisecond)
	frame := bob.out.frames[bob.out.sent]
	got := make([]byte, len(frame.wire))
	bob.end(CloseInfo{Code: 4008}, true)
	require.EqualValues(t, 1, frame.refs.Load(), "the writer holds it")
	for range 100 {
		require.NoError(t, h.Forward(cid, text("theirs", "c")))
	}
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	require.Contains(t, string(got), strings.Repeat("a", 1000))
	go io.Copy(io.Discard, r)
	require.Eventually(t, func() bool { return frame.refs.Load() == 0 }, 10*time.Second, time.Millisecond)
	for _, m := range texts(dan) {
		require.Contains(t, m, strings.Repeat("c", 1000))
	}
}
