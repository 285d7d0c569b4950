// Package compress makes what a realtime server sends as small as it can be,
// within a budget of memory: HTTP answers, WebSocket messages, and the state
// behind them.
//
// Use it where many clients read text, JSON or lists that change a little at
// a time. It does nothing for pictures, video and archives, and a reverse
// proxy that compresses already should be left to do so.
//
// # Quick start
//
//	c, err := compress.New(compress.Options{MaxEncoders: 2, MaxBufferedBytes: 32 << 20})
//	http.ListenAndServe(addr, c.Handler(mux))
//
// The parts, each usable alone:
//
//   - [Compressor.Handler] encodes HTTP answers (gzip, brotli, zstd),
//     [Compressor.Dictionary] sends what changed since the client's last
//     answer (RFC 9842), [Compressor.Static] and [Compressor.NewBody] serve
//     what is encoded once for many, [Compressor.Requests] decodes bodies;
//   - [Delta] and [JSONDelta] send only what changed in a state, to browsers
//     with [DeltaJS] and to Go with [Replica], [DeltaStates] to viewers who see
//     different windows of one list; [Projection] sends single structs without
//     their field names;
//   - [Batcher] and [Deduplicator] send fewer messages;
//   - [Frame] deflates a WebSocket message once for all receivers,
//     [Compressor.Takeover] gives connections a memory of what was sent.
//
// Of these a Delta saves most: no codec finds a list again that does not fit
// its window, and what is not encoded costs no time. For WebSocket choose one:
// Frames for broadcasts to many, Takeover for small messages to few.
//
// # Memory
//
// At most Options.MaxEncoders encoders exist, of 0.6 MB (brotli and gzip) and
// 0.9 MB (zstd), with dictionaries 2.6 MB more; brotli's words take 0.2 MB
// once. An answer, or a Takeover
// message of more than 512 bytes, holds one only while it is encoded, never
// while its client reads. All bodies
// together, and the encoded static files, hold at most
// Options.MaxBufferedBytes. A 36 KB answer to a slow client takes 7 KB of
// them, an event stream its last 8 KiB. A Takeover connection takes 23 KiB, a
// Delta of 50 rows about 30 KB, a key in a Deduplicator 200 bytes besides
// itself. The Account, if set, is asked for all of it beforehand.
//
// # Concurrency
//
// All types but Replica may be used from any goroutine, and none owns one: an
// answer is written on the goroutine of its handler, a batch on that of the
// caller or of a timer.
//
// # Overload
//
// Nothing waits for memory. When bodies or encoders are at their bound, an
// answer goes out uncompressed, which any client understands, and a stream
// that has begun goes on in stored blocks. [Compressor.Stats] counts these by
// reason. Encoded request bodies beyond Options.MaxDecoders get a 503.
//
// # Errors
//
// [New] and the other constructors name each bad option. A request body that
// inflates beyond its limit ends in a *[BodyError] with the HTTP status to
// answer.
package compress
