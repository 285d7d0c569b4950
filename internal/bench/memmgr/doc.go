// Package memmgr compares what keeps a Go process under a memory limit: the
// ledger and the watchdog of this module, GOMEMLIMIT alone, automemlimit, and
// polls of the usual lengths. Each runs in a memory cgroup of its own.
//
//	go -C internal/bench test ./memmgr -run Overshoot -v
package memmgr
