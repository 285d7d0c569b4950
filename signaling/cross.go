package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// busTimeout bounds how long a call waits for the Bus.
const busTimeout = 5 * time.Second

// crossing is what hubs tell each other over the Bus, on the topic of a user
// or of a room.
type crossing struct {
	Node      string          `json:"node"`         // who sent it
	To        string          `json:"to,omitempty"` // room: the member it is for; empty: all
	Type      string          `json:"type,omitempty"`
	Signal    *signal         `json:"signal,omitempty"`
	Class     Class           `json:"class,omitempty"`
	Droppable bool            `json:"droppable,omitempty"`
	Key       string          `json:"key,omitempty"`
	Frame     json.RawMessage `json:"frame,omitempty"` // a whole message
}

func (h *Hub) crossingOf(f *Frame) crossing {
	return crossing{Node: h.node, Class: f.class, Droppable: f.droppable, Key: f.key, Frame: f.JSON()}
}

func (c *crossing) frame() *Frame {
	b := append(make([]byte, maxHeader, maxHeader+len(c.Frame)), c.Frame...)
	n := putHeader(b[:maxHeader], opText|finBit, len(c.Frame))
	return &Frame{class: c.Class, droppable: c.Droppable, key: c.Key, head: uint8(n), wire: b[maxHeader-n:]}
}

// publish reports whether the Bus took c.
func (h *Hub) publish(topic string, c crossing) bool {
	b, err := json.Marshal(c)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
		defer cancel()
		_, err = h.opt.Bus.Publish(ctx, topic, b)
	}
	if err != nil {
		h.stats.busErrors.Add(1)
		h.log.Error("bus: publish", slog.String("topic", topic), slog.Any("error", err))
	}
	return err == nil
}

// interest is a subscription to a user's topic.
type interest struct {
	ready chan struct{} // closed when sub or err is there
	sub   Subscription
	err   error
}

// listen has the messages for user arrive from the Bus. The first session of a
// user on this hub subscribes, the others wait for it.
func (h *Hub) listen(ctx context.Context, user string) error {
	if h.opt.Bus == nil {
		return nil
	}
	h.mu.Lock()
	if h.users[user] == nil {
		h.mu.Unlock()
		return ErrClosed
	}
	if in := h.topics[user]; in != nil {
		h.mu.Unlock()
		<-in.ready
		return in.err
	}
	in := &interest{ready: make(chan struct{})}
	h.topics[user] = in
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	sub, err := h.opt.Bus.Subscribe(ctx, "user/"+user, Position{}, func(e Event) { h.heard(user, e) })
	h.mu.Lock()
	in.err = err
	here := h.topics[user] == in // the user may have left meanwhile
	if err != nil {
		h.stats.busErrors.Add(1)
		if here {
			delete(h.topics, user) // the next one tries again
		}
	} else if here {
		in.sub = sub
	}
	h.mu.Unlock()
	close(in.ready)
	if err == nil && !here {
		sub.Close()
	}
	return err
}

// heard delivers a message for user. After a gap his sessions cannot be
// trusted to have everything: they end, and the clients begin anew.
func (h *Hub) heard(user string, e Event) {
	var c crossing
	if !e.Gap && json.Unmarshal(e.Data, &c) == nil {
		h.sendLocal(user, c.frame())
		return
	}
	h.stats.busGaps.Add(1)
	for _, p := range h.Peers(user) {
		p.end(CloseInfo{Code: 1012, Reason: "messages were missed; retry-after=0"}, true)
	}
}

// listen has what other hubs have for the room's members arrive.
func (r *Room) listen() error {
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	sub, err := r.hub.opt.Bus.Subscribe(ctx, "room/"+r.id, Position{}, r.heard)
	if err != nil {
		r.hub.stats.busErrors.Add(1)
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.hub.running.Go(sub.Close)
	}
	r.sub = sub
	return nil
}

func (r *Room) heard(e Event) {
	var c crossing
	if e.Gap || json.Unmarshal(e.Data, &c) != nil {
		r.hub.stats.busGaps.Add(1)
		return
	}
	switch {
	case c.To == "":
		r.sendLocal(c.frame())
	case c.Node != r.hub.node:
		r.arrived(&c)
	}
}

// across takes c to a member whose socket is not on this hub.
func (r *Room) across(c crossing) *Error {
	if r.opt.Remote == nil {
		if !r.hub.publish("room/"+r.id, c) {
			return ErrUnreachable
		}
		return nil
	}
	b, err := json.Marshal(c)
	if err == nil {
		err = r.opt.Remote(c.To, b)
	}
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return ErrUnreachable
}

// Arrived takes what RoomOptions.Remote was given on another hub, in the same
// order, and delivers it if the member's socket is here. That hub has checked
// the message. ErrInvalidSignal: data is none of Remote's.
func (r *Room) Arrived(data []byte) error {
	var c crossing
	if json.Unmarshal(data, &c) != nil || c.Signal == nil && c.Frame == nil || c.Signal != nil && c.Signal.RoomID != r.id {
		return ErrInvalidSignal
	}
	r.arrived(&c)
	return nil
}

// arrived delivers what a member has whose socket is on another hub. That hub
// has checked it; what is checked again is what depends on this side.
func (r *Room) arrived(c *crossing) {
	if c.Signal == nil { // it was forwarded
		if to := r.Joined(c.To); to != nil {
			to.SendFrame(c.frame())
		}
		return
	}
	r.mu.Lock()
	from, to := r.members[c.Signal.From], r.members[c.To]
	if r.closed || from == nil || to == nil || to.peer == nil {
		r.mu.Unlock()
		return
	}
	switch c.Type {
	case "rtc:offer":
		from.last = c.Signal.Offer
		from.offer(to)
	case "rtc:answer":
		if to.offers[from.user] != c.Signal.Offer {
			r.mu.Unlock()
			r.hub.relayedAs(ErrSuperseded)
			return
		}
		delete(to.offers, from.user)
		delete(from.offers, to.user)
	}
	class := SDP
	if c.Type == "rtc:ice" {
		class = Candidate
	}
	r.deliverUnlock(to.peer, class, c.Type, c.Signal)
}
