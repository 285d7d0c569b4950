// Package hostile attacks the platform while it runs in a real memory cgroup,
// and gives a verdict. It has tests only:
//
//	go test ./examples/speeddating/hostile -v
//	PLIMSOLL_HOSTILE=10m go test ./examples/speeddating/hostile -v -timeout 1h
//
// For each of 64, 128 and 256 MiB it builds and starts the server in a child
// memory cgroup that it makes itself, brings two people into a call, and then
// attacks from everywhere at once for PLIMSOLL_HOSTILE (default 2m): sockets
// far past the limit, the largest frames and bodies, deflate bombs, uploads,
// half-sent requests, readers that do not read while others talk at them, and
// churn. PLIMSOLL_HOSTILE_ONLY=frames,churn names the attacks to make;
// PLIMSOLL_HOSTILE_HALVES (default 40, times 30) how many half-sent requests
// there are at a time. Where they are more than the listener accepts, new
// connections are reset, and those of probes among them.
//
// The server must not be killed nor pass 92 % of the limit, as usage less
// inactive page cache, sampled every 5 ms; the kernel's own peak, all page cache
// included, is printed beside it. /healthz must
// answer throughout (on each kept connection; where probes have no listener of
// their own, flag -probe-addr, new connections may be reset while the attackers
// hold all that are accepted, but not three times in a row), the call must keep its chat and its signaling, and 5 s
// after the attack the level must be normal and 100 of 100 newcomers get in.
package hostile
