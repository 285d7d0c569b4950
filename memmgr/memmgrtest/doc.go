// Package memmgrtest runs a program in a memory cgroup of its own and says
// whether it stayed under the limit: a claim of bounded memory is worth what
// such a run shows.
//
// Use it in tests, on Linux, as a user who may create cgroups (root, or a
// delegated cgroup). It handles cgroup v1 and v2. New skips the test loudly
// where no cgroup can be made; with the environment variable CI=true that is a
// failure.
//
//	cg := memmgrtest.New(t, 64<<20)
//	cmd := cg.Command("./server", "-addr", "127.0.0.1:0")
//	…
//	v := cg.Verdict()
//	// v.OOMKills, v.Peak, v.PeakWorking, v.PeakPinned
//
// # Memory
//
// The child cgroup lies inside that of the test, so limits above it go on to
// hold.
//
// # Concurrency
//
// A Cgroup owns one goroutine, which samples it from the first Command on and
// ends with the test.
//
// # Errors
//
// Everything that goes wrong after New fails the test.
package memmgrtest
