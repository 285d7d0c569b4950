//go:build !unix

package memmgr

import (
	"errors"
	"io"
)

func (s *statFile) pread() (int, error) {
	n, err := s.f.ReadAt(s.buf, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
