//go:build unix

package memmgr

import "syscall"

func (s *statFile) pread() (int, error) {
	return syscall.Pread(int(s.fd), s.buf, 0)
}
