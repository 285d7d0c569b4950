package store

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// cached is how many bytes of a file the kernel has in memory.
func cached(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer unix.Munmap(m)
	page := os.Getpagesize()
	in := make([]byte, (len(m)+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&in[0])))
	require.Zero(t, errno)
	n := 0
	for _, b := range in {
		n += int(b&1) * page
	}
	return n
}

// TestDropFileCache: what the kernel caches of the log goes, what was written
// stays, and so do the locks of the store.
func TestDropFileCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache.db")
	s := open(t, path)
	ctx := context.Background()
	picture := make([]byte, 2<<20)
	_, err := rand.Read(picture)
	require.NoError(t, err)
	require.NoError(t, s.CreateGuest(ctx, dating.User{ID: "ann", Name: "Ann"}, dating.Session{User: "ann"}, nil))
	require.NoError(t, s.SetSelfie(ctx, "ann", dating.Media{ID: "m", Type: "image/jpeg", Bytes: picture}))
	// Only the log is looked at: closing another descriptor of the database
	// would cost the store its locks.
	before := cached(t, path+"-wal")
	require.Greater(t, before, len(picture))
	require.NoError(t, s.DropFileCache())
	after := cached(t, path+"-wal")
	t.Logf("cached of the log: %d KiB, then %d KiB", before>>10, after>>10)
	require.Less(t, after, before/4)
	m, err := s.Media(ctx, "m")
	require.NoError(t, err)
	require.Equal(t, picture, m.Bytes)
}
