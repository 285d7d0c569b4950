package memmgr

// SocketBytes returns an upper bound of the kernel memory that one TCP socket
// with the given SO_SNDBUF and SO_RCVBUF (bytes, as they are passed to
// setsockopt) can pin. Linux doubles both for its own bookkeeping and lets the
// last segment exceed each by up to 64 KiB of page fragments in theory, some
// kilobytes as measured; the bound leaves a page for each.
func SocketBytes(send, receive int) int64 {
	return 2*int64(send) + 2*int64(receive) + 2*4096
}
