package memmgr

import "fmt"

// Plan is a division of a memory limit for a realtime server: a starting point
// to be measured, not a law. PlanFor makes one.
type Plan struct {
	Limit   int64 // of the process
	Budget  int64 // for the accounts
	GoLimit int64 // what Tune sets
	GOGC    int

	// MaxConns is how many connections the accounts below have room for.
	MaxConns int
	// BytesPerConn is what one connection reserves from "connections" (heap:
	// goroutine, buffers, session), SocketBytesPerConn from "sockets" (kernel).
	BytesPerConn, SocketBytesPerConn int64
	// SendBuffer and ReceiveBuffer are the socket buffers that
	// SocketBytesPerConn follows from.
	SendBuffer, ReceiveBuffer int

	// Accounts are, in this order: connections, sockets, queues (messages
	// that wait to be sent), requests (bodies and what answers them), uploads,
	// caches, calls (what calls in progress need, frozen last) and archive.
	Accounts []AccountOptions
}

// Sizes of the plans of common hosting services, for PlanFor. The example
// platform, with its own division of the same limits, held 8396, 17134 and at
// least 19500 idle people in them (TestCapacity in its package hostile), at 6 to
// 7 KiB each where it had reserved 16. 2,000 active people took 78 MiB of the
// first, 2,500 took 98 of the second; more were not tried.
const (
	Plan512MB = 512 << 20
	Plan1GB   = 1 << 30
	Plan2GB   = 2 << 30
)

// PlanFor divides limit bytes, at least 32 MiB.
func PlanFor(limit int64) (Plan, error) {
	if limit < 32<<20 || limit > maxBytes {
		return Plan{}, fmt.Errorf("memmgr: PlanFor(%d), want 32 MiB to %d", limit, int64(maxBytes))
	}
	p := Plan{
		Limit: limit, GOGC: 100,
		SendBuffer: 16 << 10, ReceiveBuffer: 16 << 10,
		BytesPerConn: 32 << 10,
	}
	p.SocketBytesPerConn = SocketBytes(p.SendBuffer, p.ReceiveBuffer)
	part := func(thousandths int64) int64 { return limit / 1000 * thousandths }

	// Sockets are outside Go: what GOMEMLIMIT bounds is the rest. Heap
	// accounts sum up to under half of that rest, where the collector is at
	// ease; the idle process itself needs some 12 MiB.
	sockets := part(250)
	p.GoLimit = part(900) - sockets
	conns := part(140)
	p.MaxConns = int(min(conns/p.BytesPerConn, sockets/p.SocketBytesPerConn))
	p.Accounts = []AccountOptions{
		{Name: "connections", Min: part(20), Max: conns, FreezeAt: High},
		{Name: "sockets", Min: sockets / 5, Max: sockets, FreezeAt: High, OffHeap: true},
		{Name: "queues", Min: part(20), Max: part(80)},
		{Name: "requests", Min: part(20), Max: part(60)},
		{Name: "uploads", Max: part(60), FreezeAt: High},
		{Name: "caches", Max: part(100), FreezeAt: Elevated},
		{Name: "calls", Min: part(30), Max: part(60), FreezeAt: Never},
		{Name: "archive", Min: part(10), Max: part(10), FreezeAt: Never},
	}
	p.Budget = part(500)
	return p, nil
}

// Options returns the Options that correspond to the plan.
func (p Plan) Options() Options {
	return Options{Limit: p.Limit, Budget: p.Budget, Accounts: p.Accounts}
}

// TuneOptions returns the TuneOptions that correspond to the plan.
func (p Plan) TuneOptions() TuneOptions {
	return TuneOptions{Limit: p.Limit, Outside: p.Limit*9/10 - p.GoLimit, GOGC: p.GOGC}
}
