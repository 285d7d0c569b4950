// Package compress makes what a realtime server sends as small as it can be,
// within a budget of memory: HTTP answers, WebSocket messages, and the state
// behind them.
//
// Use it where many clients read text, JSON or lists that change a little at
// a time. It does nothing for pictures, video and archives, and a reverse
// proxy that compresses already should be left to do so.
//
//	c, err := compress.New(compress.Options{MaxEncoders: 2, MaxBufferedBytes: 32 << 20})
//	http.ListenAndServe(addr, c.Handler(mux))
//
// The parts are: [Compressor.Handler] for HTTP answers (gzip, brotli, zstd);
// [Compressor.Dictionary] for lists that clients read again and again (RFC
// 9842); [Compressor.Requests] for encoded request bodies; [Compressor.Static]
// for files.
//
// # Memory
//
// Options.MaxEncoders encoders exist, 0.4 to 1.2 MB each by coding; an answer
// holds one only while it encodes, never while its client reads. All bodies
// together hold at most Options.MaxBufferedBytes. An answer whose client
// is slow holds its encoded bytes and nothing else; an event stream holds its
// last 8 KiB. The Account, if set, is asked for all of it beforehand.
//
// # Concurrency
//
// A Compressor may be used from any goroutine and owns none. An answer is
// written on the goroutine of its handler.
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
// [New] names each bad option. A body that inflates beyond its limit ends in
// a *[BodyError] with the HTTP status to answer.
package compress
