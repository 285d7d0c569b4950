package memmgr

import "os"

// statFile is a file of /proc or /sys that stays open and is read again and
// again into the same buffer.
type statFile struct {
	f   *os.File
	fd  uintptr
	buf []byte
}

// openStat returns nil if the file cannot be opened; a nil *statFile reads
// nothing.
func openStat(name string, size int) *statFile {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	return &statFile{f: f, fd: f.Fd(), buf: make([]byte, size)}
}

// read returns what the file says now, nil if it says nothing. The kernel
// writes such a file anew for each read, whole as far as buf has room, so one
// read is enough: os.File.ReadAt makes a second one to see the end.
func (s *statFile) read() []byte {
	if s == nil {
		return nil
	}
	n, err := s.pread()
	if err != nil {
		return nil
	}
	return s.buf[:n]
}

func (s *statFile) close() {
	if s != nil {
		s.f.Close()
	}
}
