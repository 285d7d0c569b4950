// Package signaling is a WebSocket hub for realtime applications: resumable
// sessions, bounded queues, rooms and a WebRTC relay.
//
// Use it when many browsers hold a socket open and most of them are silent
// most of the time, and when a socket that breaks for a moment must not cost
// the person behind it a message. It carries JSON text messages of up to a
// few dozen KiB. It is not a broker: nothing is stored beyond a session's
// grace, and it is not a media server: audio and video go between the peers.
//
// # Quick start
//
//	hub, err := signaling.New(signaling.Options{
//		MaxPeers:        10_000,
//		MaxRooms:        5_000,
//		TotalQueueBytes: 64 << 20,
//		OnMessage: func(p *signaling.Peer, m signaling.Message) {
//			if m.Type == "echo" {
//				p.Reply(m.ID, m.Data)
//			}
//		},
//	})
//	http.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
//		hub.Accept(w, r, signaling.AcceptOptions{User: userOf(r)})
//	})
//	listen := net.ListenConfig{KeepAlive: -1} // the hub pings: TCP need not
//	l, err := listen.Listen(ctx, "tcp", ":8080")
//	http.Serve(l, nil)
//
// The client side for browsers is [ClientJS], for Go package sigclient.
//
// # Wire
//
// A client sends one JSON object a text frame: {"type", "id"?, "data"?}. The
// server sends one such object or an array of them; what another client said
// (see [Hub.Forward]) has its user as "from". The first is
//
//	{"type":"hello","data":{"userId","sessionId","resumed","received","heartbeatSeconds","resumeToken"}}
//
// Every message after the hello counts one, each element of an array too. A
// client that lost its socket opens another with ?resume=TOKEN&received=N,
// where N is how many it has counted in this session, and gets a new token
// and exactly the messages after the Nth. "received" in the hello says the
// same of the other direction: how many frames of this session the hub has
// handled, so that a client can send again what was lost on the way. A client
// message of type "ping" is answered by the hub itself; its data may carry
// {"received":N}, which lets the hub forget what has arrived.
//
// # Memory
//
// An idle socket costs no goroutine and no buffer on Linux with plain TCP
// (parked mode), and one goroutine of minimal stack elsewhere (TLS, other
// systems, wrapped connections); the hub chooses by itself. Bounds, all of
// them in [Options]: sessions (MaxPeers), rooms (MaxRooms), messages and bytes
// queued or kept for resume per peer (QueueMessages, QueueBytes, ResumeBytes),
// the same in bytes for the whole process together with messages being read
// and what a full kernel buffer left of a write (TotalQueueBytes; a frame
// shared by many peers counts once), one message
// (MaxMessageBytes, before and after inflation), and what the kernel buffers
// per socket (SendBuffer, ReceiveBuffer). With an [Account] the hub asks before
// it uses memory.
//
// # Concurrency
//
// All methods of Hub, Peer, Room and Frame may be called from any goroutine and
// do not block on the network. Callbacks of one peer run one at a time and in
// order (OnOpen, OnMessage…, OnAway, OnBack, OnClose) with no lock held; those
// of different peers run at the same time. While OnMessage runs, no more is
// read from that peer's socket: a slow handler slows its own client only. A
// callback that panics is logged and costs its peer (close code 1011), not the
// process. The hub owns two or three goroutines, plus one per busy socket
// and a few that wait for the next to be busy; Shutdown ends all of them.
//
// # Overload
//
// A queue that is full drops the oldest droppable message (see
// [Frame.Droppable], [Frame.Latest]); if there is none the reader is too slow
// and its session ends with close code 4008. When TotalQueueBytes is used up,
// the heaviest of the stalled peers are ended first; [Hub.Reclaim] does so on a
// memory watchdog's behalf, after it has dropped what may be dropped. What was
// dropped and who was closed, by code, is in [Hub.Stats].
//
// Close codes: 1000 normal, 1001 and 1012 going away, 1002 protocol error,
// 1007 not JSON, 1008 too many messages a second, 1009 too large (also
// inflated), 1011 a handler panicked, 1013 no room, 4008 slow reader. A reason
// may carry "retry-after=SECONDS". After 1000 and 4001 to 4003 the clients do
// not come back: 4001 is what connmgr gives to an evicted connection, 4002 and
// 4003 are for the application, a session that ended elsewhere for instance.
//
// # Errors
//
// [New] reports every fault of its options at once. [Hub.Accept] writes the
// HTTP answer itself when it fails: [ErrFull], [ErrShutdown], [ErrOrigin],
// [ErrHandshake]; [Hub.Check] tells the last two beforehand, to a server that
// would evict a connection to make room. Sends return [ErrClosed], [ErrSlow],
// [ErrBudget] or [ErrTooLarge]. What a client can cause in a room is an
// [*Error] whose Code may be sent to it as it is.
//
// The protocol is RFC 6455 with permessage-deflate (RFC 7692, no context
// takeover). gorilla/websocket shakes hands; frames the hub reads and writes by
// itself, below the connection of gorilla's, which takes 0.7 KiB for as long as
// it idles. Roles follow W3C WebRTC's perfect negotiation; TURN credentials
// follow draft-uberti-behave-turn-rest as coturn implements it.
package signaling
