// Package connmgr decides who may connect to a server, counts it exactly, and
// ends connections in good order.
//
// Use it in front of anything with many long connections: WebSockets, server
// sent events, TCP. It knows no WebSocket library: a connection is whatever
// has Close(code, reason). It is not for limiting requests on connections that
// are open already, and its limits are those of one process unless
// [Options.Shared] is set.
//
// # Quick start
//
//	m, err := connmgr.New(connmgr.Options{
//		MaxConns:   1200,
//		MaxPerUser: 2,
//		PerUser:    connmgr.EvictOldest,
//		MaxPerAddr: 100,
//	})
//
//	func serve(w http.ResponseWriter, r *http.Request) {
//		tk, err := m.Admit(connmgr.Request{User: user(r), Addr: m.ClientAddr(r)})
//		if err != nil {
//			m.Refuse(w, r, err) // 503 and when to come back
//			return
//		}
//		defer tk.Release()
//		conn := upgrade(w, r)
//		tk.Attach(conn) // from here it can be evicted and drained
//		...
//	}
//
//	defer m.Shutdown(ctx) // closes them all, spread over some seconds
//
// There are three places to refuse. [Manager.Listener] resets a connection
// right after accept, which costs least and says least. [Manager.Refuse]
// answers the request with 503 and Retry-After, which proxies and programs
// understand. [Manager.BeginRefuse] with [Manager.RefuseConn] upgrades first
// and closes with 1013, the only answer that a browser shows to a script.
// The second costs three to four times the CPU time of the first, the third a
// fifth more than the second; go run ./connmgr in internal/bench measures it.
//
// # Memory
//
// A connection of its own user and address costs at most 100 bytes, without
// the strings of its Request, which are kept, and whatever its Conn is; up to
// 11 of these are taken by New for each of Options.MaxConns. A connection with
// a Key of its own costs 30 more, one that Listener let in 60 more, an address
// whose rate is remembered 40. The sums are bounded by MaxConns +
// MaxClosing, Accept.MaxConns and MaxRateAddrs. With Options.Account set, each
// connection also reserves BytesPerConn there for what it costs the caller, and
// with Accept.Account for what net/http needs before it is admitted: a client
// that connects and says nothing uses that too.
//
// # Concurrency
//
// Limits are exact: at no moment are more admitted than a limit says, whatever
// races. Everything may be called concurrently; everything but Drain,
// Shutdown and Admit with Options.Shared returns at once, in a time that does
// not depend on the number of connections. A Manager runs a timer while
// somebody is unauthenticated, and two goroutines with Options.Shared, all of
// which end in Shutdown. Callbacks run with no lock held.
//
// # Overload
//
// Who comes too much is refused, with a jittered hint when to come back, or,
// with [EvictOldest], takes the place of the user's own oldest connection.
// Nobody else is ever closed to make room. Evicted connections are sockets
// until they have ended: MaxClosing bounds them. Every refusal is counted in
// [Stats] under its reason.
//
// # Errors
//
// Admit returns a [*LimitError], which wraps [ErrDraining] during a drain.
// Ticket methods return [ErrGone] once the place was lost.
package connmgr
