package bus

import (
	"encoding/binary"
	"errors"
)

// kind says what a parcel of a link is.
type kind byte

const (
	toUser    kind = iota + 1 // id, body: for a person's browsers
	toAll                     // body
	asking                    // number, id, body: a command, after those with the same id
	answering                 // number, body: what came of it
	failing                   // number, body: why nothing did
	hello                     // the sender is new to the receiver, or begins anew: it tells where its people are
	told                      // and has told of all there were
	here                      // id: the sender wants what is published to this person
	gone                      // id: not any more
	missed                    // parcels before this one were thrown away: the link was full
	bye                       // the sender leaves
	dead                      // the receiver was declared dead by the sender: it has to begin anew
	nothing                   // was taken back
)

// parcel is one thing that a node tells another.
type parcel struct {
	kind   kind
	number uint64 // of a request
	id     string // of a person; a request's key
	body   []byte
}

// cost is about what a parcel holds while it waits.
func (p parcel) cost() int { return 64 + len(p.id) + len(p.body) }

// letter is what is in one entry of an inbox: parcels with successive numbers,
// and how many of the receiver's parcels have arrived.
type letter struct {
	from    string // name.incarnation
	acked   uint64 // of the receiver's parcels, all up to this one have arrived
	urgent  bool   // the sender waits for the acknowledgement
	again   bool   // the sender has missed some after acked
	first   uint64 // number of the first parcel
	parcels []parcel
}

var errLetter = errors.New("bus: a letter that cannot be read")

const (
	flagUrgent = 1 << iota
	flagAgain
)

// parcelMin is the least that a parcel takes: its kind, and three lengths or
// numbers.
const parcelMin = 4

func (l letter) pack() []byte {
	size := len(l.from) + 32
	for _, p := range l.parcels {
		size += 24 + len(p.id) + len(p.body)
	}
	b := make([]byte, 0, size)
	var flags byte
	if l.urgent {
		flags |= flagUrgent
	}
	if l.again {
		flags |= flagAgain
	}
	b = append(b, flags)
	b = putBytes(b, l.from)
	b = binary.AppendUvarint(b, l.acked)
	b = binary.AppendUvarint(b, l.first)
	b = binary.AppendUvarint(b, uint64(len(l.parcels)))
	for _, p := range l.parcels {
		b = append(b, byte(p.kind))
		b = binary.AppendUvarint(b, p.number)
		b = putBytes(b, p.id)
		b = putBytes(b, p.body)
	}
	return b
}

func putBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// unpack reads a letter. The bodies are parts of s.
func unpack(s string) (letter, error) {
	r := reader{b: []byte(s)}
	var l letter
	flags := r.byte()
	l.urgent, l.again = flags&flagUrgent != 0, flags&flagAgain != 0
	l.from = string(r.bytes())
	l.acked, l.first = r.number(), r.number()
	n := r.number()
	if r.bad || n > uint64(len(r.b)/parcelMin) {
		return letter{}, errLetter
	}
	l.parcels = make([]parcel, n)
	for i := range l.parcels {
		l.parcels[i] = parcel{kind: kind(r.byte()), number: r.number(), id: string(r.bytes()), body: r.bytes()}
	}
	if r.bad || len(r.b) > 0 {
		return letter{}, errLetter
	}
	return l, nil
}

// reader takes values from the front of b.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
