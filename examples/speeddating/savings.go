package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/plimsoll-go/plimsoll/compress"
	"github.com/plimsoll-go/plimsoll/examples/speeddating/web"
	"github.com/plimsoll-go/plimsoll/signaling"
)

// savings are the ways in which less is sent. Each can be switched off, to
// see what it is worth.
type savings struct {
	http    bool // answers are encoded, lists as what changed since the last one
	socket  bool // sockets are compressed
	payload bool // cards travel without the names of their fields
	delta   bool // windows of the queue travel as what changed in them
	batch   bool // what is due for a socket within a moment, or changes in the queue within a second, is sent together
}

func (s savings) web() web.Savings {
	return web.Savings{HTTP: s.http, Payload: s.payload, Delta: s.delta}
}

// saved reads all, none, or a list of what to switch on.
func saved(field func(*config) *savings) func(*config, string) error {
	return func(c *config, v string) error {
		s := savings{}
		all := map[string]*bool{"http": &s.http, "socket": &s.socket, "payload": &s.payload, "delta": &s.delta, "batch": &s.batch}
		for _, name := range split(v) {
			switch on := all[name]; {
			case name == "all":
				s = savings{true, true, true, true, true}
			case on != nil:
				*on = true
			case name != "none":
				return fmt.Errorf("%q is none of all, none, http, socket, payload, delta, batch", name)
			}
		}
		*field(c) = s
		return nil
	}
}

// savingsFigures are the bytes by layer, each before and after it.
type savingsFigures struct {
	On      string         // the layers that are switched on
	HTTP    layerFigures   // bodies that were encoded, and encoded
	Queue   layerFigures   // the queue's messages: as whole windows of JSON, and as sent (payload and delta)
	Batch   messageFigures // messages to sockets, and the writes that took them
	Socket  layerFigures   // messages to sockets, and the bytes written
	Encoder time.Duration  // spent encoding answers
}

type layerFigures struct {
	BeforeBytes, AfterBytes uint64
}

type messageFigures struct {
	Messages, Writes uint64
}

func (a *app) savingsFigures(c compress.Stats, s signaling.Stats, q web.QueueStats) savingsFigures {
	f := savingsFigures{
		On:     a.cfg.savings.String(),
		Queue:  layerFigures{q.WholeBytes, q.SentBytes},
		Batch:  messageFigures{uint64(s.MessagesOut), uint64(s.Writes)},
		Socket: layerFigures{uint64(s.PlainOut), uint64(s.BytesOut)},
	}
	for _, coding := range c.Codings {
		f.HTTP.BeforeBytes += coding.Before
		f.HTTP.AfterBytes += coding.After
		f.Encoder += coding.Time
	}
	return f
}

// String names what is on.
func (s savings) String() string {
	var on []string
	for _, l := range []struct {
		name string
		on   bool
	}{{"http", s.http}, {"socket", s.socket}, {"payload", s.payload}, {"delta", s.delta}, {"batch", s.batch}} {
		if l.on {
			on = append(on, l.name)
		}
	}
	if len(on) == 0 {
		return "none"
	}
	return strings.Join(on, ",")
}
