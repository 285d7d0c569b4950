// Package sigclient is a client of a signaling hub for Go programs: tests, load
// generators and bots. It reconnects with full jitter and resumes its session,
// so that in both directions every message arrives once and in order as long
// as the session lives.
//
//	c, err := sigclient.Dial(ctx, sigclient.Options{
//		URL:       "ws://localhost:8080/ws",
//		OnMessage: func(m sigclient.Message) { … },
//	})
//	err = c.Request(ctx, "queue:join", nil, &snapshot)
//
// # Memory
//
// At most Options.MaxOut messages are kept that the hub is not known to have.
//
// # Concurrency
//
// A Client may be used by any goroutine. It owns one, which runs OnMessage and
// OnState and ends before Close returns.
//
// # Overload
//
// Send returns ErrBusy when MaxOut messages wait.
//
// # Errors
//
// A request that the server refuses returns an *Error with its code. Requests
// whose session was lost return ErrNewSession. After Close, and when the server
// closes with 1000 or 4001 to 4003, the client does not come back and
// everything returns ErrClosed.
package sigclient
