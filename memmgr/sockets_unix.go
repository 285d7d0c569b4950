//go:build unix

package memmgr

import (
	"errors"
	"net"
	"syscall"
)

// BoundSockets makes lc set SO_SNDBUF and SO_RCVBUF (bytes; 0 leaves one
// alone) on what it listens on. Accepted connections inherit both from the
// first handshake packet on, so that no client can have the kernel buffer more
// than that for it. By default Linux lets a slow reader pin some 4 MiB. A
// Control that lc has already runs first.
func BoundSockets(lc *net.ListenConfig, send, receive int) {
	before := lc.Control
	lc.Control = func(network, address string, c syscall.RawConn) error {
		if before != nil {
			if err := before(network, address, c); err != nil {
				return err
			}
		}
		var sendErr, recvErr error
		err := c.Control(func(fd uintptr) {
			if send > 0 {
				sendErr = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, send)
			}
			if receive > 0 {
				recvErr = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive)
			}
		})
		return errors.Join(err, sendErr, recvErr)
	}
}
