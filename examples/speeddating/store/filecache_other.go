//go:build !linux

package store

// DropFileCache does nothing: the caches of this system's files are in nobody's
// name.
func (s *SQLite) DropFileCache() error { return nil }
