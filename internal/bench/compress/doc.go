// Package compress compares package compress with its peers in one run:
//
//	go test -run Table -v ./compress
//	go test -run Stream -v ./compress
//	go test -bench . ./compress
//
// The peers are CAFxX/httpcompression, klauspost's gzhttp, chi's
// middleware.Compress, gorilla/handlers and andybalholm's HTTPCompressor.
// Caddy's encode is left out: it works alone, but brings in all of Caddy.
//
// The bodies of Table are lists of people as JSON, of 15 and 36 KB, whose ids
// and object keys are random; the first 990 bytes of one; 100 KB of HTML as a
// template makes it, which gzip takes to a sixth; and 100 KB of prose of words
// drawn at random, which it only takes to a third. Stream is 1500 messages of
// an evening: presence, candidates, the queue, the lobby, descriptions.
//
// Where a goal is missed, this is why. Of a body of 1 KB, two fifths of the
// time go into building three prefix codes, which a long body does once in
// 6000 copies, and a fifth into the handler; the default of CAFxX has the
// static dictionary of brotli, which is worth a dozen bytes there. In HTML and
// prose a copy is of 10 to 20 bytes, and each costs some 100 ns to find and 50
// to write: to be as small as CAFxX's default it would have to look at as many
// places as that does. gzip and zstd are the peers' own encoders: what is
// around them takes as long as with the peers, a per cent more or less.
//
// From struct to wire a message of the mixed stream takes 3.3 us in the median
// and 11 in the mean. Of a lobby of 120 people, of whom 20 changed, encoding
// takes 22 us; deflating the outcome takes 38, as klauspost's stateless
// encoder enters 8 KB of history into a table for each message of more than
// 512 bytes. Takeover's own search with the fixed codes takes 20 us up to
// 2 KiB, but 3 % more bytes, and 11 % in batches of 8. A description, of
// 6 KB, takes 23 us as a map in encoding/json and 52 to deflate. A lone small
// message stays at 87 %: its candidates' and times' digits are random, and in
// the fixed codes each takes eight bits; codes of its own take more still.
package compress
