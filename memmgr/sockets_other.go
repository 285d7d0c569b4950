//go:build !unix

package memmgr

import "net"

// BoundSockets sets the socket buffers of what lc listens on, where the system
// lets accepted connections inherit them. Here it does nothing: set them on
// each connection.
func BoundSockets(lc *net.ListenConfig, send, receive int) {}
