// Package compress compares package compress with its peers in one run:
//
//	go test -run Table -v ./compress
//	go test -bench . ./compress
//
// The peers are CAFxX/httpcompression, klauspost's gzhttp, chi's
// middleware.Compress, gorilla/handlers and andybalholm's HTTPCompressor.
// Caddy's encode is left out: it works alone, but brings in all of Caddy.
package compress
