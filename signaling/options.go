package signaling

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options configure a Hub. They are copied by New and never change.
type Options struct {
	// Origins lists the origins, besides the request's own host, from which a
	// browser may connect: "https://example.org", "https://*.example.org" or,
	// for a public service without cookies, "*". A request that carries no
	// Origin header does not come from a browser and passes.
	Origins []string

	// MaxPeers bounds sessions, those in their resume grace included.
	// Required, > 0.
	MaxPeers int

	// MaxRooms bounds open rooms. Zero means no rooms may be opened.
	MaxRooms int

	// MaxMessageBytes bounds one incoming message, compressed and inflated.
	// Default 64 KiB.
	MaxMessageBytes int

	// MaxDepth bounds the nesting of an incoming message. Default 32.
	MaxDepth int

	// QueueMessages bounds how many messages wait for one peer, and how many
	// that were sent are kept for its resume. Default 256.
	QueueMessages int

	// QueueBytes bounds the bytes that wait for one peer. Default 64 KiB.
	QueueBytes int

	// TotalQueueBytes bounds the bytes that wait for, are kept for, or are
	// being read from all peers together, three times the length of a message
	// of more than 2 KiB that the application works on, and what a full kernel
	// buffer left of a write: a socket for which there is no room then is cut
	// and may resume. Required; at least three times MaxMessageBytes, or the
	// largest message could never be worked on.
	TotalQueueBytes int64

	// FlushEvery is how long a message may wait for others that go to the same
	// peer, to be written together. What one client has for another (Relay,
	// Forward) does not wait if it is the first within that time. Default 2 ms;
	// < 0 writes at once.
	FlushEvery time.Duration

	// PingEvery is how long a socket may be silent before it is pinged.
	// Default 25 s.
	PingEvery time.Duration

	// PongTimeout is how long a pinged socket may stay silent before it counts
	// as cut. Default 10 s.
	PongTimeout time.Duration

	// ReadTimeout bounds how long one message may take to arrive once it has
	// begun. Default 10 s.
	ReadTimeout time.Duration

	// WriteTimeout is how long a socket may take no byte while some wait for it
	// before it counts as cut. Default 10 s.
	WriteTimeout time.Duration

	// CloseTimeout bounds the closing handshake. Default 2 s.
	CloseTimeout time.Duration

	// ResumeFor is how long a peer without a socket is kept. Default 5 s; < 0
	// means sessions end with their socket.
	ResumeFor time.Duration

	// ResumeBytes bounds the bytes of sent messages that are kept for one peer
	// until it is known to have them. It shares its memory with the queue: the
	// two together hold at most the larger of ResumeBytes and QueueBytes.
	// Default 64 KiB.
	ResumeBytes int

	// Rate and Burst bound the messages of one peer: Burst at once (default
	// 100), Rate a second in the long run (default 50). More ends it with 1008.
	// A ping counts as a message, and so does each 4 KiB that a message takes
	// deflated.
	Rate, Burst int

	// Compress offers permessage-deflate. A message that goes to one peer is
	// compressed from CompressPrivate bytes on (default 8 KiB; one costs three
	// times the CPU of a plain one), a Frame that may be shared from
	// CompressShared on (default 512 B), once for all its receivers.
	Compress                        bool
	CompressPrivate, CompressShared int

	// SendBuffer and ReceiveBuffer bound what the kernel holds for one socket
	// in each direction (SO_SNDBUF, SO_RCVBUF; Linux takes up to twice this).
	// Default 32 KiB each; < 0 leaves what the socket has: what was set on the
	// listening socket, which costs no system call for each, or the system's
	// own, which may grow to several MiB a socket.
	SendBuffer, ReceiveBuffer int

	// Portable turns parked mode off where it would be possible.
	Portable bool

	// Account, if set, is asked for memory before it is used. Nil means the
	// bounds above are the only ones.
	Account Account

	// Bus, if set, connects this hub with those of other processes. SendUser
	// and rooms then reach peers wherever they are.
	Bus Bus

	// Logger receives what happens to peers. Nil means silent.
	Logger *slog.Logger

	// Forward lists the types of messages that clients may send each other in
	// rooms. The hub passes them on, rtc:offer, rtc:answer and rtc:ice as
	// [Hub.Relay] does and others as [Hub.Forward] does, and answers those that
	// have an ID; OnMessage does not see them.
	Forward []string

	// OnMessage is called for each other message of a peer. Required.
	OnMessage func(*Peer, Message)

	// OnOpen is called when a session begins, before its first message.
	OnOpen func(*Peer)

	// OnAway is called when a peer's socket was lost and may come back.
	OnAway func(*Peer)

	// OnBack is called when a peer that was away has a socket again. What it
	// missed is already on the way.
	OnBack func(*Peer)

	// OnClose is called once, when a session is over for good.
	OnClose func(*Peer, CloseInfo)
}

// Account is asked for memory before it is used.
type Account interface {
	// Reserve answers at once: nil, or an error when there is no room.
	Reserve(bytes int64) error
	// Release gives back what was reserved.
	Release(bytes int64)
}

// CloseInfo says how a session ended.
type CloseInfo struct {
	// Code is the WebSocket close code that was sent or received, 1006 if the
	// socket was cut without one.
	Code int
	// Reason is the text beside it.
	Reason string
	// Clean is true if the client said goodbye (1000) or we closed on purpose.
	Clean bool
}

// filled returns o with its defaults, or every fault it has.
func (o Options) filled() (Options, error) {
	var errs []error
	fault := func(field string, value any, want string) {
		errs = append(errs, fmt.Errorf("signaling: Options.%s = %v, want %s", field, value, want))
	}
	count := func(field string, v *int, def int) {
		if *v < 0 {
			fault(field, *v, ">= 0")
		} else if *v == 0 {
			*v = def
		}
	}
	for _, v := range []struct {
		field string
		n     int
	}{{"QueueMessages", o.QueueMessages}, {"QueueBytes", o.QueueBytes}, {"ResumeBytes", o.ResumeBytes}} {
		if v.n > 1<<30 {
			fault(v.field, v.n, "<= 1 Gi")
		}
	}
	span := func(field string, v *time.Duration, def time.Duration) {
		if *v < 0 {
			fault(field, *v, ">= 0")
		} else if *v == 0 {
			*v = def
		}
	}
	if o.MaxPeers <= 0 {
		fault("MaxPeers", o.MaxPeers, "> 0")
	}
	if o.TotalQueueBytes <= 0 {
		fault("TotalQueueBytes", o.TotalQueueBytes, "> 0")
	}
	if o.OnMessage == nil {
		fault("OnMessage", "nil", "a function")
	}
	for _, typ := range o.Forward {
		switch {
		case typ == "rtc:offer" || typ == "rtc:answer" || typ == "rtc:ice":
		case reserved(typ) || strings.HasPrefix(typ, "rtc:"):
			fault("Forward", strconv.Quote(typ), "types of the application, rtc:offer, rtc:answer or rtc:ice")
		}
	}
	if o.MaxRooms < 0 {
		fault("MaxRooms", o.MaxRooms, ">= 0")
	}
	count("MaxMessageBytes", &o.MaxMessageBytes, 64<<10)
	if least := 3 * int64(o.MaxMessageBytes); o.TotalQueueBytes > 0 && o.TotalQueueBytes < least {
		fault("TotalQueueBytes", o.TotalQueueBytes, fmt.Sprintf(">= %d, three times MaxMessageBytes", least))
	}
	count("MaxDepth", &o.MaxDepth, 32)
	count("QueueMessages", &o.QueueMessages, 256)
	count("QueueBytes", &o.QueueBytes, 64<<10)
	count("ResumeBytes", &o.ResumeBytes, 64<<10)
	count("Rate", &o.Rate, 50)
	count("Burst", &o.Burst, 100)
	count("CompressPrivate", &o.CompressPrivate, 8<<10)
	count("CompressShared", &o.CompressShared, 512)
	if o.SendBuffer == 0 {
		o.SendBuffer = 32 << 10
	}
	if o.ReceiveBuffer == 0 {
		o.ReceiveBuffer = 32 << 10
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = 2 * time.Millisecond
	}
	if o.ResumeFor == 0 {
		o.ResumeFor = 5 * time.Second
	}
	span("PingEvery", &o.PingEvery, 25*time.Second)
	span("PongTimeout", &o.PongTimeout, 10*time.Second)
	span("ReadTimeout", &o.ReadTimeout, 10*time.Second)
	span("WriteTimeout", &o.WriteTimeout, 10*time.Second)
	span("CloseTimeout", &o.CloseTimeout, 2*time.Second)
	for _, origin := range o.Origins {
		if origin == "*" {
			continue
		}
		u, err := url.Parse(strings.Replace(origin, "//*.", "//", 1))
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || strings.Contains(u.Host, "*") {
			fault("Origins", origin, `"scheme://host[:port]", "scheme://*.host" or "*"`)
		}
	}
	return o, errors.Join(errs...)
}
