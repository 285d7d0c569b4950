package web

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// Savings say which ways to send less are in use.
type Savings struct {
	// HTTP encodes answers.
	HTTP bool
	// Payload sends the cards of the queue as rows, without the names of their
	// fields, to clients that ask for it.
	Payload bool
	// Delta sends what changed in a window of the queue, not the window.
	Delta bool
}

// queueDeltaKind is the message with a frame of compress.Delta.
const (
	queueDeltaKind = "queue:delta"
	queueMarksKind = "queue:marks"
)

// windows turns what happens in the queue into messages. A client that asks
// gets queue:delta: what changed, encoded once for all who see the same, and
// queue:marks for what is on a card for one viewer alone. Others get
// queue:snapshot and queue:update. Viewers with an equal window share its
// state; the memory of all is bounded, and who finds no room gets the messages
// of those who did not ask.
type windows struct {
	savings Savings
	states  *compress.DeltaStates[dating.Card]

	mu      sync.Mutex
	viewers map[string]*viewer // by socket
	steps   map[stepKey]*step

	whole, sent, messages, encoded, refused atomic.Uint64
}

// viewer is one socket's window.
type viewer struct {
	asked bool // speaks queue:delta
	at    *compress.DeltaState[dating.Card]
	marks map[dating.UserID]mark // without deltas, of the cards in the window
}

// A step is what an event that many get does to a window that many see. The
// latest ones are kept, with a reference to each state.
type stepKey struct {
	from  *compress.DeltaState[dating.Card] // nil: a whole window
	event *dating.Shared
}

type step struct {
	to    *compress.DeltaState[dating.Card]
	whole int // bytes of the window as JSON
	frame *signaling.Frame
}

const maxSteps = 64

// QueueStats are the figures of the queue's windows.
type QueueStats struct {
	Messages    uint64 // about the queue, to sockets
	WholeBytes  uint64 // what they would take as whole windows, as JSON
	SentBytes   uint64 // what they took, before the socket compresses
	Encoded     uint64 // how many were encoded: the others are the same ones
	Refused     uint64 // messages for which there was no room to make a delta
	States      int    // windows that are kept to tell what changes
	StatesBytes int64  // and their memory
}

func newWindows(s Savings, o compress.DeltaOptions) (*windows, error) {
	states, err := compress.NewDeltaStates[dating.Card](o)
	return &windows{savings: s, states: states, viewers: make(map[string]*viewer), steps: make(map[stepKey]*step)}, err
}

// ask says that socket speaks queue:delta from its next window on.
func (q *windows) ask(socket string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.viewerLocked(socket).asked = true
}

func (q *windows) viewerLocked(socket string) *viewer {
	v := q.viewers[socket]
	if v == nil {
		v = &viewer{}
		q.viewers[socket] = v
	}
	return v
}

// forget drops what is known of a socket.
func (q *windows) forget(socket string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if v := q.viewers[socket]; v != nil {
		v.become(nil)
		delete(q.viewers, socket)
	}
}

func (v *viewer) become(s *compress.DeltaState[dating.Card]) {
	if v.at != nil {
		v.at.Release()
	}
	v.at = s
}

// frames gives what to send for an event of the queue. The events of one
// socket must come one at a time.
func (q *windows) frames(e dating.Event) ([]*signaling.Frame, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := q.viewerLocked(e.Socket)
	rows := v.asked && q.savings.Payload
	st, err := q.stepLocked(v, e, rows)
	if errors.Is(err, compress.ErrStateTooLarge) {
		q.refused.Add(1)
		v.become(nil)
		st = nil
	} else if err != nil {
		return nil, err
	}
	var out []*signaling.Frame
	switch {
	case st == nil || !rows && q.savings.Delta: // the window as JSON, or what changed in it
		frame, err := q.plain(e)
		if err != nil {
			return nil, err
		}
		out = append(out, frame)
	case !rows:
		frame, err := q.wholeLocked(v, st, e)
		if err != nil {
			return nil, err
		}
		out = append(out, frame)
	default:
		if st.frame != nil {
			out = append(out, st.frame)
		}
		marks := marksOf(e)
		if !q.savings.Delta { // every frame is a whole window, without marks
			marks = v.remember(e)
		}
		if len(marks) > 0 {
			frame, err := signaling.NewFrame(signaling.Data, queueMarksKind, map[string]any{"marks": marks})
			if err != nil {
				return nil, err
			}
			q.encoded.Add(1)
			out = append(out, frame)
		}
	}
	for _, f := range out {
		q.messages.Add(1)
		q.sent.Add(uint64(f.Len()))
	}
	if st != nil {
		q.whole.Add(uint64(st.whole))
	}
	return out, nil
}

// stepLocked brings the window of v to what it is after e. Nil: it is not known.
func (q *windows) stepLocked(v *viewer, e dating.Event, rows bool) (*step, error) {
	key := stepKey{event: e.Shared}
	var cards []dating.Card
	var beside besides
	_, whole := e.Plain.(*dating.Window)
	if !whole {
		if key.from = v.at; v.at == nil {
			return nil, nil // there was no room for the window
		}
	}
	st := q.steps[key]
	if st == nil || e.Shared == nil {
		switch d := e.Plain.(type) {
		case *dating.Window:
			cards, beside = d.Cards, besides{d.Total, d.Cursor}
		case *dating.QueueUpdate:
			cards, beside = d.Apply(v.at.Rows()), besides{d.Total, d.Cursor}
		}
		to, err := q.states.State(cards, beside)
		if err != nil {
			return nil, err
		}
		st = &step{to: to}
		// What the window would take as JSON, and as a message.
		size, err := json.Marshal(&dating.Window{Cards: cards, Total: beside.total, Cursor: beside.cursor})
		if err != nil {
			to.Release()
			return nil, err
		}
		st.whole = len(size) + len(`{"type":"queue:snapshot","data":}`)
		if e.Shared != nil {
			q.keepLocked(key, st)
		} else {
			defer to.Release()
		}
	}
	if rows && st.frame == nil {
		frame := st.to.Snapshot()
		if !whole && q.savings.Delta {
			frame = key.from.To(st.to)
		}
		if frame != nil {
			var err error
			if st.frame, err = signaling.NewFrame(signaling.Data, queueDeltaKind, json.RawMessage(frame)); err != nil {
				return nil, err
			}
			q.encoded.Add(1)
		}
	}
	st.to.Retain()
	v.become(st.to)
	return st, nil
}

// keepLocked remembers a step for the others who take it. It holds on to both
// states of it.
func (q *windows) keepLocked(key stepKey, st *step) {
	if len(q.steps) >= maxSteps {
		q.dropSteps()
	}
	if key.from != nil {
		key.from.Retain()
	}
	q.steps[key] = st
}

func (q *windows) dropSteps() {
	for key, st := range q.steps {
		if key.from != nil {
			key.from.Release()
		}
		st.to.Release()
	}
	clear(q.steps)
}

// plain is the message for a client that did not ask for deltas.
func (q *windows) plain(e dating.Event) (*signaling.Frame, error) {
	encode := func() any {
		q.encoded.Add(1)
		frame, err := signaling.NewFrame(signaling.Data, e.Kind, e.Data)
		if err != nil {
			return err
		}
		return frame
	}
	made := any(nil)
	if e.Shared != nil && e.Data == e.Plain {
		made = e.Shared.Do(encode)
	} else {
		made = encode()
	}
	if err, failed := made.(error); failed {
		return nil, err
	}
	return made.(*signaling.Frame), nil
}

// wholeLocked is the message with the whole window.
func (q *windows) wholeLocked(v *viewer, st *step, e dating.Event) (*signaling.Frame, error) {
	data := dating.Window{Cards: append([]dating.Card(nil), st.to.Rows()...)}
	switch d := e.Plain.(type) {
	case *dating.Window:
		data.Total, data.Cursor = d.Total, d.Cursor
	case *dating.QueueUpdate:
		data.Total, data.Cursor = d.Total, d.Cursor
	}
	v.remember(e)
	for i := range data.Cards {
		m := v.marks[data.Cards[i].UserID]
		data.Cards[i].CooldownUntil, data.Cards[i].IntroducedBy = m.CooldownUntil, m.IntroducedBy
	}
	q.encoded.Add(1)
	return signaling.NewFrame(signaling.Data, dating.QueueSnapshotKind, &data)
}

// remember gives all marks in the window after e.
func (v *viewer) remember(e dating.Event) (all []mark) {
	old := v.marks
	v.marks = nil
	all = append(all, marksOf(e)...)
	if u, ok := e.Plain.(*dating.QueueUpdate); ok {
		for _, c := range v.at.Rows() {
			if m, ok := old[c.UserID]; ok && !slices.ContainsFunc(u.Added, func(a dating.Card) bool { return a.UserID == c.UserID }) {
				all = append(all, m)
			}
		}
	}
	if len(all) > 0 {
		v.marks = make(map[dating.UserID]mark, len(all))
		for _, m := range all {
			v.marks[m.UserID] = m
		}
	}
	return all
}

// besides are the total and the cursor of a window: what a frame has beside
// its rows.
type besides struct {
	total  int
	cursor string
}

// MarshalJSON implements json.Marshaler.
func (b besides) MarshalJSON() ([]byte, error) {
	if b.cursor == "" {
		return json.Marshal([]int{b.total})
	}
	return json.Marshal([]any{b.total, b.cursor})
}

// A mark is what is on a card for one viewer.
type mark struct {
	UserID        dating.UserID `json:"userId"`
	CooldownUntil *time.Time    `json:"cooldownUntil,omitempty"`
	IntroducedBy  string        `json:"introducedBy,omitempty"`
}

func marksOf(e dating.Event) []mark {
	if e.Data == e.Plain {
		return nil
	}
	var cards []dating.Card
	switch d := e.Data.(type) {
	case *dating.Window:
		cards = d.Cards
	case *dating.QueueUpdate:
		cards = d.Added
	}
	var marks []mark
	for i := range cards {
		if c := &cards[i]; c.Marked() {
			marks = append(marks, mark{c.UserID, c.CooldownUntil, c.IntroducedBy})
		}
	}
	return marks
}

// Stats returns the figures so far.
func (q *windows) Stats() QueueStats {
	s := QueueStats{Messages: q.messages.Load(), WholeBytes: q.whole.Load(), SentBytes: q.sent.Load(), Encoded: q.encoded.Load(), Refused: q.refused.Load()}
	s.States, s.StatesBytes = q.states.Stats()
	return s
}
