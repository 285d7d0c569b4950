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
// The bodies of Table are what package compress was planned with: lists of 50
// and 120 people as JSON, 296 bytes each, of which 36 are random; 990 bytes of
// JSON about one person, much of it text; and 100 KB of HTML as a template
// makes it. The bodies of that plan are lost, but not their sizes in all
// codings, and these here come within a few per cent of them: 549 bytes of the
// 990 in CAFxX's default, 2940, 6714 and 17185 of the longer ones. Beyond the
// plan there are 100 KB of prose of words drawn at random, which gzip only
// takes to a third. Stream is 1500 messages of an evening: presence,
// candidates, the queue, the lobby, descriptions.
//
// Where a goal is missed, this is why. Of a body of 1 KB, two fifths of the
// time go into finding some 70 copies and words, and a quarter into the code of
// its literals; those of commands and distances are fixed, which took a quarter
// of the time before. A finder that tries all words that begin with the same
// four letters, and takes parts of them, saves 30 bytes more there and takes
// twice its time; without words there are 50 bytes more. Marks of letters made
// ahead, smaller tables and fewer steps to a command or a tree gained nothing,
// and fixed codes of literals take 5 to 10 % more bytes. In HTML and prose a
// copy is of 9 to 22 bytes and costs 80 to 90 ns to find and 50 to 75 to count
// and write, with the literals before it. The finder weighs the copy at a place
// and the one a byte later without a branch, because one that goes wrong takes
// 10 ns; what is left are some 300 instructions, and loads that wait for each
// other: where the next copy begins is known when the length of this one is.
// Codes of literals by what is before them take 2 to 3 % off the bytes and add
// 5 % to the time. Of what was tried there, a table of places alone, filled
// ahead of the search without a branch, took a third longer: it looks at each
// byte; entries of four bytes that hold a place and a tag took longer than
// those of eight, and smaller tables as long; a candidate that cannot be
// longer, passed over by the byte behind it, took 3 % less time and 0.7 % more
// bytes; to try no copy a byte later, 7 % less and 1 % more in HTML, but 4 %
// more in prose; one table instead of two, 5 % more in prose; fewer places
// looked at or remembered, 3 % less and 0.5 % more; shorter ways to the symbols
// of a command, nothing. Gzip is by the same finder: it gains where copies are
// long, and in prose, where klauspost's keeps two places for each hash, it is
// as fast at 1.5 % more bytes. Zstd is the peer's own encoder with the peer's
// own options: what is around it is a tenth of the time of 1 KB and nothing of
// that of 100.
//
// Of Stream, the goal of 4 us from struct to wire is for a message encoded once
// for a broadcast. A lobby of 120 people, of whom 20 changed, takes 22 us to
// encode and an offer of 6 KB 12 to 17, and to deflate them takes 30 each under
// Takeover and 36 and 50 in a Frame: the mean of one message for one viewer
// stays at 10 us. A broadcast to 100 viewers in Frames shares all of that
// but the write. Statuses name people by their places in the lobby, which the
// client has, in the mixes without one from before; the time a moment ago is
// still in Takeover's window. So lone small messages reach 90 %. What remains of them are digits of
// candidates and times, which are random and take eight bits each in the fixed
// codes; codes of its own would take a message more. Copies of three bytes are
// worth the last per cent there, and take a queue of 20 people from 7 us to 10.
package compress
