package store

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// DropFileCache has the kernel forget what it caches of the database and of
// its log. What was written and not yet synced stays. It may run beside
// everything else: a page that is needed again is read again.
func (s *SQLite) DropFileCache() error {
	err := forget(s.disk)
	// SQLite locks the database and the index of the log, not the log: to
	// close a descriptor of it costs no lock.
	log, logErr := os.Open(s.path + "-wal")
	if logErr == nil {
		logErr = forget(log)
		log.Close()
	} else if errors.Is(logErr, fs.ErrNotExist) {
		logErr = nil
	}
	return errors.Join(err, logErr)
}

func forget(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var advised error
	if err := c.Control(func(fd uintptr) {
		advised = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED)
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fadvise", advised)
}
