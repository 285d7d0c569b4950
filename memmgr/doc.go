// Package memmgr keeps a process under a memory limit: it hands out memory
// from a budget before it is used, watches what the process really occupies,
// and sheds load before the kernel does.
//
// Use it in a server whose clients decide how much memory they cause: sockets,
// send queues, request bodies, caches. It is of no use to a program that reads
// its own files at its own pace (set GOMEMLIMIT there), and it cannot hold back
// code that allocates without asking: that, it can only see and report.
//
// # Quick start
//
//	m, err := memmgr.New(memmgr.Options{
//		Limit: 256 << 20, // 0: the cgroup's
//		Accounts: []memmgr.AccountOptions{
//			{Name: "connections", Min: 8 << 20},
//			{Name: "caches", Max: 64 << 20, FreezeAt: memmgr.Elevated},
//		},
//	})
//	…
//	m.OnPressure(memmgr.Reclaimer{Name: "users", At: memmgr.Elevated, Reclaim: shrink})
//	go m.Run(ctx)
//
//	if err := m.Admit(); err != nil { … 503 with Retry-After … }
//	conns := m.Account("connections")
//	if err := conns.Reserve(40 << 10); err != nil { … 503 … }
//	defer conns.Release(40 << 10)
//
// An *Account has the methods Reserve and Release that the other packages of
// this module take as their Account option. Tune sets GOMEMLIMIT, BoundSockets
// the kernel's buffers, Archive moves records out before they are deleted.
//
// # The ledger comes first
//
// A Go program can retain 64 MiB in 60 ms, so a poll is always late: it sees
// what has happened. A reservation is refused before it happens. Reserve is one
// compare-and-swap and allocates nothing. Each account has a minimum that it
// always gets, a maximum, and a level from which it may not grow any further;
// what is not anybody's minimum is shared. The sum of all accounts is at no
// moment above the budget.
//
// # The watchdog
//
// It samples every 10 ms under pressure or growth, every 300 ms when calm, and
// at the end of each GC cycle. The level follows the highest of these, 1 being full:
//
//   - ledger: reserved bytes against the budget. Never beyond High, because the
//     ledger refuses by itself.
//   - heap: what is reserved, or live and expected to be by the growth of the
//     last GC cycle, against what GOMEMLIMIT leaves for heap.
//     Above 0.6 to 0.8 the collector takes more and more of the processor for
//     less and less memory.
//   - needed: what would remain of the process if all garbage were gone,
//     against the limit.
//   - cgroup (v1 and v2, the smallest limit of all ancestors): what the kernel
//     charges, less page cache and garbage. Socket buffers are in it; no figure
//     of the Go runtime shows them.
//   - total: what is occupied, garbage included. By design this stays near
//     GOMEMLIMIT and no shedding lowers it, so it counts only above 0.95 of the
//     limit, where it makes the level critical and has the garbage collected.
//
// A level is entered by one sample above Enter and left, one at a time, after
// Hold below Leave and at least one finished GC cycle. The Manager follows
// Envoy's overload manager in this, except for what that was long plagued by:
// it takes no action because of a figure which the action does not lower
// (envoyproxy/envoy#21923).
//
// # Memory
//
// A Manager is some 50 KiB, most of it the history of an hour; each account,
// reclaimer and sweep adds less than 1 KiB. Nothing grows with time or load.
//
// # Concurrency
//
// Everything may be called from any goroutine. New starts no goroutine. Run
// blocks and owns all of them. OnLevel callbacks run on Run's goroutine and
// must not block; reclaimers, sweeps and OnStuck may take their time. None is
// called with a lock held.
//
// # Overload
//
// Reserve refuses at once and says why; Admit refuses a growing share from High
// on and everything at Critical. Reclaimers run in order of Cost until what is
// wanted is freed; one that hangs or panics does not keep the next from its
// turn. If the level is critical, a GC cycle has ended and the reclaimers have
// brought nothing, that is reported as stuck, with the account and the
// allocation site that grew, and after GiveUpAfter Run returns, so that the
// process can drain and exit instead of refusing work for ever. Stats counts
// every refusal by account and reason.
//
// # Errors
//
// Every refusal wraps ErrOverload and is a *LimitError. CgroupLimit, New and
// Tune return ErrNoLimit where there is none. Run returns ErrRunning or a
// *StuckError, which wraps ErrStuck. Archive.Run returns ErrNoProgress.
package memmgr
