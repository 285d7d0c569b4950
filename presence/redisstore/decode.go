package redisstore

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/plimsoll-go/plimsoll/presence"
)

var errBad = errors.New("redisstore: not an answer of ours")

// unpack reads a list of strings, each with its length before it, as far as it
// is one.
func unpack(s string) (out []string) {
	for len(s) >= 4 {
		n := uint64(binary.BigEndian.Uint32([]byte(s[:4])))
		if s = s[4:]; n > uint64(len(s)) {
			return out
		}
		out = append(out, s[:n])
		s = s[n:]
	}
	return out
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

func position(epoch, offset string) presence.Position {
	return presence.Position{Epoch: epoch, Offset: number(offset)}
}

func tag(s string) uint64 {
	if len(s) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(s))
}

// event reads one of a log.
func event(topic, packed string, pos presence.Position) (presence.Event, bool) {
	f := unpack(packed)
	if len(f) != 6 {
		return presence.Event{}, false
	}
	kind := presence.OpKind(number(f[0]))
	if kind < presence.Put || kind > presence.Leave {
		return presence.Event{}, false
	}
	e := presence.Event{Kind: kind, Topic: topic, Pos: pos, User: f[1], Incarnation: f[2], Tag: tag(f[4]), Seen: number(f[5])}
	if kind == presence.Put {
		e.Meta = []byte(f[3])
	}
	return e, true
}

// published reads what a channel brings: an epoch, the offset of the first
// event, and the events.
func published(topic, payload string) (out []presence.Event) {
	f := unpack(payload)
	if len(f) != 3 {
		return nil
	}
	pos := position(f[0], f[1])
	for _, packed := range unpack(f[2]) {
		if e, ok := event(topic, packed, pos); ok {
			out = append(out, e)
		}
		pos.Offset++
	}
	return out
}

// update reads the answer of readScript.
func update(topic string, from presence.Position, answer []any) (presence.Update, error) {
	var u presence.Update
	if len(answer) != 4 {
		return u, errBad
	}
	all, ok1 := answer[0].(int64)
	epoch, ok2 := answer[1].(string)
	offset, ok3 := answer[2].(string)
	list, ok4 := answer[3].([]any)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return u, errBad
	}
	u.All, u.Pos = all == 1, position(epoch, offset)
	if !u.All {
		for i, x := range list {
			packed, _ := x.(string)
			e, ok := event(topic, packed, presence.Position{Epoch: epoch, Offset: from.Offset + uint64(i) + 1})
			if !ok {
				return presence.Update{}, errBad
			}
			u.Events = append(u.Events, e)
		}
		return u, nil
	}
	for i := 0; i+1 < len(list); i += 2 {
		user, _ := list[i].(string)
		said, _ := list[i+1].(string)
		f := unpack(said)
		for ; len(f) >= 4; f = f[4:] {
			u.Events = append(u.Events, presence.Event{
				Kind: presence.Put, Topic: topic, Pos: position(epoch, f[1]),
				User: user, Incarnation: f[0], Tag: tag(f[2]), Meta: []byte(f[3]),
			})
		}
	}
	slices.SortFunc(u.Events, func(a, b presence.Event) int { return int(a.Pos.Offset) - int(b.Pos.Offset) })
	return u, nil
}
