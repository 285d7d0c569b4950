//go:build !linux

package memmgr

import "testing"

func limitedRoot(testing.TB) string { return "/" }
